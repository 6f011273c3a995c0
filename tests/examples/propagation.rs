//! How long after the REST answer a changed value is on the resource's socket: `make bench`.
//! One host, one resource, 200 changes one after the other; the poll itself costs a connection. The
//! number of other variables is the one argument, 40 if there is none.

use std::time::{Duration, Instant};

use miosa_tests::World;
use serde_json::json;

fn main() {
    let world = World::start_with(&["--log-level", "warn"]);
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    let others = std::env::args().nth(1).map_or(40, |count| count.parse().expect("a number of variables"));
    for position in 0..others {
        tenant.set(&format!("BENCH_VAR_{position}"), &"v".repeat(60), json!({}));
    }
    let id = tenant.set("COUNT", "0", json!({}));
    host.place(&tenant, "sbx-1", json!({}));
    host.await_env("sbx-1", "COUNT", Some("0"));

    let mut writes = Vec::new();
    let mut arrivals = Vec::new();
    for round in 1..=200_u32 {
        let value = round.to_string();
        let asked = Instant::now();
        let answer = tenant.call("PATCH", &format!("runtime-env/{id}"), json!({ "value": value }));
        let answered = Instant::now();
        assert_eq!(answer.status, 200);
        // Found in the text: reading thousands of variables as JSON would take longer than the change.
        let arrived = format!("\"COUNT\":\"{value}\"");
        while !String::from_utf8_lossy(&host.ask("sbx-1", "/v1/resolve").body).contains(&arrived) {}
        writes.push(answered - asked);
        arrivals.push(answered.elapsed());
    }
    println!("REST write:                        {}", spread(writes));
    println!("REST answer to changed answer:     {}", spread(arrivals));
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms", at(50), at(90), at(99))
}
