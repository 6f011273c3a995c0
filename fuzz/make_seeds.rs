//! Writes the seeds of the fuzz targets: `cargo run -p miosa-tests --example fuzz_seeds`. They come out of the
//! code that makes such bytes for real, where there is any; where the bytes stand for choices, they are noise
//! that is the same every time. Salts are not, so envelopes come out new.

use std::fs;
use std::path::{Path, PathBuf};

use miosa_snapshot::{
    ContentKey, Digest, Draft, HostPrivateKey, Kind, Signer, SigningKey, Times, TrustDocument, seal,
};
use serde_json::{Value, json};

fn main() {
    let seeds = Seeds(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds"));
    snapshot(&seeds);
    injector(&seeds);
    daemon(&seeds);
    shim(&seeds);
    control(&seeds);
}

fn snapshot(seeds: &Seeds) {
    let (root, signer) = (key(1), key(2));
    let document = TrustDocument {
        version: 1,
        epoch: 3,
        threshold: 1,
        roots: vec![root.public(), key(7).public()],
        signers: vec![Signer { key: signer.public(), expires_at: NOW, tenants: Some(vec!["t1".to_owned()]) }],
        expires_at: NOW,
    };
    seeds.keep("envelope", "trust", &document.sign(&[&root]).unwrap());
    seeds.keep("envelope", "trust-two-signatures", &document.sign(&[&root, &key(7)]).unwrap());

    let host = HostPrivateKey::from_bytes(&[5; 32]).unwrap();
    let content_key = ContentKey::for_host(&"host_1".parse().unwrap(), &host.public()).unwrap();
    let prev = Digest::of(b"");
    for (name, kind, payload) in [
        ("full", Kind::Full, payload(false).to_string()),
        ("incremental", Kind::Incremental { from: 6, prev }, payload(true).to_string()),
        ("heartbeat", Kind::Heartbeat { from: 7, prev }, "{}".to_owned()),
    ] {
        let times = Times { issued_at: NOW, expires_at: NOW + 9, serve_until: NOW + 99 };
        let draft = Draft { epoch: 3, version: 7, kind, times };
        seeds.keep("envelope", name, &seal(&draft, payload.as_bytes(), &content_key, &signer).unwrap());

        let (from, prev) = match kind {
            Kind::Full => (Value::Null, Value::Null),
            Kind::Incremental { from, prev } | Kind::Heartbeat { from, prev } => {
                (from.into(), prev.to_string().into())
            }
        };
        let statement = format!(
            r#"{{"format":1,"host_id":"host_1","signer":"{}","epoch":3,"version":7,"kind":"{name}","from":{from},"prev":{prev},"issued_at":{NOW},"expires_at":{},"serve_until":{},"payload":{payload}}}"#,
            signer.key_id(),
            NOW + 9,
            NOW + 99,
        );
        seeds.keep("statement", name, statement.as_bytes());
        seeds.keep("update_open", &format!("sealed-{name}"), &[b"\x01", statement.as_bytes()].concat());
    }
    let body = [b"\0host_1\0".as_slice(), &[7; 80 + 32 + 16]].concat();
    seeds.keep("update_open", "signed", &body);
    for number in 0..8 {
        let made = [vec![2], noise(number, 48)].concat();
        seeds.keep("update_open", &format!("made-{number}"), &made);
        seeds.keep("trust_chain", &format!("offers-{number}"), &noise(number, 256));
    }
}

fn injector(seeds: &Seeds) {
    for (name, value) in [("full", payload(false)), ("incremental", payload(true))] {
        seeds.keep("payload", name, value.to_string().as_bytes());
    }
    let policy =
        json!({"approval": "confirm-risky", "max_child_sandboxes": 2, "risk": [1, -2, 3.5, true, null]});
    let connectors = json!(["refero/design-research", {"uid": "c1", "server_url": "https://example.com"}]);
    for (name, value) in [
        ("policy", &policy),
        ("connectors", &connectors),
        ("applies-to", &json!({"resources": ["sandbox", "agent"]})),
        ("applies-to-flags", &json!({"sandboxes": true})),
        ("kinds", &json!(["sandbox"])),
        ("command", &json!(["my-agent", "--flag"])),
        ("private", &json!({"$serde_json::private::RawValue": "1"})),
    ] {
        seeds.keep("json", name, value.to_string().as_bytes());
    }
    for (name, text) in [
        ("repeated", r#"{"a":1,"a":2}"#),
        ("escaped-repeated", r#"{"a":1,"\u0061":2}"#),
        ("deep", &format!("{}{}", "[".repeat(33), "]".repeat(33))),
        ("numbers", "[1e400,-0,18446744073709551616,0.1e-9]"),
        ("surrogate", r#""\ud800""#),
    ] {
        seeds.keep("json", name, text.as_bytes());
    }
    for (name, text) in [
        ("words", r#"agent --name 'a b' "$HOME" c\ d # comment"#),
        ("array", r#"["agent","a b",""]"#),
        ("open-quote", "agent 'x"),
        ("nul", r#"["agent","\u0000"]"#),
    ] {
        seeds.keep("command", name, text.as_bytes());
    }
    for (name, text) in
        [("upper", "ANTHROPIC_API_KEY"), ("lower", "http_proxy"), ("digit", "9A"), ("equals", "A=B")]
    {
        seeds.keep("env", name, text.as_bytes());
    }
    for number in 0..8 {
        seeds.keep("env", &format!("layers-{number}"), &noise(number, 160));
    }
}

fn daemon(seeds: &Seeds) {
    for number in 0..8 {
        seeds.keep("apply_sequence", &format!("history-{number}"), &noise(number, 96));
        seeds.keep("cache_open", &format!("disk-{number}"), &noise(number, 64));
    }
    let floor = r#"{"format":1,"epoch":1,"version":42,"issued_at":1800000000000}"#;
    let config = "state_dir = \"/s\"\nlog_level = \"debug\"\nlog_format = \"json\"\n[limits]\nresource_connections = 1\nheader_bytes = 9000\nidle_seconds = 3\n";
    let host = json!({"host_id": "host_1", "name": "one", "trust": Digest::of(b"").to_string()}).to_string();
    let link = json!({"control": "https://example.com:7400/base", "ca": null, "token": "mht_x"}).to_string();
    for (file, name, text) in [
        (0, "floor", floor),
        (1, "config", config),
        (2, "host", &host),
        (3, "link", &link),
        (4, "key", "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n"),
        (5, "url", "https://example.com:7400/base"),
        (5, "url-loopback", "http://[::1]:7400"),
        (5, "url-unix", "unix:/run/control.sock"),
    ] {
        seeds.keep("daemon_files", name, &[&[file], text.as_bytes()].concat());
    }
    let stream = b"{\"trust\":{\"payload\":\"\"}}\n\n{\"update\":{ \"a\" : 1 }}\r\n{\"notice\":\"x\"}\n{";
    seeds.keep("link_lines", "stream", &[b"\x03".as_slice(), stream].concat());
    seeds.keep("link_lines", "empty", b"\x01\n\r\n \n");
    for (number, head) in HEADS.iter().enumerate() {
        seeds.keep("socket_head", &format!("{number:02}"), &[b"\x20", head.as_bytes()].concat());
    }
}

fn shim(seeds: &Seeds) {
    let body = json!({
        "resource_id": "sbx-1", "run_id": "run_1", "snapshot_version": 7, "stale": false, "age_seconds": 1,
        "env": {"A": "1", "MIOSA_AGENT_CWD": "/w", "PATH": "/bin"}, "delivery": {"A": "fd"}, "files": [], "cwd": "/w",
        "cwd_source": "env", "command": ["agent", "--flag"], "command_source": "catalog", "profile": {"id": "arp_1"},
    });
    let error = json!({"error": {"code": "run_not_found", "message": "resource sbx-1 has no run run_1"}});
    for (name, status, body) in
        [("answer", "200 OK", body.to_string()), ("error", "404 Not Found", error.to_string())]
    {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        seeds.keep("shim_response", name, answer.as_bytes());
    }
    for (name, answer) in [
        ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        ("two-lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
        ("huge", "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n"),
        ("truncated", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}"),
        ("other", "SSH-2.0-OpenSSH_9.2\r\n"),
    ] {
        seeds.keep("shim_response", name, answer.as_bytes());
    }
    for number in 0..8 {
        seeds.keep("shim_options", &format!("arguments-{number}"), &noise(number, 128));
    }
}

fn control(seeds: &Seeds) {
    let profile = json!({
        "name": "Default app builder", "runtime": "claude-code", "applies_to": {"resources": ["sandbox"]}, "tools": ["files"],
        "connectors": ["refero/design-research"], "env": {"ANTHROPIC_MODEL": "claude-sonnet-4.6"},
        "policy": {"approval": "confirm-risky"}, "is_default": true, "metadata": {},
    });
    let variable = json!({"scope": "workspace", "workspace_id": "ws_1", "target": "sandbox", "name": "KEY", "value": "v", "enabled": true, "metadata": {"deliver": "fd"}});
    let resource = json!({"id": "res-1", "tenant_id": "t1", "host_id": "host_1", "kind": "sandbox", "env": {"A": "1"}, "agent_profile_id": null});
    let run = json!({"instruction": "build", "command": ["agent"], "ttl_seconds": 60, "approval_policy": "never", "model": "m"});
    let status =
        json!({"epoch": 1, "version": 2, "digest": "0".repeat(64), "error": {"code": "c", "message": "m"}});
    let enroll = json!({"token": format!("mjt_{}", "A".repeat(43)), "public_key": "Xf7dO2vUf2+ijuFdlp1bsOpTd01Ii9r5+cbgASSz7yI=", "agent": "miosad"});
    for (number, body) in [profile, variable, resource, run, status, enroll].iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        seeds.keep(
            "control_requests",
            &format!("body-{number}"),
            &[&[number, 0, 0, 0], body.to_string().as_bytes()].concat(),
        );
    }
    for (name, text) in [
        ("cursor", "limit=2&cursor=MTc1MDAwMDAwMDAwMC5lbnZfMQ"),
        ("wait", "wait=10&dry_run=true"),
        ("key", "msk_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("bearer", "Bearer  msk_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA "),
        ("body", r#"{"name":"A","value":"v","a":{"b":[1,null]}}"#),
    ] {
        seeds.keep("control_parts", name, text.as_bytes());
    }
}

/// A payload with a record of each kind.
fn payload(deletes: bool) -> Value {
    let deleted = if deletes {
        json!({"env": ["env_9"], "profiles": ["arp_9"], "resources": ["sbx-9"], "runs": ["run_9"]})
    } else {
        json!({"env": [], "profiles": [], "resources": [], "runs": []})
    };
    json!({
        "put": {
            "env": [{"id": "env_1", "tenant_id": "acme", "scope": {"workspace": "ws_123"}, "target": "sandbox",
                "name": "ANTHROPIC_API_KEY", "value": "sk-ant-0", "enabled": true, "deliver": "file"}],
            "profiles": [{"id": "arp_1", "tenant_id": "acme", "workspace_id": "ws_123", "project_id": null,
                "name": "Default app builder", "runtime": "claude-code", "applies_to": ["sandbox", "computer"],
                "tools": ["files", "exec"], "connectors": ["refero/design-research", {"uid": "c1"}],
                "env": {"ANTHROPIC_MODEL": "claude-sonnet-4.6"}, "policy": {"approval": "confirm-risky"}, "is_default": true}],
            "resources": [{"id": "sbx-1", "tenant_id": "acme", "workspace_id": "ws_123", "project_id": null,
                "kind": "sandbox", "env": {"ONLY_HERE": "1"}, "selection": {"skip": false, "profile_id": null}}],
            "runs": [{"id": "run_1", "resource_id": "sbx-1", "env": {}, "selection": {"skip": false, "profile_id": "arp_1"},
                "instruction": "Build a landing page", "cwd": null, "command": null, "runtime_command": ["my-agent", "--flag"],
                "model": null, "provider": null, "approval_policy": {"approval": "never"}}],
        },
        "delete": deleted,
    })
}

struct Seeds(PathBuf);

impl Seeds {
    fn keep(&self, target: &str, name: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Bytes that look random and are the same every time (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn key(seed: u8) -> SigningKey {
    // PKCS#8 version 1 is a fixed head and the seed.
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    SigningKey::from_pkcs8(&[HEAD.as_slice(), &[seed; 32]].concat()).unwrap()
}

const NOW: u64 = 1_750_000_000_000;

/// Requests, and what smugglers make of them.
const HEADS: [&str; 28] = [
    "GET /v1/resolve HTTP/1.1\r\nHost: miosa\r\n\r\n",
    "GET /v1/resolve?run=run_1 HTTP/1.1\r\nHost: miosa\r\nIf-None-Match: \"x\", W/\"y\"\r\n\r\n",
    "GET /v1/explain?run= HTTP/1.1\r\nHost: miosa\r\nConnection: close\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/explain HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\nHost: a\n\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
    "GET http://other/v1/resolve HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\n\r\n",
    "GET /v1/resolve HTTP/1.0\r\nHost: a\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /v1/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "GET /v1/../admin HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/resolve?sandbox=other HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/resolve?run=a&run=b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\nVia: c\r\nForwarded: d\r\nOrigin: e\r\n\r\n",
    "GET /v1/resolve HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
    "\r\n\r\nGET /v1/resolve HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/watch?run=run_1&etag=W/%2200ff%22&timeout=300 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/watch?timeout=301 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/watch?timeout=&etag=&etag=x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /v1/watch HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n",
];
