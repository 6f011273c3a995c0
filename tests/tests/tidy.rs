//! The shape of the workspace, held by a test: which crate may know which, what each may link, what
//! may not stand in the sources. docs/architecture.md names the rule that each test holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use miosa_tests::world::files_below;
use serde_json::Value;

#[test]
fn arrows_between_the_crates_point_one_way() {
    let allowed = BTreeMap::from([
        ("miosa-injector", vec![]),
        ("miosa-snapshot", vec![]),
        ("miosa-control", vec!["miosa-injector", "miosa-snapshot"]),
        ("miosad", vec!["miosa-injector", "miosa-snapshot"]),
        ("miosa-exec", vec!["miosa-injector"]),
    ]);
    let packages = packages();
    for (name, may_know) in allowed {
        let package = packages.iter().find(|package| package["name"] == name).expect(name);
        let knows: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].is_null() && dependency["path"].is_string())
            .map(|dependency| dependency["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(knows, may_know.into_iter().collect(), "{name}");
    }
}

#[test]
fn the_shim_links_no_runtime_no_tls_and_no_crypto() {
    let allowed = [
        "bitflags",
        "cfg-if",
        "httparse",
        "itoa",
        "lexopt",
        "libc",
        "memchr",
        "memoffset",
        "miosa-exec",
        "miosa-injector",
        "nix",
        "ryu",
        "serde",
        "serde_core",
        "serde_json",
        "shlex",
        "thiserror",
        "zeroize",
        "zmij",
    ];
    let linked = linked_into("miosa-exec");
    let surplus: Vec<&String> = linked.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    assert!(surplus.is_empty(), "the shim links {surplus:?}; a new one is a decision to write down here");
}

#[test]
fn the_pure_crates_link_no_runtime() {
    for package in ["miosa-injector", "miosa-snapshot"] {
        let linked = linked_into(package);
        for banned in ["tokio", "hyper", "mio", "notify", "rustls", "sqlx", "tracing"] {
            assert!(!linked.contains(banned), "{package} links {banned}");
        }
    }
}

#[test]
fn the_pure_crates_touch_no_clock_no_file_and_no_network() {
    let banned =
        ["std::fs", "std::net", "std::env", "SystemTime", "Instant::now", "std::process", "std::thread"];
    for folder in ["injector/src", "snapshot/src"] {
        for (path, text) in sources(folder) {
            for word in banned {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
        }
    }
}

#[test]
fn unsafe_code_stands_in_one_file_of_the_shim_at_most() {
    for folder in ["injector", "snapshot", "control", "daemon", "shim", "packaging"] {
        for (path, text) in sources(&format!("{folder}/src")) {
            let has = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
            });
            assert!(!has || path.ends_with("shim/src/sys.rs"), "{}", path.display());
        }
    }
}

#[test]
fn lints_are_relaxed_on_one_item_with_a_reason_only() {
    for folder in ["injector/src", "snapshot/src", "control/src", "daemon/src", "shim/src", "packaging/src"] {
        for (path, text) in sources(folder) {
            assert!(
                !text.contains("#![allow") && !text.contains("#[allow"),
                "{}: use #[expect(…, reason)]",
                path.display()
            );
        }
    }
}

#[test]
fn files_have_names_that_say_what_lives_there() {
    for folder in [
        "injector/src",
        "snapshot/src",
        "control/src",
        "daemon/src",
        "shim/src",
        "packaging/src",
        "tests/src",
    ] {
        for (path, text) in sources(folder) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let vague = ["utils", "util", "helpers", "helper", "common", "misc", "constants", "handy", "mod"];
            assert!(!vague.contains(&stem), "{}", path.display());
            assert!(text.starts_with("//! "), "{} does not open by saying what it owns", path.display());
        }
    }
}

/// Where plaintext leaves its type. A new place is a decision to write down here.
#[test]
fn secrets_are_exposed_in_known_places_only() {
    let known = [
        "control/src/api/profiles/input.rs",
        "control/src/publisher/build.rs",
        "control/src/store/env_json.rs",
        "control/src/store/variables.rs",
        "injector/src/answer.rs",
        "injector/src/launch.rs",
        "injector/src/model/name.rs",
        "injector/src/model/secret.rs",
        "injector/src/payload.rs",
        "injector/src/protocol/explanation.rs",
        "injector/src/resolve.rs",
        "shim/src/delivery.rs",
        "shim/src/delivery/files.rs",
        "shim/src/delivery/memory.rs",
        "shim/src/environment.rs",
        "shim/src/launch.rs",
        "shim/src/options/tests.rs",
    ];
    // Tokens have a type of their own, shown once to who asked for them.
    let tokens = [
        "control/src/api/host/enroll.rs",
        "control/src/commands/",
        "control/src/store/listen.rs",
        "control/src/token.rs",
    ];
    for folder in ["injector/src", "snapshot/src", "daemon/src", "control/src", "shim/src", "packaging/src"] {
        for (path, text) in sources(folder) {
            let relative =
                path.strip_prefix(root()).expect("below the root").to_str().expect("text").to_owned();
            assert!(
                !text.contains(".expose()")
                    || known.contains(&relative.as_str())
                    || tokens.iter().any(|token| relative.starts_with(token)),
                "{relative}"
            );
        }
    }
}

#[test]
fn every_event_is_in_the_list_with_its_level_and_fields() {
    let list = std::fs::read_to_string(root().join("docs/events.md")).expect("read the list");
    for (folder, heading) in [("daemon/src", "\n## miosad\n"), ("control/src", "\n## miosa-control\n")] {
        let section = list.split(heading).nth(1).and_then(|rest| rest.split("\n## ").next()).expect(heading);
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let listed: Vec<(Event, BTreeSet<String>)> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let fields = cells[3].split('`').skip(1).step_by(2).map(str::to_owned).collect();
                ((cells[1].trim_matches('`').to_owned(), cells[2].to_owned()), fields)
            })
            .collect();
        assert!(listed.is_sorted(), "{heading}: not in order");
        assert_eq!(listed.into_iter().collect::<BTreeMap<_, _>>(), events(folder), "{heading}");
    }
}

/// An event's name and level.
type Event = (String, String);

/// The events that the sources below a folder log, each with all its fields.
fn events(folder: &str) -> BTreeMap<Event, BTreeSet<String>> {
    let mut events: BTreeMap<Event, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources(folder) {
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for call in text.split("tracing::").skip(1) {
            let Some((level, arguments)) = call.split_once("!(") else { continue };
            if !["error", "warn", "info", "debug", "trace"].contains(&level) {
                continue;
            }
            let fields = fields(arguments);
            let name = fields.iter().find_map(|field| field.strip_prefix("event = "));
            let Some(name) = name else {
                assert!(folder != "daemon/src", "{}: an event without a name: {fields:?}", path.display());
                continue;
            };
            let names = fields.iter().map(|field| field.split(" = ").next().unwrap_or_default());
            let names = names.map(|name| name.trim_start_matches(['%', '?']).to_owned());
            let known = events.entry((name.trim_matches('"').to_owned(), level.to_owned())).or_default();
            known.extend(names.filter(|name| name != "event"));
        }
    }
    events
}

/// The fields of a call of a logging macro, up to its message.
fn fields(arguments: &str) -> Vec<String> {
    let (mut fields, mut field, mut depth) = (Vec::new(), String::new(), 0_u32);
    for character in arguments.chars() {
        match character {
            '"' if field.trim().is_empty() => return fields,
            ')' if depth == 0 => return fields,
            ',' if depth == 0 => fields.push(std::mem::take(&mut field).trim().to_owned()),
            _ => {
                depth = match character {
                    '(' => depth + 1,
                    ')' => depth - 1,
                    _ => depth,
                };
                field.push(character);
            }
        }
    }
    fields
}

#[test]
fn every_promise_is_held_by_tests_that_exist() {
    let promises = std::fs::read_to_string(root().join("docs/security.md")).expect("read the promises");
    let mut tests = BTreeSet::new();
    for folder in ["injector", "snapshot", "control", "daemon", "shim", "packaging", "tests"] {
        for (_, text) in sources(folder) {
            let names = text.lines().filter_map(|line| line.split_once("fn ")?.1.split('(').next());
            tests.extend(names.map(str::to_owned));
        }
    }
    let sections: Vec<&str> = promises.split("\n### P").skip(1).collect();
    let numbers: Vec<&str> = sections.iter().filter_map(|section| section.split(' ').next()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for section in sections {
        let (_, holders) = section.rsplit_once("Held by ").expect("what holds the promise");
        let holders: Vec<&str> = holders.split('`').skip(1).step_by(2).collect();
        assert!(!holders.is_empty(), "{section}");
        for test in holders {
            assert!(tests.contains(test), "docs/security.md names {test}, which is not there");
        }
    }
}

/// What stands at the path of a resource's socket may be a link to another socket, put there by a sandbox. Only
/// the shim connects there, from inside.
#[test]
fn no_program_of_ours_connects_to_the_socket_of_a_resource() {
    let may_connect = ["daemon/src/client.rs", "control/src/server.rs"];
    for folder in ["daemon/src", "control/src"] {
        for (path, text) in sources(folder) {
            let program = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let connects = ["UnixStream::connect", "UnixDatagram", "socket::connect"];
            let connects = connects.iter().any(|call| program.contains(call));
            assert!(!connects || may_connect.iter().any(|known| path.ends_with(known)), "{}", path.display());
            for line in program.lines().filter(|line| line.contains("Client::unix(")) {
                assert!(!line.contains("resource"), "{}: {line}", path.display());
            }
            let asks = program.contains("Client::unix(") || program.contains("ask(settings.runtime.");
            assert!(
                !asks || !program.contains(".resource_socket("),
                "{} connects and knows of them",
                path.display()
            );
        }
    }
}

fn packages() -> Vec<Value> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let metadata: Value = serde_json::from_str(&output).expect("cargo metadata");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The packages that end up in a program, procedural macros and build scripts left out.
fn linked_into(package: &str) -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        "--locked",
        "-p",
        package,
        "-e",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "-f",
        "{p}",
    ]);
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .filter(|name| !name.is_empty())
        .collect()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("run cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("read a source");
        (path, text)
    };
    files_below(&root().join(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(read)
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent").to_owned()
}
