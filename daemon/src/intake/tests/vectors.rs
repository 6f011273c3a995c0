//! The conformance vectors of `tests/vectors` against the whole intake: its disk, its floors and its
//! starts, on clocks moved by hand. How a case is laid out says the README there.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};

use super::*;

/// One case and the host that it happens to.
struct Run {
    folder: PathBuf,
    host: World,
    intake: Option<Intake>,
    differences: Vec<String>,
}

#[test]
fn every_conformance_vector_comes_to_what_it_states() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let keys = read_json(&folder.join("keys.json"));
    let (mut count, mut differences) = (0, Vec::new());
    for kind in folders_in(&folder) {
        for case in folders_in(&kind) {
            let name = case.strip_prefix(&folder).unwrap().display().to_string();
            let found = Run::of(case, &keys);
            differences.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
            count += 1;
        }
    }
    assert!(count > 500, "only {count} cases were found");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

impl Run {
    fn of(folder: PathBuf, keys: &Value) -> Vec<String> {
        let case = read_json(&folder.join("case.json"));
        let host = World::of_case(&case, keys);
        let mut run = Self { folder, host, intake: None, differences: Vec::new() };
        run.start();
        for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            if let Some(now) = step["now"].as_u64() {
                run.host.hands.step_wall_to(now);
            }
            if step["restart"].is_object() {
                run.restart(number, step);
            } else {
                run.offer(number, step);
            }
        }
        run.compare("end", &run.end(), &case["end"]);
        run.differences
    }

    fn start(&mut self) {
        drop(self.intake.take());
        self.intake = Some(self.host.start());
    }

    fn offer(&mut self, number: usize, step: &Value) {
        let is_update = step["update"].is_string();
        let file = if is_update { &step["update"] } else { &step["trust"] };
        let mut bytes = self.bytes(file);
        if let Some(length) = step["pad_to"].as_u64() {
            bytes.resize(usize::try_from(length).unwrap(), b' ');
        }
        let intake = self.intake.as_mut().unwrap();
        let taken = if is_update { intake.take_update(&bytes) } else { intake.take_trust(&bytes) };
        let found = match taken {
            // The first document is followed from the pin.
            Ok(Accepted { verdict: "follow" }) if step["accept"] == "pin" => "pin",
            Ok(Accepted { verdict }) => verdict,
            Err(refused) => refused.name(),
        };
        let stated = stated(step);
        self.compare(&format!("step {number}"), &json!(found), &json!(stated));
    }

    /// Puts the disk as the step has it, starts, and compares what was refused.
    fn restart(&mut self, number: usize, step: &Value) {
        let restart = &step["restart"];
        let kept: Vec<_> = restart["trust"].as_array().unwrap().iter().map(|file| self.bytes(file)).collect();
        for path in files_in(&self.host.state.trust()) {
            if !kept.contains(&fs::read(&path).unwrap()) {
                fs::remove_file(path).unwrap();
            }
        }
        files_in(&self.host.state.cache()).into_iter().for_each(|path| fs::remove_file(path).unwrap());
        let updates = restart["updates"].as_array().unwrap();
        for (place, update) in updates.iter().enumerate() {
            // In the order of the step: names are in the order in which files are read.
            let name = format!("update-0000000000000000-{place:016}.json");
            overwrite(&self.host.state.cache().join(name), &self.bytes(&update["update"]));
        }
        if restart["floor"] == "lost" {
            self.host.state.floors().iter().for_each(|copy| overwrite(copy, b"?"));
        }
        self.start();
        let facts = self.host.shared.ledger.facts();
        let found: BTreeSet<_> = facts.refused.into_keys().collect();
        let stated: BTreeSet<_> =
            updates.iter().chain([step]).filter(|step| step["refuse"].is_object()).map(stated).collect();
        self.compare(&format!("step {number}, refused"), &json!(found), &json!(stated));
        let is_served = self.host.shared.current.generation().is_some();
        self.compare(
            &format!("step {number}, served"),
            &json!(is_served),
            &json!(step["accept"] == "served"),
        );
    }

    /// As a case states it. Age is another test's, since it goes by the clock of the machine's boot; and
    /// of the times of the last update only their effects are seen here.
    fn end(&self) -> Value {
        let intake = self.intake.as_ref().unwrap();
        let generation = self.host.shared.current.generation();
        let trust = intake.trust();
        let standing = match &generation {
            None => "nothing",
            Some(generation) if generation.standing == Standing::Good => "good",
            Some(_) => "signer_revoked",
        };
        let held = intake.standing_held();
        let state = intake.standing_content();
        let floor = Floors::new(self.host.state.floors()).read().mark.map(|mark| mark.floor);
        json!({
            "trust": trust.map(|trust| json!({
                "version": trust.version(), "epoch": trust.epoch(), "digest": trust.digest(),
            })),
            "standing": standing,
            "held": held.map(|held| json!({
                "epoch": held.epoch, "version": held.version, "state": held.state, "last": held.last,
                "issued_at": held.times.issued_at, "expires_at": held.times.expires_at,
                "serve_until": held.times.serve_until,
            })),
            "floor": floor.map_or(json!("lost"), |floor| json!({
                "epoch": floor.epoch, "version": floor.version, "issued_at": floor.issued_at,
            })),
            "records": state.map(|content| records(&content.state)),
        })
    }

    fn bytes(&self, file: &Value) -> Vec<u8> {
        fs::read(self.folder.join(file.as_str().unwrap())).unwrap()
    }

    fn compare(&mut self, what: &str, found: &Value, stated: &Value) {
        let mut stated = stated.clone();
        if let Some(members) = stated.as_object_mut() {
            members.remove("age");
        }
        if *found != stated {
            self.differences.push(format!("{what}: {found} where it states {stated}"));
        }
    }
}

impl World {
    /// The host of a case, which has taken nothing yet.
    fn of_case(case: &Value, keys: &Value) -> Self {
        let mut world = Self::new();
        let key = &keys["x25519"][case["host"]["key"].as_str().unwrap()]["private"];
        let key = HEXLOWER.decode(key.as_str().unwrap().as_bytes()).unwrap();
        world.key = HostPrivateKey::from_bytes(&key).unwrap();
        world.file.host_id = case["host"]["id"].as_str().unwrap().parse().unwrap();
        world.file.trust = case["pin"].as_str().unwrap().parse().unwrap();
        files_in(&world.state.trust()).into_iter().for_each(|path| fs::remove_file(path).unwrap());
        world
    }
}

fn stated(step: &Value) -> &str {
    step["accept"].as_str().or(step["refuse"]["name"].as_str()).unwrap()
}

fn records(state: &State) -> Value {
    let records = state.records();
    let payload: Value =
        serde_json::from_slice(&miosa_injector::Change::full(records.clone()).encode()).unwrap();
    let env = payload["put"]["env"].as_array().unwrap().iter();
    let env: Map<String, Value> =
        env.map(|record| (record["id"].as_str().unwrap().to_owned(), record["value"].clone())).collect();
    json!({
        "env": env,
        "profiles": records.profiles.keys().collect::<Vec<_>>(),
        "resources": records.resources.keys().collect::<Vec<_>>(),
        "runs": records.runs.keys().collect::<Vec<_>>(),
    })
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    entries_of(folder).into_iter().filter(|path| path.is_dir()).collect()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    if folder.exists() {
        entries_of(folder).into_iter().filter(|path| path.is_file()).collect()
    } else {
        vec![]
    }
}

fn entries_of(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}
