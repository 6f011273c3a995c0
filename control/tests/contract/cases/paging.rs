//! Pages of lists.

use serde_json::{Value, json};

use super::open;

#[tokio::test]
async fn pages_together_are_the_whole_list() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for n in 0..23 {
        let body = json!({"scope": "tenant", "name": format!("V{n}"), "value": "x"});
        client.post("/api/v1/runtime-env", body).send().await.data(201);
        let body = json!({"name": format!("p{n}"), "runtime": "pi"});
        client.post("/api/v1/agent-runtime-profiles", body).send().await.data(201);
    }
    for base in ["/api/v1/runtime-env", "/api/v1/agent-runtime-profiles"] {
        let whole = client.get(base).send().await.json();
        assert_eq!(whole.get("next_cursor"), None);
        for limit in [1, 5, 22, 23, 24, 1000] {
            let mut pages: Vec<Value> = Vec::new();
            let mut query = format!("{base}?limit={limit}");
            loop {
                let page = client.get(&query).send().await.json();
                let rows = page["data"].as_array().unwrap();
                assert!(rows.len() <= limit);
                pages.extend(rows.iter().cloned());
                match page["next_cursor"].as_str() {
                    Some(cursor) => query = format!("{base}?limit={limit}&cursor={cursor}"),
                    None => break,
                }
            }
            assert_eq!(Value::Array(pages), whole["data"], "{limit}");
        }
    }
}

#[tokio::test]
async fn a_row_that_goes_away_skips_no_other() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    let mut ids = Vec::new();
    for n in 0..6 {
        let body = json!({"scope": "tenant", "name": format!("V{n}"), "value": "x"});
        let made = client.post("/api/v1/runtime-env", body).send().await.data(201);
        ids.push(made["id"].as_str().unwrap().to_owned());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let first = client.get("/api/v1/runtime-env?limit=3").send().await.json();
    for gone in [0, 2] {
        client.delete(&format!("/api/v1/runtime-env/{}", ids[gone])).send().await;
    }
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = client.get(&format!("/api/v1/runtime-env?cursor={cursor}")).send().await.json();
    let rest: Vec<_> =
        rest["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(rest, ids[3..]);
}

#[tokio::test]
async fn limits_and_cursors_are_checked() {
    let Some(control) = open().await else { return };
    let client = control.tenant("t1");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("cursor=%00", "cursor"),
        ("cursor=abc", "cursor"),
        ("offset=3", "offset"),
    ] {
        let refused = client.get(&format!("/api/v1/runtime-env?{query}")).send().await;
        assert_eq!(refused.bad_fields(), [field], "{query}");
    }
}
