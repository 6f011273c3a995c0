//! Root keys outside the database: a PKCS#8 file in PEM, as `openssl genpkey -algorithm ed25519`
//! writes it too, open to its owner only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use miosa_snapshot::{KeyError, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

/// Why a root key's file can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootKeyError {
    /// It can't be read.
    #[error("cannot read the root key {path}")]
    Read { path: PathBuf, source: io::Error },
    /// It can't be written.
    #[error("cannot write the root key {path}")]
    Write { path: PathBuf, source: io::Error },
    /// There is something already.
    #[error("{0} exists already, and a root key is never written over")]
    Exists(PathBuf),
    /// Others may read it.
    #[error("the root key {0} can be read or changed by group or others; run chmod 600 on it")]
    Exposed(PathBuf),
    /// Not PEM.
    #[error("{0} is no private key in PEM (BEGIN PRIVATE KEY)")]
    Malformed(PathBuf),
    /// Not Ed25519.
    #[error("{path} holds no Ed25519 private key")]
    Key { path: PathBuf, source: KeyError },
}

/// Reads a root key.
pub(crate) fn read(path: &Path) -> Result<SigningKey, RootKeyError> {
    let unreadable = |source| RootKeyError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(RootKeyError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::with_capacity(1024));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
    let pkcs8 = decode(&text).ok_or_else(|| RootKeyError::Malformed(path.to_owned()))?;
    SigningKey::from_pkcs8(pkcs8.secret_pkcs8_der())
        .map_err(|source| RootKeyError::Key { path: path.to_owned(), source })
}

/// Writes a root key to a new file, durably: it may be the only copy.
pub(crate) fn write(path: &Path, pkcs8: &[u8]) -> Result<(), RootKeyError> {
    let unwritable = |source| RootKeyError::Write { path: path.to_owned(), source };
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = created.map_err(|source| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            RootKeyError::Exists(path.to_owned())
        } else {
            unwritable(source)
        }
    })?;
    let written = file.write_all(encode(pkcs8).as_bytes()).and_then(|()| file.sync_all());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    written.and_then(|()| File::open(folder)?.sync_all()).map_err(unwritable)
}

fn encode(pkcs8: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(BASE64.encode(pkcs8));
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(BEGIN);
    for (index, character) in base64.chars().enumerate() {
        if index % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text
}

fn decode(text: &str) -> Option<PrivatePkcs8KeyDer<'static>> {
    PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const LINE: usize = 64;
/// Many times a key; a larger file is none.
const MAX_FILE: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_root_key_is_written_once_private_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.pem");
        let (key, pkcs8) = SigningKey::generate().unwrap();
        write(&path, &pkcs8).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().key_id(), key.key_id());
        assert!(matches!(write(&path, &pkcs8), Err(RootKeyError::Exists(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(RootKeyError::Exposed(_))));
    }

    #[test]
    fn the_key_of_another_maker_is_read_and_what_is_none_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.pem");
        let written = |text: &str| {
            let _former = std::fs::remove_file(&path);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            read(&path)
        };
        // RFC 8410, section 10.3.
        let rfc8410 = "-----BEGIN PRIVATE KEY-----\n\
                       MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                       -----END PRIVATE KEY-----\n";
        let public = written(rfc8410).unwrap().public();
        assert_eq!(BASE64.encode(public.as_bytes()), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
        assert!(matches!(written("secret"), Err(RootKeyError::Malformed(_))));
        let other = rfc8410.replace("MC4CAQAwBQYDK2VwBCIE", "MC4CAQAwBQYDK2VuBCIE");
        assert!(matches!(written(&other), Err(RootKeyError::Key { .. })));
    }
}
