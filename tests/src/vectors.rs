//! The conformance vectors of `tests/vectors`: how they are made, and how one is read. They are made
//! without the crates that they are held against, from the same bytes on every run.

mod build;
mod case;
mod cases;
mod document;
mod dsse;
mod forge;
mod keys;
mod model;
mod records;
mod seal;
mod update;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use case::{
    Age, Case, End, Floor, FloorRead, Held, Host, Kept, Records, Refuse, Restart, Standing, Step,
};
pub use case::{Numbers, Outcome, TrustHeld};
pub use keys::{AgreementKey, Keys, SignatureKey};

/// Every file of `tests/vectors` but its README, by its path below that folder.
///
/// # Panics
/// When two cases have one name, or the name of one does not tell whether something in it is refused.
#[must_use]
pub fn make() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::from([(PathBuf::from("keys.json"), pretty(&Keys::all()))]);
    for story in cases::all() {
        let folder = story.folder();
        for (name, bytes) in story.files() {
            let path = folder.join(name);
            assert!(!files.contains_key(&path), "two cases are called {}", folder.display());
            files.insert(path, bytes);
        }
    }
    files
}

/// Where they are checked in.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("JSON");
    text.push(b'\n');
    text
}
