//! The command line, the first start, and the end.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::backend::sqlite;
use crate::control::{Control, signal};

#[test]
fn the_first_start_makes_private_state_and_one_trust() {
    let control = Control::prepare(sqlite());
    let first = control.run(&["trust", "show"]);
    let mode = |path: &std::path::Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&control.state_dir()), 0o700);
    for file in std::fs::read_dir(control.state_dir()).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    let envelope: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(envelope["payloadType"], "application/vnd.miosa.trust.v1+json");
    assert_eq!(control.run(&["trust", "show"]), first);
}

#[test]
fn several_first_starts_at_once_agree_on_one_trust() {
    let control = Control::prepare(sqlite());
    let starts: Vec<_> = (0..4)
        .map(|_| {
            control.command(&["trust", "show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = starts.into_iter().map(|start| start.wait_with_output().unwrap()).collect();
    let last = control.run(&["trust", "show"]);
    for output in outputs {
        // One that met another halfway may fail, but none may go its own way.
        if output.status.success() {
            assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), last);
        }
    }
}

#[test]
fn keys_are_printed_once_and_alone() {
    let control = Control::prepare(sqlite());
    let key = control.run(&["key", "create", "--tenant", "t1"]);
    assert!(key.starts_with("msk_live_") && key.len() == 52 && !key.contains('\n'), "{key}");
    let platform = control.run(&["key", "create", "--role", "platform"]);
    assert!(platform.starts_with("mpk_live_") && platform.len() == 52, "{platform}");
    let list = control.run(&["key", "list"]);
    assert!(!list.contains(&key) && !list.contains(&platform));
    assert_eq!(list.lines().count(), 3);
    for bad in [
        &["key", "create"][..],
        &["key", "create", "--role", "write"],
        &["key", "create", "--role", "platform", "--tenant", "t1"],
        &["key", "create", "--tenant", "a b"],
        &["key", "revoke", "key_none"],
    ] {
        let output = control.output(bad);
        assert!(!output.status.success() && output.stdout.is_empty() && !output.stderr.is_empty(), "{bad:?}");
    }
}

#[test]
fn a_join_token_carries_the_digest_of_the_trust() {
    let control = Control::prepare(sqlite());
    let token = control.run(&["host", "create", "--name", "h1"]);
    let (secret, digest) = token.split_once('.').unwrap();
    assert!(secret.starts_with("mjt_") && secret.len() == 47, "{token}");
    assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{token}");
    assert!(!control.output(&["host", "create", "--name", "h1"]).status.success());
    assert!(!control.output(&["host", "create", "--name", "no spaces"]).status.success());
    assert!(control.run(&["host", "list"]).lines().nth(1).unwrap().contains("h1"));
    assert_eq!(control.run(&["host", "revoke", "h1"]), "h1");
    assert!(!control.output(&["host", "revoke", "h1"]).status.success());
    // A revoked host's name is free again.
    control.run(&["host", "create", "--name", "h1"]);
}

#[test]
fn a_missing_exposed_or_other_master_key_is_told() {
    let control = Control::prepare(sqlite());
    control.run(&["key", "list"]);
    let file = control.state_dir().join("master.key");
    let told = |what: &str| {
        let output = control.output(&["key", "list"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(what), "{text}");
    };
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    told("chmod 600");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let kept = file.with_extension("kept");
    std::fs::rename(&file, &kept).unwrap();
    told("is missing");
    std::fs::copy(&kept, &file).unwrap();
    std::fs::write(&file, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    told("not the one this database was made with");
    std::fs::remove_file(&file).unwrap();
    let named = control.output(&["key", "list", "--master-key", kept.to_str().unwrap()]);
    assert!(named.status.success());
}

#[test]
fn the_master_key_that_the_service_manager_hands_over_is_used_and_no_other_is_made() {
    let control = Control::prepare(sqlite());
    control.run(&["key", "list"]);
    let credentials = control.dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let credential = credentials.join("miosa-control.master-key");
    std::fs::rename(control.state_dir().join("master.key"), &credential).unwrap();
    // As systemd's access lists look.
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o440)).unwrap();
    let mut command = control.command(&["key", "list"]);
    assert!(command.env("CREDENTIALS_DIRECTORY", &credentials).status().unwrap().success());
    assert!(!control.state_dir().join("master.key").exists());
    assert!(!control.output(&["key", "list"]).status.success());
}

#[test]
fn the_service_manager_is_told_of_the_start_of_every_beat_and_of_the_end() {
    let control = Control::prepare(sqlite());
    let manager = control.dir.path().join("notify.sock");
    let notices = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
    notices.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let wait_for = |notice: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = notices.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            if text.lines().any(|line| line == notice) {
                return text.to_owned();
            }
        }
    };
    let mut command = control.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &manager).env("WATCHDOG_USEC", "300000");
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(wait_for("READY=1").contains("STATUS=listening on 127.0.0.1:"));
    for _beat in 0..3 {
        wait_for("WATCHDOG=1");
    }
    signal(&server, "TERM");
    wait_for("STOPPING=1");
    assert!(server.wait().unwrap().success());
}

#[test]
fn plain_http_beyond_this_machine_is_refused() {
    let control = Control::prepare(sqlite());
    for address in ["0.0.0.0:0", "[::]:0"] {
        for arguments in [
            &["serve", "--listen", address][..],
            &["serve", "--listen", "127.0.0.1:0", "--ops-listen", address],
        ] {
            let output = control.output(arguments);
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && text.contains("refusing to serve plain http"), "{text}");
        }
    }
    assert!(!control.output(&["serve", "--tls-cert", "/x"]).status.success());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
    let mut control = Control::start(sqlite()).await;
    let listen = format!("unix:{}", control.socket().display());
    let second = control.output(&["serve", "--listen", &listen]);
    assert!(String::from_utf8(second.stderr).unwrap().contains("another process is listening"));
    assert_eq!(control.stop().await, Some(0));
    assert!(!control.socket().exists());
    drop(std::os::unix::net::UnixListener::bind(control.socket()).unwrap());
    control.serve().await;
    control.tenant("t1").get("/api/v1/runtime-env").send().await.data(200);
}

#[tokio::test]
async fn requests_under_way_are_finished_before_the_end() {
    let mut control = Control::start(sqlite()).await;
    let client = control.tenant("t1");
    let body = json!({"scope": "tenant", "name": "A", "value": "1"}).to_string();
    let mut stream = tokio::net::UnixStream::connect(control.socket()).await.unwrap();
    let head = format!(
        "POST /api/v1/runtime-env HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        client.key.as_deref().unwrap(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let end = async { control.stop().await };
    let finish = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(&body.as_bytes()[10..]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (code, answer) = tokio::join!(end, finish);
    assert_eq!(code, Some(0));
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
}

#[tokio::test]
async fn operators_see_health_readiness_and_metrics() {
    let mut control = Control::prepare(sqlite());
    let ops = control.dir.path().join("ops.sock");
    let control_socket = control.socket();
    let listen = format!("unix:{}", control_socket.display());
    let ops_listen = format!("unix:{}", ops.display());
    let mut server =
        control.command(&["serve", "--listen", &listen, "--ops-listen", &ops_listen]).spawn().unwrap();
    for _ in 0..500 {
        if ops.exists() && control_socket.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let operator = crate::client::Client { socket: ops, key: None };
    assert_eq!(operator.get("/healthz").send().await.text, "ok\n");
    assert_eq!(operator.get("/readyz").send().await.text, "ready\n");
    control.tenant("t1").get("/api/v1/runtime-env").send().await.data(200);
    let metrics = operator.get("/metrics").send().await.text;
    assert!(metrics.contains("miosa_control_requests_total"), "{metrics}");
    assert_eq!(operator.get("/api/v1/runtime-env").send().await.status.as_u16(), 404);
    assert_eq!(control.stranger().get("/healthz").send().await.error(404), "NOT_FOUND");
    crate::control::signal(&server, "INT");
    assert!(server.wait().unwrap().success());
    assert_eq!(control.stop().await, None);
}

#[tokio::test]
async fn tls_is_spoken_in_version_1_3_only() {
    let control = Control::prepare(sqlite());
    let key = control.run(&["key", "create", "--tenant", "t1"]);
    let (cert, private) = (control.dir.path().join("cert.pem"), control.dir.path().join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&private)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let log = control.dir.path().join("log");
    let mut server = control
        .command(&["serve", "--listen", "127.0.0.1:0", "--tls-cert"])
        .arg(&cert)
        .arg("--tls-key")
        .arg(&private)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let address = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some(address) = text.split("listening address=").nth(1).and_then(|rest| rest.lines().next()) {
            break address.to_owned();
        }
        assert!(server.try_wait().unwrap().is_none(), "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let curl = |options: &[&str], scheme: &str| {
        let url = format!("{scheme}://{address}/api/v1/runtime-env");
        let bearer = format!("authorization: Bearer {key}");
        Command::new("curl")
            .args(["-s", "-H", &bearer, "--cacert"])
            .arg(&cert)
            .args(options)
            .arg(url)
            .output()
            .unwrap()
    };
    let answer = curl(&["--tlsv1.3"], "https");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), r#"{"data":[]}"#);
    assert!(!curl(&["--tls-max", "1.2"], "https").status.success());
    assert!(!curl(&[], "http").status.success());
    crate::control::signal(&server, "TERM");
    assert!(server.wait().unwrap().success());

    // A key that belongs to another certificate is told at the start.
    let other = control.output(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        "/dev/null",
    ]);
    assert!(String::from_utf8(other.stderr).unwrap().contains("cannot read a private key"));
}

#[tokio::test]
async fn replicas_on_one_database_hear_of_each_others_changes() {
    let Some(backend) = crate::backend::postgres() else { return };
    let first = Control::start(backend).await;
    let mut second = Control::prepare(crate::backend::Backend { url: first.url.clone() });
    std::fs::create_dir_all(second.state_dir()).unwrap();
    std::fs::copy(first.state_dir().join("master.key"), second.state_dir().join("master.key")).unwrap();
    second.serve().await;
    let client = first.tenant("t1");
    let body = json!({"scope": "tenant", "name": "A", "value": "1"});
    let made = client.post("/api/v1/runtime-env", body).send().await.data(201);
    let there = crate::client::Client { socket: second.socket(), key: client.key.clone() };
    assert_eq!(there.get("/api/v1/runtime-env").send().await.data(200), json!([made]));
    for _ in 0..200 {
        if second.log().contains("heard of a change tenant=\"t1\"") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing was heard: {}", second.log());
}
