//! Killed again and again for twenty seconds, while clients ask without a pause and updates come in.

use std::time::{Duration, Instant};

use miosa_tests::program::eventually;
use miosa_tests::{Published, Trials};

#[test]
fn a_service_killed_again_and_again_answers_everybody_and_never_wrongly() {
    let mut host = Published::holding(&["sbx-1"]);
    host.machine.set("miosad.service", "[Service]\nRestartSec=50ms");
    let sandbox = host.machine.sandbox("sbx-1");
    let client = sandbox.insist();
    let (deadline, mut kills) = (Instant::now() + Duration::from_secs(20), 0);
    let mut offered = 1;
    while Instant::now() < deadline {
        let before = host.machine.main_pid("miosad.service");
        offered += 1;
        let update = host.publisher.full_for(offered, &[("acme", "sbx-1")]);
        let intake = host.machine.socket("/run/miosa/intake.sock");
        // Cut or answered, as it comes; the next full one takes the place of either.
        let killer = std::thread::spawn(move || intake.request("PUT", "/v1/updates", &[], &update));
        host.machine.run(&format!("kill -KILL {before}"));
        kills += 1;
        let _cut_or_answered = killer.join().expect("no panic while offering");
        eventually("another process serves", || {
            let pid: u32 = host.machine.property("miosad.service", "MainPID").parse().ok()?;
            (pid != 0 && pid != before).then_some(())
        });
    }
    client.hears_more();
    let heard = client.end();
    Trials::new().tell(&format!(
        "killed {kills} times; {} answers, the longest wait {:?}",
        heard.answers, heard.longest
    ));
    heard.was_served_throughout();
    assert!(heard.versions.iter().all(|version| (1..=offered).contains(version)), "{heard:?}");
    assert!(kills > 10, "{kills}");
    drop(sandbox);
    assert_eq!(host.status()["alarms"], serde_json::json!({}), "{}", host.status());
    host.version = offered;
    host.publish(&[("acme", "sbx-1")]);
    assert_eq!(host.kept(), 3);
}
