//! Making this machine a host, and making it none again. The private key is made here and never
//! leaves; what comes from the control plane counts only as far as the join token's digest vouches
//! for it.

mod join;
mod next;
mod owner;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use miosa_snapshot::{
    Digest, HostId, HostKeyError, HostPrivateKey, HostPublicKey, MAX_TRUST_BYTES, Trust, TrustError,
};
use nix::fcntl::Flock;
use zeroize::Zeroizing;

pub(crate) use join::{Join, JoinError};
pub(crate) use owner::OwnerError;

use crate::cli::{Enroll, Print};
use crate::client::{EndpointError, TlsError};
use crate::disk::{self, DiskError};
use crate::floor::{Floors, GROUND};
use crate::host::{self, HostFile, LinkFile};
use crate::layout::StateDir;
use crate::settings::Settings;
use crate::trust_store::{NotTaken, TrustStore};

/// Why this machine did not become a host, or did not cease to be one.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// It is one.
    #[error("this host is already enrolled in {0}; to enroll it anew, run `miosad unenroll` first")]
    AlreadyEnrolled(PathBuf),
    /// A running daemon would go on with keys that are gone.
    #[error("cannot change the enrollment while another `miosad` is using {0}; stop it first")]
    InUse(PathBuf),
    /// The URL.
    #[error("cannot use --control {url}")]
    Url {
        /// As it was given.
        url: String,
        /// Why.
        source: EndpointError,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The exchange with the control plane.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The user that the state directory belongs to.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// A file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No key.
    #[error("cannot make the host's key")]
    Key(#[from] HostKeyError),
    /// The trust document.
    #[error("cannot trust the trust document")]
    Trust(#[from] TrustError),
    /// No way to say how it went.
    #[error("cannot print the result")]
    Print(#[from] io::Error),
    /// An argument that the command line asks for.
    #[error("cannot enroll without {0}")]
    Missing(&'static str),
}

/// Enrolls with a control plane, or with a trust document alone.
///
/// # Errors
/// When this machine is enrolled already, or any step fails. The last step makes it a host, so a
/// failure before leaves it none.
pub fn enroll(settings: &Settings, how: &Enroll) -> Result<(), EnrollError> {
    let state = &settings.state;
    let way = Way::read(how)?;
    owner::become_owner(state.path())?;
    let _lock = prepare(state)?;
    let key = HostPrivateKey::generate()?;
    host::store_key(state, &key)?;
    let host = match &way {
        Way::Join { url, ca, join } => join_control(state, url, ca.clone(), join, &key.public())?,
        Way::TrustAlone { trust, host_id } => trust_alone(state, trust, host_id, &key.public())?,
    };
    Floors::new(state.floors()).write(&GROUND)?;
    host.store(state)?;
    print(&host, &key.public(), how)?;
    next::say(state.path(), how.control.is_some());
    Ok(())
}

/// How this machine becomes a host: all that can be checked before anything is written, is.
enum Way<'a> {
    Join { url: &'a str, ca: Option<String>, join: Join },
    TrustAlone { trust: Zeroizing<Vec<u8>>, host_id: &'a HostId },
}

impl<'a> Way<'a> {
    fn read(how: &'a Enroll) -> Result<Self, EnrollError> {
        match (&how.control, &how.token, &how.trust, &how.host_id) {
            (Some(url), Some(token), _, _) => {
                let ca = how.ca.as_deref().map(read_ca).transpose()?;
                let join = Join::new(url, token, ca.as_deref())?;
                Ok(Self::Join { url, ca, join })
            }
            (_, _, Some(trust), Some(host_id)) => {
                let trust = disk::read_named(trust, MAX_TRUST_BYTES)?;
                Trust::pin(&trust, &Digest::of(&trust))?;
                Ok(Self::TrustAlone { trust, host_id })
            }
            (Some(_), None, _, _) => Err(EnrollError::Missing("--token")),
            _ => Err(EnrollError::Missing("--control and --token, or --trust and --host-id")),
        }
    }
}

/// Erases what makes this machine a host. Doing it twice is no error.
///
/// # Errors
/// When `serve` runs, or a file can't be removed.
pub fn unenroll(settings: &Settings) -> Result<(), EnrollError> {
    let state = &settings.state;
    if !state.path().exists() {
        return Ok(());
    }
    owner::become_owner(state.path())?;
    let _lock = lock(state)?;
    // Secrets first; `host.json` last, so that what was begun can be finished.
    disk::remove_entry(&state.host_key())?;
    disk::remove_entry(&state.link())?;
    disk::remove_entry(&state.cache())?;
    disk::remove_entry(&state.trust())?;
    disk::remove_entry(&state.drop())?;
    disk::remove_entry(&state.evidence())?;
    disk::remove_entry(&state.access())?;
    state.floors().iter().try_for_each(|floor| disk::remove_entry(floor))?;
    Ok(disk::remove_entry(&state.host())?)
}

/// Everything that could go wrong here without a token being used up goes wrong now.
fn prepare(state: &StateDir) -> Result<Flock<File>, EnrollError> {
    if !state.path().exists() {
        disk::make_private_directory(state.path())?;
    }
    let lock = lock(state)?;
    if state.host().exists() {
        return Err(EnrollError::AlreadyEnrolled(state.path().to_owned()));
    }
    // Left behind by an attempt that failed.
    disk::remove_entry(&state.trust())?;
    disk::remove_entry(&state.cache())?;
    disk::remove_entry(&state.link())?;
    Ok(lock)
}

fn lock(state: &StateDir) -> Result<Flock<File>, EnrollError> {
    disk::lock_directory(state.path())?.ok_or_else(|| EnrollError::InUse(state.path().to_owned()))
}

fn join_control(
    state: &StateDir,
    url: &str,
    ca: Option<String>,
    join: &Join,
    public: &HostPublicKey,
) -> Result<HostFile, EnrollError> {
    let joined = join.ask(public)?;
    keep_trust(state, join.pinned(), joined.trust())?;
    let (host_id, name, token) = joined.into_host();
    LinkFile { control: url.to_owned(), ca, token }.store(state)?;
    Ok(HostFile { host_id, name, trust: *join.pinned(), key: *public })
}

fn trust_alone(
    state: &StateDir,
    trust: &[u8],
    host_id: &HostId,
    public: &HostPublicKey,
) -> Result<HostFile, EnrollError> {
    // Whoever names the file vouches for it; from here on it is pinned.
    let pinned = Digest::of(trust);
    keep_trust(state, &pinned, [trust])?;
    let name = host_id.to_string();
    Ok(HostFile { host_id: host_id.clone(), name, trust: pinned, key: *public })
}

/// Keeps the chain, each document verified by the one before and the first by its digest.
fn keep_trust<'a>(
    state: &StateDir,
    pinned: &Digest,
    documents: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), EnrollError> {
    let (mut store, _) = TrustStore::load(state.trust(), *pinned)?;
    for document in documents {
        store.take(document).map_err(|error| match error {
            NotTaken::Trust(error) => EnrollError::Trust(error),
            NotTaken::Disk(error) => EnrollError::Disk(error),
        })?;
    }
    // A control plane that sends none is as little trusted as one that sends a wrong one.
    store.trust().map(drop).ok_or(EnrollError::Trust(TrustError::PinMismatch))
}

fn read_ca(path: &Path) -> Result<String, EnrollError> {
    let bytes = disk::read_named(path, MAX_CA_BYTES)?;
    String::from_utf8(bytes.to_vec()).ok().ok_or(EnrollError::Tls(TlsError::Authorities))
}

/// Without a control plane, the public key is what a publisher needs: it stands alone on standard
/// output.
fn print(host: &HostFile, public: &HostPublicKey, how: &Enroll) -> Result<(), EnrollError> {
    let HostFile { host_id, name, .. } = host;
    let public = BASE64.encode(public.as_bytes());
    let Print { json } = how.print;
    let text = match (json, &how.control) {
        (true, _) => {
            serde_json::json!({ "host_id": host_id, "name": name, "public_key": public }).to_string()
        }
        (false, None) => public,
        (false, Some(control)) => format!("enrolled as {host_id} ({name}) with {control}"),
    };
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Holds every certificate that a system has.
const MAX_CA_BYTES: usize = 768 * 1024;
