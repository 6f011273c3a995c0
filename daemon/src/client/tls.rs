//! TLS 1.3 and nothing older, under the system's certificates or those that were named.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What was named holds no usable certificate.
    #[error("cannot use the certificates that were given with --ca: there must be one or more, as PEM")]
    Authorities,
    /// The system has none.
    #[error("cannot find any of the system's certificates; install ca-certificates, or name some with --ca")]
    NoSystemRoots,
    /// The cipher suites lack TLS 1.3.
    #[error("cannot set up TLS 1.3")]
    Protocol(#[source] rustls::Error),
}

/// What makes a stream secure. `ca`: certificates (PEM) to trust instead of the system's.
pub(crate) fn connector(ca: Option<&str>) -> Result<TlsConnector, TlsError> {
    let roots = match ca {
        Some(pem) => named_roots(pem)?,
        None => system_roots()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder.map_err(TlsError::Protocol)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn named_roots(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.ok().ok_or(TlsError::Authorities)?;
        roots.add(certificate).ok().ok_or(TlsError::Authorities)?;
    }
    if roots.is_empty() { Err(TlsError::Authorities) } else { Ok(roots) }
}

/// A single unusable certificate among the system's is nothing unusual.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (usable, _unusable) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused() {
        for bad in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(connector(Some(bad)), Err(TlsError::Authorities)), "{bad}");
        }
    }
}
