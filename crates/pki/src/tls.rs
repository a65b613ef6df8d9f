//! TLS configurations that follow renewals.

use std::fmt;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use super::PkiError;
use super::authority::Authority;
use super::leaf::Leaf;

/// Shows the leaf's newest certificate at every handshake.
struct Following(Arc<Leaf>);

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Following({})", self.0.name())
    }
}

impl ResolvesServerCert for Following {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.certified_key())
    }
}

impl ResolvesClientCert for Following {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What shows the newest certificate of a leaf.
pub(super) fn following(leaf: &Arc<Leaf>) -> Arc<dyn ResolvesClientCert> {
    Arc::new(Following(Arc::clone(leaf)))
}

/// A server that shows `leaf` and verifies client certificates against the authorities if there are any.
pub(super) fn server(
    authorities: &[&Authority],
    leaf: &Arc<Leaf>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, PkiError> {
    let refused = |source| PkiError::Tls { name: leaf.name().to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = authorities.iter().flat_map(|authority| authority.roots().roots.clone()).collect();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| refused(rustls::Error::General(error.to_string())))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Following(Arc::clone(leaf))));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client that shows `leaf` and trusts servers of the authority.
pub(super) fn client(authority: &Authority, leaf: &Arc<Leaf>) -> Result<Arc<ClientConfig>, PkiError> {
    let refused = |source| PkiError::Tls { name: leaf.name().to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(authority.roots())
        .with_client_cert_resolver(following(leaf));
    // Whoever takes a session up again is whom its first certificate has shown, however old that is.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
