//! Keys: who gets in, who may do what, and who sees what.

use serde_json::json;

use super::open;

#[tokio::test]
async fn without_a_good_key_everything_is_401_and_looks_the_same() {
    let Some(control) = open().await else { return };
    let mut client = control.stranger();
    let bare = client.get("/api/v1/runtime-env").send().await;
    assert_eq!(bare.error(401), "UNAUTHORIZED");
    assert_eq!(bare.header("www-authenticate"), Some("Bearer"));
    let unknown = format!("msk_live_{}", "A".repeat(43));
    for key in [unknown.as_str(), "msk_live_short", "nonsense", "mht_x", ""] {
        client.key = Some(key.to_owned());
        for path in ["/api/v1/runtime-env", "/api/v1/agent-runtime-profiles/arp_1"] {
            let refused = client.get(path).send().await;
            assert_eq!(refused.error(401), "UNAUTHORIZED", "{key}");
            assert_eq!(refused.text, bare.text);
        }
    }
}

#[tokio::test]
async fn the_key_is_looked_at_before_anything_else() {
    let Some(control) = open().await else { return };
    let stranger = control.stranger();
    let refused = stranger.call("POST", "/api/v1/runtime-env?x=y").raw("text/plain", b"{".to_vec());
    assert_eq!(refused.send().await.error(401), "UNAUTHORIZED");
}

#[tokio::test]
async fn two_authorization_headers_are_none() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let twice = client.get("/api/v1/runtime-env").header("authorization", "Bearer other");
    assert_eq!(twice.send().await.error(401), "UNAUTHORIZED");
}

#[tokio::test]
async fn a_read_key_may_look_and_not_change() {
    let Some(control) = open().await else { return };
    let writer = control.tenant("t1");
    let reader = control.client(&control.run(&["key", "create", "--tenant", "t1", "--role", "read"]));
    let body = json!({"scope": "tenant", "name": "A", "value": "1"});
    let id = writer.post("/api/v1/runtime-env", body.clone()).send().await.data(201)["id"].clone();
    let path = format!("/api/v1/runtime-env/{}", id.as_str().unwrap());
    assert_eq!(reader.get(&path).send().await.data(200)["id"], id);
    assert_eq!(reader.get("/api/v1/runtime-env").send().await.data(200)[0]["id"], id);
    assert_eq!(reader.post("/api/v1/runtime-env", body).send().await.error(403), "FORBIDDEN");
    assert_eq!(reader.patch(&path, json!({"enabled": false})).send().await.error(403), "FORBIDDEN");
    assert_eq!(reader.delete(&path).send().await.error(403), "FORBIDDEN");
    let profile = json!({"name": "p", "runtime": "pi"});
    assert_eq!(reader.post("/api/v1/agent-runtime-profiles", profile).send().await.error(403), "FORBIDDEN");
}

#[tokio::test]
async fn who_may_not_write_is_told_so_whatever_was_sent() {
    let Some(control) = open().await else { return };
    let reader = control.client(&control.run(&["key", "create", "--tenant", "t1", "--role", "read"]));
    let id = format!("env_{}", "a".repeat(20));
    for base in ["/api/v1/runtime-env", "/api/v1/agent-runtime-profiles"] {
        for (method, path) in [
            ("POST", format!("{base}?nope=%ff")),
            ("PUT", format!("{base}/{id}")),
            ("PATCH", format!("{base}/-")),
        ] {
            for (content_type, body) in [("application/json", b"{".to_vec()), ("text/plain", Vec::new())] {
                let answer = reader.call(method, &path).raw(content_type, body).send().await;
                assert_eq!(answer.error(403), "FORBIDDEN", "{method} {path}");
            }
        }
        assert_eq!(reader.delete(&format!("{base}/-")).send().await.error(403), "FORBIDDEN");
    }
}

#[tokio::test]
async fn a_platform_key_is_not_a_tenants() {
    let Some(control) = open().await else { return };
    let platform = control.client(&control.run(&["key", "create", "--role", "platform"]));
    assert_eq!(platform.get("/api/v1/runtime-env").send().await.error(403), "FORBIDDEN");
}

#[tokio::test]
async fn the_tenant_header_must_match_the_key() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let call = |tenant| client.get("/api/v1/runtime-env").header("x-miosa-tenant", tenant);
    assert_eq!(call("t1").send().await.data(200), json!([]));
    assert_eq!(call("t2").send().await.error(403), "FORBIDDEN");
    assert_eq!(call("").send().await.error(403), "FORBIDDEN");
    assert_eq!(call("t1").header("x-miosa-tenant", "t2").send().await.error(403), "FORBIDDEN");
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_a_second() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    client.get("/api/v1/runtime-env").send().await.data(200);
    let list = control.run(&["key", "list"]);
    let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert_eq!(control.run(&["key", "revoke", &id]), id);
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    assert_eq!(client.get("/api/v1/runtime-env").send().await.error(401), "UNAUTHORIZED");
    assert!(!control.output(&["key", "revoke", &id]).status.success());
    assert!(control.run(&["key", "list"]).lines().nth(1).unwrap().ends_with('Z'));
}

#[tokio::test]
async fn another_tenants_records_are_as_if_they_did_not_exist() {
    let Some(control) = open().await else { return };
    let (ours, theirs) = (control.tenant("t1"), control.tenant("t2"));
    let variable = json!({"scope": "tenant", "name": "A", "value": "1"});
    let variable = ours.post("/api/v1/runtime-env", variable).send().await.data(201);
    let profile = json!({"name": "p", "runtime": "pi", "is_default": true});
    let profile = ours.post("/api/v1/agent-runtime-profiles", profile).send().await.data(201);
    for (base, record, change) in [
        ("/api/v1/runtime-env", &variable, json!({"enabled": false})),
        ("/api/v1/agent-runtime-profiles", &profile, json!({"name": "q"})),
    ] {
        let id = record["id"].as_str().unwrap();
        let unknown = format!("{}{}", &id[..4], "a".repeat(20));
        let (path, unknown) = (format!("{base}/{id}"), format!("{base}/{unknown}"));
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let call = |path| match method {
                "GET" | "DELETE" => theirs.call(method, path),
                _ => theirs.call(method, path).json(&change),
            };
            let (foreign, unknown) = (call(&path).send().await, call(&unknown).send().await);
            assert_eq!(foreign.error(404), "NOT_FOUND", "{method} {path}");
            assert_eq!(foreign.text, unknown.text);
            let headers = |answer: &crate::client::Answer| {
                let mut headers = answer.headers.clone();
                headers.remove("x-request-id");
                headers.remove("date");
                headers
            };
            assert_eq!(headers(&foreign), headers(&unknown));
        }
        assert_eq!(theirs.get(base).send().await.data(200), json!([]));
        assert_eq!(ours.get(&path).send().await.data(200), *record);
    }
    // Their own record of the same identity is another record.
    let again = json!({"scope": "tenant", "name": "A", "value": "2"});
    let again = theirs.post("/api/v1/runtime-env", again).send().await.data(201);
    assert_ne!(again["id"], variable["id"]);
    let again = json!({"name": "p", "runtime": "pi", "is_default": true});
    theirs.post("/api/v1/agent-runtime-profiles", again).send().await.data(201);
    let path = format!("/api/v1/agent-runtime-profiles/{}", profile["id"].as_str().unwrap());
    assert_eq!(ours.get(&path).send().await.data(200)["is_default"], json!(true));
}
