//! The payload of an update: any bytes, read as a change; and all that a host then resolves from it.

use std::collections::BTreeSet;

use super::scan;
use crate::model::{EnvName, MAX_ENTRY_BYTES, ResourceId};
use crate::{Change, MAX_ENV_BYTES, Moving, State, json, resolve};

/// What is read is written in one form only; no member stands twice in it; and every resource of a state
/// that it makes is resolved or refused, within the limits of the system that it starts on.
pub fn run(data: &[u8]) {
    let Ok(change) = Change::decode(data) else { return };
    let scan = scan::document(data).expect("a payload is JSON");
    assert!(!scan.repeated, "a member stands twice");

    let written = change.encode();
    let again = Change::decode(&written).expect("what was written can be read");
    assert_eq!(again, change);
    assert_eq!(*again.encode(), *written);

    let mut emptied = change.clone();
    emptied.delete = crate::Deleted::default();
    let Ok(state) = State::from_full(emptied) else { return };
    let applied = state.apply(change.clone()).and_then(|after| {
        // Twice the same change is once that change.
        assert_eq!(after.apply(change)?, after);
        Ok(after)
    });
    for state in [Ok(state), applied].into_iter().flatten() {
        state.records().resources.keys().for_each(|id| check_resource(&state, id));
    }
}

fn check_resource(state: &State, id: &ResourceId) {
    let runs = state.runs_on(id).map(Some).chain([None]);
    for run in runs {
        let Ok(resolution) = resolve(state, id, run) else { continue };
        let moving = Moving { snapshot_version: 1, stale: false, age_seconds: 0 };
        let body = resolution.answer().body(moving);
        let answer = json::parse(&body).expect("an answer is strict JSON");
        let explained = serde_json::to_value(resolution.explain(1)).expect("JSON");

        let env = answer.get("env").and_then(|env| env.as_object()).expect("an answer has an env");
        let size = env.iter().map(|(name, value)| entry_bytes(name, value)).sum::<usize>();
        // The variable that moves joins where the answer is written.
        assert!(size <= MAX_ENV_BYTES + 64, "{size}");
        let named = explained.get("variables").and_then(|list| list.as_array()).expect("variables");
        let named: BTreeSet<_> = named.iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
        assert_eq!(named, env.keys().map(String::as_str).collect());
        let delivery = answer.get("delivery").and_then(|delivery| delivery.as_object()).expect("a delivery");
        for (name, word) in delivery {
            assert!(env.contains_key(name) && matches!(word.as_str(), Some("file" | "fd")), "{name}: {word}");
            assert!(!EnvName::parse(name).expect("a name").is_env_only(), "{name}");
        }
    }
}

fn entry_bytes(name: &str, value: &serde_json::Value) -> usize {
    let value = value.as_str().expect("a value is text");
    assert!(!value.contains('\0') && !name.contains(['\0', '=']) && !name.is_empty());
    let bytes = name.len() + 1 + value.len();
    assert!(bytes <= MAX_ENTRY_BYTES, "{name}");
    bytes + 1
}
