//! How long starting an agent takes: `miosa-exec`, with its 40 variables from a real daemon, between the
//! kernel's own start of the same program and the inits that load nothing. Each round starts every contestant
//! once, in another order than the round before, so that whatever else the machine does meets all of them:
//! `MIOSA_BIN_DIR=target/dist cargo run --release -p miosa-tests --example starts [ROUNDS]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use miosa_tests::Publisher;
use miosa_tests::lone::LoneHost;
use miosa_tests::program::command;

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(500);
    let folder = std::env::temp_dir().join(format!("starts-{}", std::process::id()));
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(&folder, &mut publisher);
    host.start();
    assert_eq!(host.push(&publisher.full_on(1, &["sbx-1"])).expect("an answer").status, 200);
    let agent = agent(&folder);
    let contestants = contestants(&agent, &host.path("run/resources/sbx-1/miosa.sock"));

    let mut times: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds.saturating_add(WARM_UP) {
        for place in 0..contestants.len() {
            let number = (place + round) % contestants.len();
            let time = started(&contestants[number].1);
            if round >= WARM_UP {
                times.entry(number).or_default().push(time);
            }
        }
    }
    let medians: Vec<f64> = times.values().map(|times| median(times)).collect();
    println!("{rounds} rounds, {VARIABLES} variables; the agent is a static program that ends at once");
    for ((name, _), median) in contestants.iter().zip(&medians) {
        println!("{name:28} {:8.0} µs   {:5.2} × bare", median * 1e6, median / medians[0]);
    }
    for (name, words) in &contestants {
        if let Some(kilobytes) = peak(words) {
            println!("{name:28} {kilobytes:8} KB at its peak");
        }
    }
    drop(host);
    drop(std::fs::remove_dir_all(folder));
}

/// Each with the words that start it; those that are not installed are named and left out.
fn contestants(agent: &Path, socket: &Path) -> Vec<(&'static str, Vec<String>)> {
    let agent = agent.display().to_string();
    let shim = command("miosa-exec").get_program().to_string_lossy().into_owned();
    let ours = |more: &[&str]| {
        let mut words = vec![shim.clone(), "--socket".to_owned(), socket.display().to_string()];
        words.extend(more.iter().map(|&word| word.to_owned()));
        words.extend(["--".to_owned(), agent.clone()]);
        words
    };
    let mut contestants = vec![("bare", vec![agent.clone()])];
    for (name, words) in [
        ("env A=1", &["/usr/bin/env", "A=1"][..]),
        ("catatonit", &["/usr/bin/catatonit", "--"]),
        ("tini -s", &["/usr/bin/tini", "-s", "--"]),
        ("dumb-init", &["/usr/bin/dumb-init"]),
    ] {
        if Path::new(words[0]).exists() {
            contestants
                .push((name, words.iter().copied().chain([agent.as_str()]).map(str::to_owned).collect()));
        } else {
            println!("{name} is not installed, and left out");
        }
    }
    contestants.push(("miosa-exec", ours(&[])));
    contestants.push(("miosa-exec --init", ours(&["--init"])));
    contestants
}

/// A static program that does nothing, made by the compiler that is here.
fn agent(folder: &Path) -> PathBuf {
    let (source, agent) = (folder.join("agent.rs"), folder.join("agent"));
    std::fs::write(&source, "fn main() {}").expect("write the agent");
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let built = Command::new("rustc")
        .args(["--target", &target, "-O", "-C", "panic=abort", "-C", "relocation-model=static"])
        .args(["-C", "linker=rust-lld", "-C", "link-self-contained=yes", "-o"])
        .args([&agent, &source])
        .status();
    assert!(built.expect("run rustc").success(), "cannot compile for {target}: rustup target add {target}");
    agent
}

fn started(words: &[String]) -> f64 {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status().expect("start a contestant");
    let time = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{words:?}: {status}");
    time
}

/// The most memory that it and what it started had, by the `time` of Debian.
fn peak(words: &[String]) -> Option<u64> {
    let output = Command::new("/usr/bin/time").args(["-f", "%M"]).args(words).output().ok()?;
    String::from_utf8(output.stderr).ok()?.trim().parse().ok()
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

const VARIABLES: usize = 40;
const WARM_UP: usize = 20;
