//! What the access log costs an answer: two daemons, one with it and one without, asked in turns over a
//! connection that stays and over a connection for each request. It prints medians and their ratios:
//! `MIOSA_BIN_DIR=target/dist cargo run --release -p miosa-tests --example access_cost [ROUNDS]`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use miosa_tests::Publisher;
use miosa_tests::lone::LoneHost;

fn main() {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(41);
    let folder = std::env::temp_dir().join(format!("access-cost-{}", std::process::id()));
    let hosts =
        [("with", "true"), ("without", "false")].map(|(name, enabled)| start(&folder.join(name), enabled));
    let sockets = hosts.each_ref().map(|host| host.path("run/resources/sbx-1/miosa.sock"));
    for (what, ask) in [("keep-alive", keep_alive as fn(&Path)), ("connection per request", connecting)] {
        sockets.iter().for_each(|socket| ask(socket));
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            // Which comes first alternates: whatever else the machine does meets both.
            let [one, other] = &sockets;
            if round % 2 == 0 {
                with.push(timed(ask, one));
                without.push(timed(ask, other));
            } else {
                without.push(timed(ask, other));
                with.push(timed(ask, one));
            }
        }
        let ratios = with.iter().zip(&without).map(|(with, without)| with / without).collect();
        let [with, without, ratio] = [with, without, ratios].map(median);
        println!(
            "{what}: {:.2} µs with, {:.2} µs without; ratio of the medians {:.4}, median of the ratios {ratio:.4}",
            with / f64::from(REQUESTS) * 1e6,
            without / f64::from(REQUESTS) * 1e6,
            with / without
        );
    }
    drop(hosts);
    drop(std::fs::remove_dir_all(folder));
}

fn start(folder: &Path, enabled: &str) -> LoneHost {
    let mut publisher = Publisher::new("host_1");
    let mut host = LoneHost::enroll(folder, &mut publisher);
    let config = host.path("miosad.toml");
    std::fs::write(&config, format!("[access_log]\nenabled = {enabled}\n")).expect("write the settings");
    host.start_as(host.command(&["serve", "--config", config.to_str().expect("text")]));
    assert_eq!(host.push(&publisher.full(1)).expect("an answer").status, 200);
    host
}

fn timed(ask: fn(&Path), socket: &Path) -> f64 {
    let begun = Instant::now();
    ask(socket);
    begun.elapsed().as_secs_f64()
}

fn keep_alive(socket: &Path) {
    let mut stream = UnixStream::connect(socket).expect("connect");
    for _ in 0..REQUESTS {
        exchange(&mut stream);
    }
}

fn connecting(socket: &Path) {
    for _ in 0..REQUESTS {
        exchange(&mut UnixStream::connect(socket).expect("connect"));
    }
}

/// Answers come in one piece: they are smaller than a socket's buffer.
fn exchange(stream: &mut UnixStream) {
    stream.write_all(b"GET /v1/resolve HTTP/1.1\r\nHost: h\r\n\r\n").expect("send");
    let mut answer = [0; 65_536];
    let length = stream.read(&mut answer).expect("an answer");
    assert!(
        answer[..length].starts_with(b"HTTP/1.1 200"),
        "{:?}",
        String::from_utf8_lossy(&answer[..length])
    );
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

const REQUESTS: u32 = 2_000;
