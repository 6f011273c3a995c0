//! What enrollment leaves behind: who this host is, its private key, and what the link needs. Files
//! in, checked values out; how they come to be is in `enroll`.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use hyper::header::HeaderValue;
use miosa_snapshot::{Digest, HostId, HostIdentity, HostKeyError, HostPrivateKey, HostPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::disk::{self, DiskError};
use crate::layout::StateDir;

/// `host.json`: who this host is. It has a checksum: with a damaged id or digest, all that was kept
/// would look as if it were for another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostFile {
    /// The id that updates for it carry.
    pub(crate) host_id: HostId,
    /// What people call it.
    pub(crate) name: String,
    /// The digest of the first trust document.
    pub(crate) trust: Digest,
    /// Its public key, by which a damaged private one is told from the right one.
    pub(crate) key: HostPublicKey,
}

/// `link.json`: where the control plane is and how to speak to it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkFile {
    /// Its URL.
    pub(crate) control: String,
    /// The certificates to trust for it (PEM); the system's when absent.
    pub(crate) ca: Option<String>,
    /// What this host is known by there.
    pub(crate) token: HostToken,
}

/// The secret that this host is known by at the control plane. Not printable, wiped on drop.
#[derive(Deserialize)]
#[serde(from = "String")]
pub(crate) struct HostToken(Zeroizing<String>);

/// Where the host's private key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// With the service manager, which may keep it encrypted.
    Credential,
    /// In the state directory.
    File,
}

/// Why a file of the enrollment can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It was never enrolled, or was unenrolled.
    #[error("this host is not enrolled in {0}; run `miosad enroll`")]
    NotEnrolled(PathBuf),
    /// There is no control plane to link to.
    #[error(
        "this host was enrolled without a control plane, so there is nothing to link to; hand it updates with `miosad push`"
    )]
    NoLink,
    /// The file can't be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is not of its form. What is in it may be secret, so it is not quoted.
    #[error("cannot use {0}: it is damaged; run `miosad unenroll` and enroll again")]
    Damaged(PathBuf),
    /// The private key was lost.
    #[error(
        "cannot find the host's key {0}, nor a credential `{HOST_KEY}`: run `miosad unenroll` and enroll again with a token of `miosa-control host rejoin`"
    )]
    NoKey(PathBuf),
    /// What the service manager handed over under this name. It is secret, so it is not quoted.
    #[error("cannot use the credential `{name}`: {problem}")]
    Credential {
        /// Its name.
        name: &'static str,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// It is a private key, and not the one of this host.
    #[error(
        "cannot use {0}: it is not the key that this host was enrolled with; put that one back, or run `miosad unenroll` and enroll again with a token of `miosa-control host rejoin`"
    )]
    OtherKey(PathBuf),
    /// Others may read or change the private key.
    #[error(
        "cannot use {path}: its mode is {mode:03o} and others may read or change it; if nobody did, set it to 600, else enroll again"
    )]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl HostFile {
    pub(crate) fn load(state: &StateDir) -> Result<Self, HostError> {
        let path = state.host();
        let wire: HostWire = match read_json(&path) {
            Err(HostError::Disk(error)) if error.is_missing() => {
                return Err(HostError::NotEnrolled(state.path().to_owned()));
            }
            read => read?,
        };
        wire.checked().ok_or(HostError::Damaged(path))
    }

    pub(crate) fn store(&self, state: &StateDir) -> Result<(), DiskError> {
        write_json(&state.host(), &HostWire::of(self))
    }

    /// This host with its private key, if that is the one it was enrolled with; and where that was. A
    /// credential wins over the file: where it is wrong, the file is not tried.
    pub(crate) fn identity(
        &self,
        state: &StateDir,
        credentials: &Credentials,
    ) -> Result<(HostIdentity, KeySource), HostError> {
        let (key, source) = match credentials.find(HOST_KEY) {
            Some(path) => (key_from_credential(&path)?, KeySource::Credential),
            None => (load_key(state)?, KeySource::File),
        };
        if key.public() != self.key {
            return Err(match source {
                KeySource::Credential => HostError::Credential { name: HOST_KEY, problem: NOT_THE_HOSTS_KEY },
                KeySource::File => HostError::OtherKey(state.host_key()),
            });
        }
        Ok((HostIdentity { id: self.host_id.clone(), key }, source))
    }
}

impl KeySource {
    /// The stable word for programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::File => "file",
        }
    }
}

impl LinkFile {
    /// From the credential if there is one, else from the state directory, which the link need not be
    /// able to read then.
    pub(crate) fn find(state: &StateDir, credentials: &Credentials) -> Result<Self, HostError> {
        let Some(path) = credentials.find(LINK) else { return Self::load(state) };
        let bytes = disk::read(&path, MAX_JSON_BYTES)?;
        let link = serde_json::from_slice(&bytes).ok();
        link.ok_or(HostError::Credential { name: LINK, problem: NO_LINK_FILE })
    }

    pub(crate) fn load(state: &StateDir) -> Result<Self, HostError> {
        match read_json(&state.link()) {
            Err(HostError::Disk(error)) if error.is_missing() => {
                // Which of the two it is shows in a file that `link` may not be allowed to read.
                let enrolled = fs::exists(state.host()).unwrap_or(false);
                Err(if enrolled {
                    HostError::NoLink
                } else {
                    HostError::NotEnrolled(state.path().to_owned())
                })
            }
            loaded => loaded,
        }
    }

    pub(crate) fn store(&self, state: &StateDir) -> Result<(), DiskError> {
        write_json(&state.link(), self)
    }
}

impl HostToken {
    /// The one form in which the token is shown to anybody: a header that is never logged.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let bearer = Zeroizing::new(format!("Bearer {}", *self.0));
        // A token that no header can hold is none of the control plane's, which will say so.
        let mut header = HeaderValue::from_str(&bearer).unwrap_or(HeaderValue::from_static("Bearer"));
        header.set_sensitive(true);
        header
    }
}

impl From<String> for HostToken {
    fn from(token: String) -> Self {
        Self(Zeroizing::new(token))
    }
}

impl Serialize for HostToken {
    /// Into `link.json`, and nowhere else.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// `host.json` as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostWire {
    host_id: HostId,
    name: String,
    trust: Digest,
    /// The public key in base64.
    key: String,
    check: Digest,
}

impl HostWire {
    fn of(host: &HostFile) -> Self {
        let HostFile { host_id, name, trust, key } = host.clone();
        let key = BASE64.encode(key.as_bytes());
        let check = Self::sum(&host_id, &name, &trust, &key);
        Self { host_id, name, trust, key, check }
    }

    fn checked(self) -> Option<HostFile> {
        let Self { host_id, name, trust, key, check } = self;
        if check != Self::sum(&host_id, &name, &trust, &key) {
            return None;
        }
        let key = HostPublicKey::from_bytes(&BASE64.decode(key.as_bytes()).ok()?).ok()?;
        Some(HostFile { host_id, name, trust, key })
    }

    fn sum(host_id: &HostId, name: &str, trust: &Digest, key: &str) -> Digest {
        Digest::of(format!("{host_id}\n{name}\n{trust}\n{key}\n").as_bytes())
    }
}

/// A host's private key: 32 bytes as one line of base64. Whether it is the right host's is told by
/// [`HostFile::identity`].
pub(crate) fn load_key(state: &StateDir) -> Result<HostPrivateKey, HostError> {
    let path = state.host_key();
    let (text, mode) = match disk::read_with_mode(&path, MAX_KEY_BYTES) {
        Err(error) if error.is_missing() => return Err(HostError::NoKey(path)),
        read => read?,
    };
    if mode & ALL_BUT_OWNER != 0 {
        return Err(HostError::Exposed { path, mode });
    }
    decode_key(&text).ok_or(HostError::Damaged(path))
}

/// Keeps the host's private key.
pub(crate) fn store_key(state: &StateDir, key: &HostPrivateKey) -> Result<(), DiskError> {
    let mut text = Zeroizing::new(BASE64.encode(key.to_bytes().as_slice()));
    text.push('\n');
    disk::replace(&state.host_key(), text.as_bytes())
}

/// Its mode is the service manager's matter, whose access lists make it look wider than it is.
fn key_from_credential(path: &Path) -> Result<HostPrivateKey, HostError> {
    let text = disk::read(path, MAX_KEY_BYTES)?;
    decode_key(&text).ok_or(HostError::Credential { name: HOST_KEY, problem: NO_KEY })
}

fn decode_key(text: &[u8]) -> Option<HostPrivateKey> {
    let bytes = Zeroizing::new(BASE64.decode(text.trim_ascii()).ok()?);
    let key: Result<_, HostKeyError> = HostPrivateKey::from_bytes(&bytes);
    key.ok()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, HostError> {
    let bytes = disk::read(path, MAX_JSON_BYTES)?;
    serde_json::from_slice(&bytes).ok().ok_or_else(|| HostError::Damaged(path.to_owned()))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), DiskError> {
    // None of these types has a map, so they are always JSON.
    let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(value).unwrap_or_default());
    bytes.push(b'\n');
    disk::replace(path, &bytes)
}

/// The credential with what `STATE/host.key` would hold.
pub(crate) const HOST_KEY: &str = "miosad.host-key";
/// The credential with what `STATE/link.json` would hold.
const LINK: &str = "link.json";

const NO_KEY: &str = "it is not a host's key; encrypt STATE/host.key anew";
const NOT_THE_HOSTS_KEY: &str = "it is not the key that this host was enrolled with; encrypt that one, or \
                                 remove the credential and put STATE/host.key back";
const NO_LINK_FILE: &str = "it is not what enrolling wrote to STATE/link.json";

const ALL_BUT_OWNER: u32 = 0o077;
const MAX_KEY_BYTES: usize = 1024;
/// Holds a bundle of certificates.
const MAX_JSON_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn state(directory: &tempfile::TempDir) -> StateDir {
        StateDir::new(directory.path().to_owned())
    }

    fn of(key: &HostPrivateKey) -> HostFile {
        let (host_id, name) = ("host_1".parse().unwrap(), "Rack 7".to_owned());
        HostFile { host_id, name, trust: Digest::of(b"trust"), key: key.public() }
    }

    #[test]
    fn the_key_that_is_stored_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let key = HostPrivateKey::generate().unwrap();
        store_key(&state(&directory), &key).unwrap();
        let (identity, source) = of(&key).identity(&state(&directory), &Credentials::default()).unwrap();
        assert!(identity.key.public() == key.public());
        assert_eq!(source, KeySource::File);
    }

    #[test]
    fn another_key_is_not_taken_for_the_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory);
        store_key(&state, &HostPrivateKey::generate().unwrap()).unwrap();
        let host = of(&HostPrivateKey::generate().unwrap());
        let error = host.identity(&state, &Credentials::default()).err().unwrap().to_string();
        assert!(error.contains("is not the key that this host was enrolled with"), "{error}");
    }

    #[test]
    fn a_credential_wins_over_the_file_and_a_wrong_one_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let [state, handed_over] = ["state", "handed-over"].map(|name| directory.path().join(name));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&handed_over).unwrap();
        let (state, credentials) = (StateDir::new(state), Credentials::in_directory(&handed_over));
        let (key, other) = (HostPrivateKey::generate().unwrap(), HostPrivateKey::generate().unwrap());
        let hand_over = |key: &HostPrivateKey| {
            store_key(&state, key).unwrap();
            fs::rename(state.host_key(), handed_over.join(HOST_KEY)).unwrap();
            // As systemd's access lists look.
            fs::set_permissions(handed_over.join(HOST_KEY), fs::Permissions::from_mode(0o440)).unwrap();
        };
        let host = of(&key);

        store_key(&state, &key).unwrap();
        assert_eq!(host.identity(&state, &credentials).unwrap().1, KeySource::File);
        hand_over(&key);
        store_key(&state, &other).unwrap();
        assert_eq!(host.identity(&state, &credentials).unwrap().1, KeySource::Credential);

        store_key(&state, &key).unwrap();
        hand_over(&other);
        store_key(&state, &key).unwrap();
        for wrong in ["another host's", "no key at all"] {
            let error = host.identity(&state, &credentials).err().unwrap();
            assert!(matches!(error, HostError::Credential { name: "miosad.host-key", .. }), "{wrong}");
            overwrite(&handed_over.join(HOST_KEY), b"AAAA\n");
        }
    }

    #[test]
    fn the_link_file_that_is_handed_over_wins_over_the_one_in_the_state_directory() {
        let directory = tempfile::tempdir().unwrap();
        let (state, credentials) = (state(&directory), Credentials::in_directory(directory.path()));
        let link = |control: &str| {
            let link = LinkFile { control: control.to_owned(), ca: None, token: "t".to_owned().into() };
            link.store(&state).unwrap();
        };
        link("https://one");
        assert_eq!(LinkFile::find(&state, &credentials).unwrap().control, "https://one");
        // The state directory is out of the link's reach.
        let nowhere = StateDir::new(directory.path().join("nowhere"));
        assert_eq!(LinkFile::find(&nowhere, &credentials).unwrap().control, "https://one");
        overwrite(&state.link(), b"{}");
        let error = LinkFile::find(&nowhere, &credentials).err().unwrap().to_string();
        assert!(error.starts_with("cannot use the credential `link.json`"), "{error}");
        assert!(LinkFile::find(&nowhere, &Credentials::default()).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_of_host_json_and_host_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory);
        let key = HostPrivateKey::generate().unwrap();
        let host = of(&key);
        host.store(&state).unwrap();
        store_key(&state, &key).unwrap();
        for path in [state.host(), state.host_key()] {
            let good = fs::read(&path).unwrap();
            let flips = (0..good.len() * 8).map(|bit| {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                bad
            });
            let lengths = (0..good.len()).map(|length| good[..length].to_vec());
            let longer = [&good[..], &good[..1]].concat();
            let zeros = vec![0; good.len()];
            for bad in flips.chain(lengths).chain([longer, zeros, Vec::new()]) {
                overwrite(&path, &bad);
                let loaded = HostFile::load(&state)
                    .and_then(|host| Ok((host.identity(&state, &Credentials::default())?.0, host)));
                // A line end more or less, and a bit that X25519 ignores, change nothing.
                match loaded {
                    Ok((identity, named)) => assert!(identity.key.public() == key.public() && named == host),
                    Err(error) => assert!(matches!(error, HostError::Damaged(_) | HostError::OtherKey(_))),
                }
            }
            overwrite(&path, &good);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "damages state on purpose")]
    fn overwrite(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory);
        let key = HostPrivateKey::generate().unwrap();
        store_key(&state, &key).unwrap();
        for mode in [0o644, 0o640, 0o620, 0o604] {
            fs::set_permissions(state.host_key(), fs::Permissions::from_mode(mode)).unwrap();
            let error = load_key(&state).err().unwrap().to_string();
            assert!(error.contains(&format!("its mode is {mode:o} and others may")), "{error}");
        }
    }

    #[test]
    fn missing_and_damaged_files_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(&directory);
        assert!(matches!(HostFile::load(&state), Err(HostError::NotEnrolled(_))));
        assert!(matches!(LinkFile::load(&state), Err(HostError::NotEnrolled(_))));
        disk::replace(&state.host(), b"{\"host_id\":\"../x\"}").unwrap();
        assert!(matches!(HostFile::load(&state), Err(HostError::Damaged(_))));
        assert!(matches!(LinkFile::load(&state), Err(HostError::NoLink)));
        assert!(matches!(load_key(&state), Err(HostError::NoKey(_))));
        disk::replace(&state.host_key(), b"c2hvcnQ=").unwrap();
        assert!(matches!(load_key(&state), Err(HostError::Damaged(_))));
    }
}
