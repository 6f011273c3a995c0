//! The trust documents on disk, one file a version, and the newest that is reached from the pinned
//! one. Which document may follow which is decided by `miosa-snapshot`.

use std::path::{Path, PathBuf};

use miosa_snapshot::{Digest, MAX_TRUST_BYTES, Trust, TrustError};

use crate::disk::{self, DiskError};

/// The chain of trust of this host.
pub(crate) struct TrustStore {
    directory: PathBuf,
    pinned: Digest,
    trust: Option<Trust>,
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
    /// everything after it is missing its predecessor and is returned as well.
    pub(crate) fn load(directory: PathBuf, pinned: Digest) -> Result<(Self, Vec<BrokenLink>), DiskError> {
        disk::make_private_directory(&directory)?;
        let mut store = Self { directory, pinned, trust: None };
        let mut broken = Vec::new();
        for path in store.files()? {
            match store.follow_file(&path) {
                Ok(trust) => store.trust = Some(trust),
                Err(reason) => broken.push(BrokenLink { path, reason }),
            }
        }
        Ok((store, broken))
    }

    /// The newest document of the chain, if there is one.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Takes the next document of the chain, durably. True: it is news.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<bool, NotTaken> {
        let next = self.follow(bytes)?;
        if self.trust.as_ref().is_some_and(|held| held.digest() == next.digest()) {
            return Ok(false);
        }
        disk::replace(&self.place(next.version()), bytes)?;
        self.trust = Some(next);
        Ok(true)
    }

    fn follow(&self, bytes: &[u8]) -> Result<Trust, TrustError> {
        match &self.trust {
            Some(trust) => trust.advance(bytes),
            None => Trust::pin(bytes, &self.pinned),
        }
    }

    fn follow_file(&self, path: &Path) -> Result<Trust, BrokenBy> {
        let bytes = disk::read(path, MAX_TRUST_BYTES)?;
        Ok(self.follow(&bytes)?)
    }

    /// In the order of their versions.
    fn files(&self) -> Result<Vec<PathBuf>, DiskError> {
        let names = disk::files(&self.directory)?;
        let version = |name: &String| name.strip_suffix(SUFFIX)?.parse::<u64>().ok();
        let mut versions: Vec<u64> = names.iter().filter_map(version).collect();
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
}
