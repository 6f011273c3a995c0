//! Proof of equivocation: envelopes that contradict each other, each properly signed, kept byte for
//! byte for whoever has to find out how that could be. Nothing here is ever read back or served.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use miosa_snapshot::{Digest, MAX_ENVELOPE_BYTES};

use crate::disk::{self, DiskError};

/// The directory of what was kept.
pub(crate) struct Evidence(PathBuf);

impl Evidence {
    /// In this directory, which is made when there is something to keep.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Keeps an envelope that was refused and the held one that it contradicts, durably; where the held
    /// one can't be read, the other alone. What is there is never removed: once it is full, nothing is
    /// added, so that the first proof is still there when somebody looks.
    pub(crate) fn keep(&self, what: &str, refused: &[u8], held: Option<&Path>) -> Result<(), DiskError> {
        let held = held.and_then(|path| disk::read(path, MAX_ENVELOPE_BYTES).ok());
        let refused_name = name(what, "refused", refused);
        let known: BTreeSet<_> = self.files().into_iter().collect();
        let held_name = held.as_ref().map(|bytes| name(what, "held", bytes));
        if known.contains(&refused_name) || known.len().saturating_add(2) > MAX_FILES {
            return Ok(());
        }
        disk::make_private_directory(&self.0)?;
        if let (Some(bytes), Some(name)) = (&held, &held_name)
            && !known.contains(name)
        {
            disk::replace(&self.0.join(name), bytes)?;
        }
        // Last: with it, the pair is whole.
        disk::replace(&self.0.join(refused_name), refused)
    }

    /// Whether it was kept when it was refused before.
    pub(crate) fn has(&self, what: &str, refused: &[u8]) -> bool {
        self.0.join(name(what, "refused", refused)).exists()
    }

    /// The names of what is kept.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = disk::entries(&self.0).unwrap_or_default();
        let names = entries.into_iter().filter_map(|entry| entry.name);
        names.filter(|name| !name.starts_with(disk::TEMPORARY_PREFIX)).collect()
    }
}

/// The digest is what `sha256sum` prints for the file.
fn name(what: &str, which: &str, bytes: &[u8]) -> String {
    format!("{what}-{which}-{}.json", Digest::of(bytes))
}

/// Enough to prove it several times over; of the largest envelopes, 256 MiB.
const MAX_FILES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_kept_once_and_the_first_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let evidence = Evidence::new(directory.path().join("evidence"));
        assert!(evidence.files().is_empty());
        let held = directory.path().join("held");
        disk::replace(&held, b"held").unwrap();
        for _again in 0..2 {
            evidence.keep("update", b"other", Some(&held)).unwrap();
            let names = [name("update", "held", b"held"), name("update", "refused", b"other")];
            assert_eq!(evidence.files(), names);
        }
        for other in 0..100_u8 {
            evidence.keep("update", &[other], Some(&held)).unwrap();
        }
        assert!(evidence.files().len() <= MAX_FILES);
        assert!(evidence.files().contains(&name("update", "refused", b"other")));
    }

    #[test]
    fn the_refused_side_is_kept_alone_where_the_held_one_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let evidence = Evidence::new(directory.path().join("evidence"));
        assert!(!evidence.has("update", b"other"));
        evidence.keep("update", b"other", Some(&directory.path().join("gone"))).unwrap();
        assert_eq!(evidence.files(), [name("update", "refused", b"other")]);
        assert!(evidence.has("update", b"other") && !evidence.has("trust", b"other"));
    }

    #[test]
    fn what_cannot_be_kept_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let evidence = Evidence::new(directory.path().join("no/such/evidence"));
        assert!(evidence.keep("update", b"other", None).is_err());
    }
}
