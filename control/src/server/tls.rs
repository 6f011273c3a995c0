//! TLS 1.3 from a certificate chain and a key in PEM files. No older version is compiled in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why TLS can't be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read, or isn't PEM.
    #[error("cannot read {what} from {path}")]
    Read { what: &'static str, path: PathBuf, source: pem::Error },
    /// The file has no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// Certificate and key can't be used, or don't belong together.
    #[error("cannot use the certificate {path} with its key")]
    Unusable { path: PathBuf, source: rustls::Error },
}

/// Loads a chain and its key.
pub(crate) fn load(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let unreadable = |source| TlsError::Read { what: "a certificate chain", path: cert.to_owned(), source };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect).map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::Empty(cert.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Read {
        what: "a private key",
        path: key.to_owned(),
        source,
    })?;
    let unusable = |source| TlsError::Unusable { path: cert.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
