//! What is done whenever certificates and keys of the cluster are replaced, while it runs.

use std::sync::Arc;

use anyhow::Context;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use skiff_apiserver::Changes;
use skiff_errors::error_text;
use skiff_pki::kubeconfig::ContextEntry;
use skiff_pki::{Pki, SIGNING_KEY_FILE};
use tokio_util::sync::CancellationToken;

use crate::layout::Layout;
use crate::server;
use crate::settings::Settings;

/// Renews certificates until the shutdown, and has `told` say so to whoever keeps copies, whenever one may have been renewed.
pub(crate) async fn keep(
    pki: Arc<Pki>,
    told: impl Fn() -> anyhow::Result<()>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let tell = || {
        if let Err(error) = told() {
            tracing::error!(
                error = error_text(error.as_ref()),
                "renewed certificates cannot be passed on yet"
            );
        }
    };
    pki.keep_current(tell, shutdown).await;
    Ok(())
}

/// Takes other keys of tokens as soon as somebody has put them into the directory, until the shutdown.
pub(crate) async fn keep_token_keys(
    pki: Arc<Pki>,
    layout: Layout,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let changes =
        Changes::beside(&layout.pki().join(SIGNING_KEY_FILE)).context("watch the keys of tokens")?;
    loop {
        if let Err(error) = pki.reload_token_keys() {
            let error = error_text(&error);
            tracing::error!(error, "the keys of tokens cannot be used; those from before count");
        }
        match shutdown.run_until_cancelled(changes.next()).await {
            None => return Ok(()),
            Some(changed) => changed.context("watch the keys of tokens")?,
        }
    }
}

/// The administrator's kubeconfig in the data directory, and a context in the user's own.
pub(crate) fn write_kubeconfigs(settings: &Settings, pki: &Pki, url: &str) -> anyhow::Result<()> {
    write_own_kubeconfig(settings, pki, url)?;
    server::write_context(server::user_kubeconfig().as_deref(), &entry(settings, pki, url))
}

/// The same once the administrator's certificate was renewed: what the user has made of the context since stays.
pub(crate) fn renew_kubeconfigs(settings: &Settings, pki: &Pki, url: &str) -> anyhow::Result<()> {
    write_own_kubeconfig(settings, pki, url)?;
    server::renew_context(server::user_kubeconfig().as_deref(), &entry(settings, pki, url))
}

fn write_own_kubeconfig(settings: &Settings, pki: &Pki, url: &str) -> anyhow::Result<()> {
    let path = settings.layout.admin_kubeconfig();
    server::write_private(&path, &pki.kubeconfig(url, &settings.args.context))
        .with_context(|| format!("write {}", path.display()))
}

fn entry(settings: &Settings, pki: &Pki, url: &str) -> ContextEntry {
    ContextEntry {
        name: settings.args.context.clone(),
        server: url.to_owned(),
        ca_pem: pki.ca_pem().to_owned(),
        credentials: pki.admin(),
    }
}

/// A client that looks its certificate up whenever it connects, as `tls` says: one for a whole process's life.
pub(crate) fn client(url: &str, tls: Arc<rustls::ClientConfig>) -> anyhow::Result<Client> {
    let config = kube::Config::new(url.parse().with_context(|| format!("the server {url:?}"))?);
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let https = hyper_rustls::HttpsConnector::from((tcp, tls));
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https);
    Ok(ClientBuilder::new(http, "default").with_layer(&config.base_uri_layer()).build())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Answers one request, and tells the certificate that the client has shown.
    async fn answer(listener: &TcpListener, acceptor: &TlsAcceptor) -> Vec<u8> {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut connection = acceptor.accept(tcp).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        connection.write_all(text).await.unwrap();
        connection.shutdown().await.unwrap();
        connection.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    #[tokio::test]
    async fn a_client_that_lives_on_shows_the_newest_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let pki = skiff_pki::testing::pki(dir.path(), [127, 0, 0, 1].into());
        let acceptor = TlsAcceptor::from(pki.api_server_tls().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let client = client(&url, pki.node_client_tls("n").unwrap()).unwrap();
        let ask = async || {
            let request = http::Request::get("/version").body(Vec::new()).unwrap();
            let (answered, shown) = tokio::join!(client.request_text(request), answer(&listener, &acceptor));
            answered.unwrap();
            shown
        };
        let first = ask().await;
        assert_eq!(ask().await, first);
        skiff_pki::testing::renew(&pki);
        assert_ne!(ask().await, first);
    }
}
