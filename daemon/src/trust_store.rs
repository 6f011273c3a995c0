//! The trust documents on disk, one file a version, and the newest that is reached from the pinned
//! one. Which document may follow which is decided by `miosa-snapshot`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use miosa_snapshot::{Digest, MAX_TRUST_BYTES, Trust, TrustError};

use crate::disk::{self, DiskError, Entry};

/// The chain of trust of this host.
pub(crate) struct TrustStore {
    directory: PathBuf,
    pinned: Digest,
    trust: Option<Trust>,
    /// The documents of the chain so far.
    chain: BTreeSet<Digest>,
    /// A file of the chain could not be read, and none that follows it was looked at.
    unread: Option<BrokenLink>,
}

/// A file of the chain that can't be used.
#[derive(Debug)]
pub(crate) struct BrokenLink {
    /// The file.
    pub(crate) path: PathBuf,
    /// Why.
    pub(crate) reason: BrokenBy,
}

/// Why a file of the chain can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenBy {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the trust document is of version {0}, which has another file")]
    Misplaced(u64),
}

/// Why a trust document was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("cannot follow the trust document")]
    Trust(#[from] TrustError),
    #[error("cannot keep the trust document")]
    Disk(#[from] DiskError),
}

impl TrustStore {
    /// Reads the chain from its beginning, as far as it holds. What does not hold is returned; then
    /// everything after it is missing its predecessor and is returned as well. A file that can't be
    /// read may be good: it and all after it stay as they are.
    pub(crate) fn load(directory: PathBuf, pinned: Digest) -> Result<(Self, Vec<BrokenLink>), DiskError> {
        disk::make_private_directory(&directory)?;
        Self::look(directory, pinned)
    }

    /// The same without making the directory: nothing on disk is changed.
    pub(crate) fn look(directory: PathBuf, pinned: Digest) -> Result<(Self, Vec<BrokenLink>), DiskError> {
        let mut store = Self::empty(directory, pinned);
        let mut broken = Vec::new();
        for path in store.files()? {
            match store.follow_file(&path) {
                Ok(trust) => store.hold(trust),
                Err(BrokenBy::Disk(error)) if !error.is_of_what_is_there() => {
                    store.unread = Some(BrokenLink { path, reason: BrokenBy::Disk(error) });
                    break;
                }
                Err(reason) => broken.push(BrokenLink { path, reason }),
            }
        }
        Ok((store, broken))
    }

    /// A chain of which nothing is known yet.
    pub(crate) fn empty(directory: PathBuf, pinned: Digest) -> Self {
        Self { directory, pinned, trust: None, chain: BTreeSet::new(), unread: None }
    }

    /// The file at which reading the chain ended early, if it did and nothing was taken since.
    pub(crate) fn unread(&self) -> Option<&BrokenLink> {
        self.unread.as_ref()
    }

    /// The newest document of the chain, if there is one.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// The version of that document; 0 where there is none.
    pub(crate) fn version(&self) -> u64 {
        self.trust.as_ref().map_or(0, Trust::version)
    }

    /// Whether a document would be taken. None: it is no news.
    pub(crate) fn would_take(&self, bytes: &[u8]) -> Result<Option<Trust>, TrustError> {
        if self.chain.contains(&Digest::of(bytes)) {
            return Ok(None);
        }
        self.follow(bytes).map(Some)
    }

    /// The file of that document.
    pub(crate) fn newest_file(&self) -> Option<PathBuf> {
        self.trust.as_ref().map(|trust| self.place(trust.version()))
    }

    /// Takes the next document of the chain, durably. True: it is news; one that the chain went
    /// through before is none.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<bool, NotTaken> {
        if self.chain.contains(&Digest::of(bytes)) {
            return Ok(false);
        }
        let next = self.follow(bytes)?;
        disk::replace(&self.place(next.version()), bytes)?;
        self.hold(next);
        if self.unread.take().is_some() {
            self.follow_on();
        }
        Ok(true)
    }

    /// What was not looked at for want of its predecessor.
    fn follow_on(&mut self) {
        while let Some(version) = self.trust.as_ref().map(|trust| trust.version().saturating_add(1)) {
            let Ok(trust) = self.follow_file(&self.place(version)) else { return };
            self.hold(trust);
        }
    }

    fn hold(&mut self, trust: Trust) {
        self.chain.insert(trust.digest());
        self.trust = Some(trust);
    }

    fn follow(&self, bytes: &[u8]) -> Result<Trust, TrustError> {
        match &self.trust {
            Some(trust) => trust.advance(bytes),
            None => Trust::pin(bytes, &self.pinned),
        }
    }

    fn follow_file(&self, path: &Path) -> Result<Trust, BrokenBy> {
        let bytes = disk::read(path, MAX_TRUST_BYTES)?;
        let trust = self.follow(&bytes)?;
        // Elsewhere it would be read too late by the next start, after those that follow it.
        if path != self.place(trust.version()) {
            return Err(BrokenBy::Misplaced(trust.version()));
        }
        Ok(trust)
    }

    /// In the order of their versions.
    fn files(&self) -> Result<Vec<PathBuf>, DiskError> {
        let entries = disk::entries(&self.directory)?;
        let version = |entry: &Entry| entry.name.as_ref()?.strip_suffix(SUFFIX)?.parse::<u64>().ok();
        let mut versions: Vec<u64> = entries.iter().filter_map(version).collect();
        versions.retain(|version| entries.iter().any(|entry| entry.path == self.place(*version)));
        versions.sort_unstable();
        Ok(versions.into_iter().map(|version| self.place(version)).collect())
    }

    fn place(&self, version: u64) -> PathBuf {
        self.directory.join(format!("{version}{SUFFIX}"))
    }
}

impl BrokenBy {
    /// The stable word for programs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Disk(_) => "unreadable",
            Self::Trust(error) => error.name(),
            Self::Misplaced(_) => "misplaced_trust",
        }
    }
}

const SUFFIX: &str = ".json";

#[cfg(test)]
mod tests {
    use miosa_snapshot::{SigningKey, TrustDocument};

    use super::*;

    fn document(version: u64, root: &SigningKey) -> Vec<u8> {
        let roots = vec![root.public()];
        let document =
            TrustDocument { version, epoch: 1, threshold: 1, roots, signers: vec![], expires_at: 9 };
        document.sign(&[root]).unwrap()
    }

    fn store(directory: &tempfile::TempDir, pinned: &[u8]) -> (TrustStore, Vec<BrokenLink>) {
        TrustStore::load(directory.path().join("trust"), Digest::of(pinned)).unwrap()
    }

    #[test]
    fn the_chain_is_followed_from_the_pinned_document_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let root = SigningKey::generate().unwrap().0;
        let versions: Vec<_> = (1..=11).map(|version| document(version, &root)).collect();
        let (mut taken, _) = store(&directory, &versions[0]);
        for bytes in &versions {
            assert!(taken.take(bytes).unwrap());
        }
        assert!(!taken.take(&versions[10]).unwrap());
        assert!(!taken.take(&versions[2]).unwrap(), "one that was gone through is no news");
        let (loaded, broken) = store(&directory, &versions[0]);
        assert_eq!(loaded.trust().map(Trust::version), Some(11));
        assert!(broken.is_empty());
    }

    #[test]
    fn a_first_document_that_is_not_the_pinned_one_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let root = SigningKey::generate().unwrap().0;
        let (mut taken, _) = store(&directory, &document(1, &root));
        let other = document(1, &SigningKey::generate().unwrap().0);
        assert!(matches!(taken.take(&other), Err(NotTaken::Trust(TrustError::PinMismatch))));
        assert!(taken.trust().is_none());
    }

    #[test]
    fn a_document_in_the_file_of_another_version_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let root = SigningKey::generate().unwrap().0;
        let versions: Vec<_> = (1..=2).map(|version| document(version, &root)).collect();
        disk::make_private_directory(&directory.path().join("trust")).unwrap();
        disk::replace(&directory.path().join("trust/3.json"), &versions[0]).unwrap();
        let (mut mended, broken) = store(&directory, &versions[0]);
        assert_eq!(broken[0].reason.name(), "misplaced_trust");
        for bytes in &versions {
            assert!(mended.take(bytes).unwrap());
        }
        let (loaded, _) = store(&directory, &versions[0]);
        assert_eq!(loaded.trust().map(Trust::version), Some(2));
    }

    #[test]
    fn a_chain_with_a_damaged_link_holds_up_to_there() {
        let directory = tempfile::tempdir().unwrap();
        let root = SigningKey::generate().unwrap().0;
        let versions: Vec<_> = (1..=3).map(|version| document(version, &root)).collect();
        let (mut taken, _) = store(&directory, &versions[0]);
        for bytes in &versions {
            taken.take(bytes).unwrap();
        }
        disk::replace(&directory.path().join("trust/2.json"), b"{}").unwrap();
        let (loaded, broken) = store(&directory, &versions[0]);
        assert_eq!(loaded.trust().map(Trust::version), Some(1));
        let names: Vec<_> = broken.iter().map(|link| link.reason.name()).collect();
        assert_eq!(names, ["malformed_envelope", "trust_version_skipped"]);
    }

    #[test]
    fn a_document_that_cannot_be_read_is_no_broken_one_and_the_same_one_mends_the_chain() {
        let directory = tempfile::tempdir().unwrap();
        let root = SigningKey::generate().unwrap().0;
        let versions: Vec<_> = (1..=3).map(|version| document(version, &root)).collect();
        let (mut taken, _) = store(&directory, &versions[0]);
        for bytes in &versions {
            taken.take(bytes).unwrap();
        }
        let first = directory.path().join("trust/1.json");
        disk::faults::make_unreadable(Some(first.clone()));
        let (mut loaded, broken) = store(&directory, &versions[0]);
        assert!(loaded.trust().is_none() && broken.is_empty());
        assert_eq!(loaded.unread().map(|link| &link.path), Some(&first));
        assert!(loaded.take(&versions[0]).unwrap());
        assert_eq!(loaded.trust().map(Trust::version), Some(3));
        assert!(loaded.unread().is_none());
    }
}
