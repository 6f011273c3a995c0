//! A control plane that is none, or has turned against its hosts: whatever it does, the daemon serves
//! on, the link says what to do, takes no more than its share, and is back when the control plane is.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use miosa_tests::front::{
    self, Act, Front, answer, answer_without_end, forward_to, read_request, say_and_stall, stall,
};
use miosa_tests::program::eventually;
use miosa_tests::world::{Address, files_below};
use miosa_tests::{Host, Program, Tenant, World, memory};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;

#[test]
fn a_control_plane_that_stalls_is_left_and_found_again() {
    Trial::with(&|trial| {
        let drip = |bytes: &str| answer_without_end(bytes, "x", Duration::from_millis(200));
        trial.meet(stall(), "took longer than 1 s to answer");
        trial.meet(say_and_stall(b"HTTP/1.1 200 OK\r\nContent-Ty"), "took longer than 1 s to answer");
        trial.meet(drip("HTTP/1.1 200 OK\r\nX: "), "took longer than 1 s to answer");
        trial.meet(say_and_stall(STREAM), "was silent for 3 s");
        trial.meet(say_and_stall(&line("{\"update\": ")), "a line of the stream took longer than 2 s");
        trial.meet(answer_without_end(STREAM, "1\r\nx\r\n", SECOND / 5), "took longer than 2 s");
    });
}

#[test]
fn a_control_plane_that_answers_nonsense_is_left_and_found_again() {
    Trial::with(&|trial| {
        let status = |line: &str, fields: &str| {
            answer(format!("HTTP/1.1 {line}\r\n{fields}Content-Length: 0\r\n\r\n"))
        };
        trial.meet(Arc::new(|_| {}), "cannot exchange messages");
        trial.meet(answer(""), "cannot exchange messages");
        trial.meet(answer([0; 100_000]), "cannot exchange messages");
        trial.meet(answer("SSH-2.0-OpenSSH_9.2\r\n"), "cannot exchange messages");
        trial.meet(
            answer(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(100_000))),
            "cannot exchange messages",
        );
        trial.meet(status("200 OK", ""), "the control plane ended the stream");
        trial.meet(answer([STREAM, b"3\r\n"].concat()), "the stream broke off");
        trial.meet(answer([STREAM, b"zz\r\n"].concat()), "the stream broke off");
        for nonsense in ["<html>", "null", "{\"update\": {}, \"trust\": {}}", "\u{feff}{}", "[[[[[[[["] {
            trial.meet(answer(line(&format!("{nonsense}\n"))), "is not what a control plane sends");
        }
        trial.meet(
            answer("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nhalf a line"),
            "ended the stream",
        );
        let moved = "Location: http://127.0.0.1:1/host/v1/updates\r\n";
        trial.meet(status("301 Moved Permanently", moved), "redirects are not followed");
        trial.meet(status("307 Temporary Redirect", moved), "redirects are not followed");
        trial.meet(status("401 Unauthorized", ""), "run `miosad unenroll` and enroll anew");
        trial.meet(status("403 Forbidden", ""), "run `miosad unenroll` and enroll anew");
        trial.meet(status("404 Not Found", ""), "is it a control plane");
        trial.meet(status("500 Internal Server Error", ""), "see its log");
        trial.meet(status("204 No Content", ""), "is it a control plane");
    });
}

#[test]
fn a_control_plane_that_asks_for_patience_gets_it() {
    Trial::with(&|trial| {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let times = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&times);
            let refusal = format!("HTTP/1.1 {status}\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n");
            let refuse: Act = Arc::new(move |client| {
                // What the link reports of itself is no try to get updates.
                let Some(request) = read_request(client) else { return };
                if request.starts_with("GET /host/v1/updates") {
                    noted.lock().unwrap().push(Instant::now());
                }
                drop(client.write_all(refusal.as_bytes()));
            });
            trial.meet(refuse, "it is left alone for a while");
            eventually("it tries again", || (times.lock().unwrap().len() > 1).then_some(()));
            let times = times.lock().unwrap();
            assert!(times[1] - times[0] >= 3 * SECOND, "{:?}", times[1] - times[0]);
        }
    });
}

#[test]
fn a_line_without_an_end_takes_no_more_memory_than_two_of_the_largest() {
    Trial::with(&|trial| {
        let before = memory::kibibytes(trial.link_pid(), "VmHWM");
        let chunk = [b"100000\r\n".to_vec(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
        trial.meet(answer_without_end(STREAM, chunk, Duration::ZERO), "is longer than 16777280 bytes");
        let growth = memory::kibibytes(trial.link_pid(), "VmHWM") - before;
        assert!(growth <= 2 * 16 * 1024 + 2 * 1024, "{growth} KiB");
        // Many lines, each nearly the largest, and none of them of use.
        let long = line(&format!("{{\"notice\": \"{}\"}}\n", "x".repeat((16 << 20) - 64)));
        trial.meet(answer_without_end(long.clone(), "", SECOND), "silent for 3 s");
        let growth = memory::kibibytes(trial.link_pid(), "VmHWM") - before;
        assert!(growth <= 3 * 16 * 1024 + 2 * 1024, "{growth} KiB");
    });
}

#[test]
fn neither_closing_at_once_nor_flooding_keeps_the_link_busy() {
    Trial::with(&|trial| {
        let flood = |text: &str| {
            answer_without_end(STREAM, &line(&text.repeat(10_000))[STREAM.len()..], Duration::ZERO)
        };
        let trust = trial.trust_line();
        for act in
            [Arc::new(|_: &mut dyn front::Conversation| {}) as Act, flood("\n"), flood("{}\n"), flood(&trust)]
        {
            let (began, used) = (Instant::now(), [trial.link_pid(), trial.serve_pid()].map(processor_time));
            trial.front.behave(None, act);
            std::thread::sleep(3 * SECOND);
            let now = [trial.link_pid(), trial.serve_pid()].map(processor_time);
            let used = [now[0] - used[0], now[1] - used[1]];
            assert!(used.iter().sum::<Duration>() < began.elapsed() / 3, "{used:?} of {:?}", began.elapsed());
        }
        assert!(trial.front.accepted() < 200, "{} connections", trial.front.accepted());
    });
}

#[test]
fn updates_that_are_sent_again_change_nothing() {
    Trial::with(&|trial| {
        let cached = || {
            let files = files_below(&trial.state_dir().join("cache")).into_iter();
            let texts = files.map(|path| std::fs::read_to_string(path).unwrap());
            texts.map(|envelope| format!("{{\"update\":{}}}\n", envelope.trim_end())).collect::<Vec<_>>()
        };
        let old = cached();
        trial.change();
        let new = cached();
        assert_ne!(old, new);
        // The honest pace of a stream, so that each is judged.
        for lines in [old.concat(), [old.concat(), new.concat()].concat()] {
            trial.meet(
                answer_without_end(line(&lines), &line(&lines)[STREAM.len()..], SECOND / 20),
                "could use none of the last 16",
            );
        }
    });
}

#[test]
fn who_is_not_the_control_plane_gets_no_further_than_the_handshake() {
    let (ours, other) = (Authority::new(), Authority::new());
    let world = World::start();
    let honest = ours.server(|_| {});
    let front = Front::start(Some(&honest), forward_to(world.port()));
    let ca = world.path("ca.pem");
    std::fs::write(&ca, &ours.pem).unwrap();
    let url = format!("https://localhost:{}", front.port());
    let tenant = world.tenant("acme");
    let host = world.host_at("h1", &Address { url: &url, ca: Some(&ca), config: PATIENCE });
    let trial = Trial::new(&tenant, host, front, Some(Arc::clone(&honest)), world.port());

    let said = answer([STREAM, b"1\r\n\n\r\n"].concat());
    let refused = [
        (other.server(|_| {}), "UnknownIssuer"),
        (self_signed(), "invalid peer certificate"),
        (ours.server(|leaf| leaf.subject_alt_names.clear()), "not valid for"),
        (ours.server(|leaf| leaf.not_after = date_time_ymd(2020, 1, 1)), "expired"),
        (ours.server(|leaf| leaf.not_before = date_time_ymd(4000, 1, 1)), "not valid yet"),
    ];
    for (tls, words) in &refused {
        trial.meet_as(Some(tls), Arc::clone(&said), words);
        assert!(trial.said().contains("which needs a certificate for that name"));
    }
    trial.meet_as(None, stall(), "took longer than 1 s to agree on TLS");
    trial.meet_as(None, say_and_stall(&[0x16, 3, 3, 0x40, 0, 2]), "took longer than 1 s to agree on TLS");
    trial.meet_as(None, say_and_stall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "cannot agree on TLS 1.3");
    let (_old, port) = old_tls(&world, &ours);
    trial.meet_as(None, forward_to(port), "cannot agree on TLS 1.3");
    trial.change();
}

/// A host with a resource, behind a front that the test can turn hostile.
struct Trial<'a> {
    tenant: &'a Tenant<'a>,
    host: Mutex<Host<'a>>,
    front: Front,
    honest: Option<Arc<ServerConfig>>,
    control: u16,
    changes: Mutex<u32>,
}

impl<'a> Trial<'a> {
    /// Over plain HTTP; whatever was tried, the host is found to be well in the end.
    fn with(test: &dyn Fn(&Trial<'_>)) {
        let world = World::start();
        let front = Front::start(None, forward_to(world.port()));
        let url = format!("http://127.0.0.1:{}", front.port());
        let tenant = world.tenant("acme");
        let host = world.host_at("h1", &Address { url: &url, ca: None, config: PATIENCE });
        let trial = Trial::new(&tenant, host, front, None, world.port());
        test(&trial);
        trial.change();
    }

    fn new(
        tenant: &'a Tenant<'a>,
        host: Host<'a>,
        front: Front,
        honest: Option<Arc<ServerConfig>>,
        control: u16,
    ) -> Self {
        host.place(tenant, "sbx-1", json!({}));
        let trial = Self { tenant, host: Mutex::new(host), front, honest, control, changes: Mutex::new(0) };
        trial.change();
        trial
    }

    /// Turns the front hostile until the link says so, with the daemon serving all the while.
    fn meet(&self, act: Act, words: &str) {
        self.meet_as(None, act, words);
    }

    fn meet_as(&self, tls: Option<&Arc<ServerConfig>>, act: Act, words: &str) {
        let before = self.said().len();
        self.front.behave(tls, act);
        let said = || self.said()[before..].to_owned();
        let resolved = || self.host.lock().unwrap().env("sbx-1", "CHANGE");
        let deadline = Instant::now() + 20 * SECOND;
        while !said()
            .lines()
            .any(|line| line.contains("no link to the control plane") && line.contains(words))
        {
            assert!(Instant::now() < deadline, "the link never said {words:?}, but: {}", said());
            assert_eq!(resolved(), Some(self.changes.lock().unwrap().to_string()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Turns the front honest; a change arrives.
    fn change(&self) {
        self.front.behave(self.honest.as_ref(), forward_to(self.control));
        let value = {
            let mut changes = self.changes.lock().unwrap();
            *changes += 1;
            changes.to_string()
        };
        self.tenant.set("CHANGE", &value, json!({}));
        self.host.lock().unwrap().await_env("sbx-1", "CHANGE", Some(&value));
    }

    /// All that the link has said.
    fn said(&self) -> String {
        self.host.lock().unwrap().link().output()
    }

    fn trust_line(&self) -> String {
        let files = files_below(&self.state_dir().join("trust"));
        let newest = std::fs::read_to_string(files.last().expect("a trust document")).unwrap();
        format!("{{\"trust\":{}}}\n", newest.trim_end())
    }

    fn state_dir(&self) -> PathBuf {
        self.host.lock().unwrap().state_dir()
    }

    fn link_pid(&self) -> i32 {
        self.host.lock().unwrap().link().pid()
    }

    fn serve_pid(&self) -> i32 {
        self.host.lock().unwrap().serve().pid()
    }
}

/// Who vouches for certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{:?}", key.public_key_raw()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `localhost` with a change to it, and its key; both as PEM.
    fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let (certificate, key) = self.certify(change);
        server(&certificate, &key)
    }
}

fn self_signed() -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    server(&params.self_signed(&key).unwrap(), &key)
}

fn server(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// A server with the right certificate that speaks nothing newer than TLS 1.2.
fn old_tls(world: &World, authority: &Authority) -> (Program, u16) {
    let (certificate, key) = authority.certify(|_| {});
    let (certificate_file, key_file) = (world.path("old.pem"), world.path("old.key"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-tls1_2", "-www", "-accept", &port.to_string()]);
    command.arg("-cert").arg(&certificate_file).arg("-key").arg(&key_file);
    let old = Program::start("openssl s_server", command, &world.path("old.log"));
    eventually("the old server listens", || old.output().contains("ACCEPT").then_some(()));
    (old, port)
}

/// The head of a stream of updates.
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The head of a stream, and something in it.
fn line(text: &str) -> Vec<u8> {
    [STREAM, format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()].concat()
}

/// What a program has used of a processor.
fn processor_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> =
        stat.rsplit_once(')').unwrap().1.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // proc_pid_stat(5): the fields 14 and 15, after the name and the state, in hundredths of a second.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

/// Short enough to wait for, and longer than anything honest takes here.
const PATIENCE: &str = "[link]\nconnect_seconds = 1\nanswer_seconds = 1\nsilence_seconds = 3\nline_seconds = 2\nretry_seconds = 1\n";

const SECOND: Duration = Duration::from_secs(1);
