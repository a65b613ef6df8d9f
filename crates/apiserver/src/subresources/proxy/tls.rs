//! TLS to targets of proxies. As Kubernetes does, any certificate will do: the target is an address that the API gave,
//! and there is no name that a certificate could prove.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_pki_types::ServerName;
use skiff_listener::{Anybody, verifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connects, whoever answers.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    static CONFIG: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(config);
    let config = CONFIG.clone().ok_or_else(|| io::Error::other("TLS is not available"))?;
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::from(address.ip()), stream).await
}

fn config() -> Option<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    let config = builder.dangerous().with_custom_certificate_verifier(verifier(Anybody));
    Some(Arc::new(config.with_no_client_auth()))
}
