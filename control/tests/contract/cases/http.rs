//! What holds for every request, whatever it is about.

use serde_json::json;

use super::open;

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let calls = [
        (client.get("/api/v1/runtime-env"), 200),
        (client.get("/nowhere"), 404),
        (client.get("/"), 404),
        (client.call("DELETE", "/api/v1/runtime-env"), 405),
        (client.call("BREW", "/api/v1/runtime-env"), 405),
        (client.get("/api/v1/runtime-env/%ff"), 404),
        (client.get("/api/v1/runtime-env?limit=%ff"), 422),
        (client.call("POST", "/api/v1/runtime-env").raw("text/plain", b"{}".to_vec()), 415),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (call, status) in calls {
        let answer = call.send().await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert!(seen.insert(answer.header("x-request-id").unwrap().to_owned()));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        if status >= 400 {
            answer.error(status);
        }
    }
}

#[tokio::test]
async fn a_clients_own_request_id_is_kept_if_it_is_harmless() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let call = |id| client.get("/api/v1/runtime-env").header("x-request-id", id);
    assert_eq!(call("my-id.1_2").send().await.header("x-request-id"), Some("my-id.1_2"));
    let long = "x".repeat(129);
    for bad in ["a b", "<b>", "", long.as_str()] {
        assert!(call(bad).send().await.header("x-request-id").unwrap().starts_with("req_"), "{bad}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let answer = client.call("DELETE", "/api/v1/agent-runtime-profiles").send().await;
    assert_eq!(answer.error(405), "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), Some("GET,HEAD,POST"));
}

#[tokio::test]
async fn bodies_that_are_not_json_are_told_apart() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let nested = |depth: usize| {
        let open = "{\"a\":".repeat(depth - 2);
        format!(
            r#"{{"metadata":{open}{{}}{},"scope":"tenant","name":"A","value":"1"}}"#,
            "}".repeat(depth - 2)
        )
    };
    for (body, status, code) in [
        ("", 400, "MALFORMED_REQUEST"),
        ("{", 400, "MALFORMED_REQUEST"),
        ("{} {}", 400, "MALFORMED_REQUEST"),
        (r#"{"scope":"tenant","scope":"tenant"}"#, 400, "MALFORMED_REQUEST"),
        (r#"{"metadata":{"a":[{"b":1,"b":2}]}}"#, 400, "MALFORMED_REQUEST"),
        (r#"{"value":"\ud800"}"#, 400, "MALFORMED_REQUEST"),
        (r#"{"metadata":{"$serde_json::private::RawValue":"[1]"}}"#, 400, "MALFORMED_REQUEST"),
        (r#"{"value":{"\u0024serde_json::private::Number":"1"}}"#, 400, "MALFORMED_REQUEST"),
        ("[]", 422, "VALIDATION_FAILED"),
        ("null", 422, "VALIDATION_FAILED"),
        ("\"x\"", 422, "VALIDATION_FAILED"),
        (&nested(33), 400, "MALFORMED_REQUEST"),
        (&"[".repeat(100_000), 400, "MALFORMED_REQUEST"),
    ] {
        let call = client.call("POST", "/api/v1/runtime-env").raw("application/json", body.into());
        let answer = call.send().await;
        assert_eq!(answer.error(status), code, "{}", &body[..body.len().min(80)]);
    }
    let latin =
        client.call("POST", "/api/v1/runtime-env").raw("application/json", b"{\"value\":\"\xff\"}".to_vec());
    assert_eq!(latin.send().await.error(400), "MALFORMED_REQUEST");
    let deepest = client.call("POST", "/api/v1/runtime-env").raw("application/json", nested(32).into());
    deepest.send().await.data(201);
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"scope": "tenant", "name": "A", "value": "1"}).to_string();
    for bad in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let call = client.call("POST", "/api/v1/runtime-env").raw(bad, body.clone().into());
        assert_eq!(call.send().await.error(415), "UNSUPPORTED_MEDIA_TYPE", "{bad}");
    }
    for good in ["application/json; charset=utf-8", "Application/JSON"] {
        let call = client.call("POST", "/api/v1/runtime-env").raw(good, body.clone().into());
        assert!(call.send().await.status.is_success(), "{good}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for bytes in [1024 * 1024 + 1, 10 * 1024 * 1024] {
        let call = client.call("POST", "/api/v1/runtime-env").raw("application/json", vec![b' '; bytes]);
        assert_eq!(call.send().await.error(413), "TOO_LARGE");
    }
    let body =
        json!({"scope": "tenant", "name": "A", "value": "1", "metadata": {"x": "y".repeat(64 * 1024)}});
    assert_eq!(client.post("/api/v1/runtime-env", body).send().await.bad_fields(), ["metadata"]);
}

#[tokio::test]
async fn names_are_repeated_without_control_characters() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let body = json!({"name": "p", "runtime": "pi", "a\u{1b}[2J": 1, "env": {"b\r\n": "x"}});
    let refused = client.post("/api/v1/agent-runtime-profiles?c%0a=1", body).send().await;
    assert_eq!(refused.bad_fields(), ["a\u{fffd}[2J", "c\u{fffd}", "env.b\u{fffd}\u{fffd}"]);
}

#[tokio::test]
async fn sql_in_any_string_stays_a_string() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for text in ["'; DROP TABLE profiles; --", "\" OR 1=1", "$1", "%", "\\", "名前 🦀", "a'b\"c`d"] {
        let body = json!({"name": text, "runtime": "pi", "description": text, "metadata": {text: text}});
        let made = client.post("/api/v1/agent-runtime-profiles", body).send().await.data(201);
        assert_eq!(made["name"], text);
        assert_eq!(made["description"], text);
        assert_eq!(made["metadata"][text], text);
    }
    let listed = client.get("/api/v1/agent-runtime-profiles").send().await.data(200);
    assert_eq!(listed.as_array().unwrap().len(), 7);
    let filtered = client.get("/api/v1/agent-runtime-profiles?workspace_id=%27%20OR%201%3D1").send().await;
    assert_eq!(filtered.bad_fields(), ["workspace_id"]);
}
