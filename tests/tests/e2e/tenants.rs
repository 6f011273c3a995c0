//! A tenant's key opens that tenant's records and nothing else.

use miosa_tests::{Answer, World};
use serde_json::{Value, json};

#[test]
fn another_tenants_record_is_exactly_like_an_unknown_one() {
    let world = World::start();
    let (acme, rival) = (world.tenant("acme"), world.tenant("rival"));
    let variable = rival.set("TOKEN", "secret", json!({}));
    let profile = rival.profile(json!({"name": "p", "runtime": "osa"}));
    let routes = [
        ("runtime-env", variable, "env_00000000000000000000"),
        ("agent-runtime-profiles", profile, "arp_00000000000000000000"),
    ];
    for (path, foreign, unknown) in routes {
        for (method, body) in [
            ("GET", Value::Null),
            ("PUT", json!({"metadata": {}})),
            ("PATCH", json!({"metadata": {}})),
            ("DELETE", Value::Null),
        ] {
            let one = acme.call(method, &format!("{path}/{foreign}"), body.clone());
            let other = acme.call(method, &format!("{path}/{unknown}"), body.clone());
            assert_eq!(
                one.status,
                if method == "PATCH" && path == "agent-runtime-profiles" { one.status } else { 404 }
            );
            assert_eq!(
                (one.status, without_id(&one, &foreign)),
                (other.status, without_id(&other, unknown)),
                "{method} {path}"
            );
        }
    }
    assert_eq!(acme.call("GET", "runtime-env", Value::Null).json()["data"], json!([]));
}

#[test]
fn a_wrong_missing_or_misplaced_key_is_refused() {
    let world = World::start();
    let tenant = world.tenant("acme");
    let ask = |target: &str, key: Option<&str>| {
        let authorization = key.map(|key| format!("Bearer {key}"));
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        world.endpoint().request("GET", target, &headers, b"").unwrap().status
    };
    let wrong = format!("msk_live_{}", "A".repeat(43));
    assert_eq!(ask("/api/v1/runtime-env", None), 401);
    assert_eq!(ask("/api/v1/runtime-env", Some(&wrong)), 401);
    assert_eq!(ask("/api/v1/runtime-env", Some("nonsense")), 401);
    assert_eq!(ask("/api/v1/runtime-env", Some(&tenant.key)), 200);
    assert!(matches!(ask("/platform/v1/hosts", Some(&tenant.key)), 401 | 403));
    assert!(matches!(ask("/host/v1/updates", Some(&tenant.key)), 401 | 403));
}

#[test]
fn a_resource_id_that_would_leave_its_folder_is_refused() {
    let world = World::start();
    let (tenant, host) = (world.tenant("acme"), world.host("h1"));
    for id in ["../x", "a/b", ".", "", "UPPER", "a\u{0}b", &"x".repeat(65)] {
        let body = json!({"id": id, "tenant_id": tenant.id, "host_id": host.id, "kind": "sandbox"});
        let refused = world.platform("POST", "resources", body);
        assert_eq!(refused.status, 422, "{id:?}: {}", refused.json());
    }
}

fn without_id(answer: &Answer, id: &str) -> String {
    let mut body = answer.json();
    if let Some(object) = body.as_object_mut() {
        object.remove("request_id");
    }
    body.to_string().replace(id, "ID")
}
