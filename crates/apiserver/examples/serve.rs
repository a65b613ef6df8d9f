//! An API server alone (no controllers, no node), for trying clients: `serve DIR [ADDRESS:PORT]`.
//!
//! Keeps its state in DIR and writes DIR/kubeconfig for the administrator.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use skiff_apiserver::pki::{Pki, PkiSubject};
use skiff_apiserver::{ApiServer, ClusterConfig, Config};
use skiff_catalogue::Catalogue;
use skiff_store::Embedded;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: serve DIR [ADDRESS:PORT]")?);
    let address: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:6443").parse()?;
    std::fs::create_dir_all(&dir)?;
    let cluster = ClusterConfig { port: address.port(), ..ClusterConfig::new(address.ip()) };
    let subject = PkiSubject {
        advertise_address: address.ip(),
        service_address: IpAddr::from([10, 96, 0, 1]),
        host_name: "localhost".to_owned(),
        domain: cluster.domain.clone(),
    };
    let pki = Arc::new(Pki::open_or_create(&dir.join("pki"), &subject)?);
    std::fs::write(dir.join("kubeconfig"), pki.kubeconfig(&format!("https://{address}"), "skiff"))?;
    let store = Arc::new(Embedded::open(dir.join("store"))?);
    let catalogue = Arc::new(Catalogue::builtin());
    let server = ApiServer::start(Config { store, catalogue, pki, cluster }).await?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    server.serve(TcpListener::bind(address).await?, shutdown).await?;
    Ok(())
}
