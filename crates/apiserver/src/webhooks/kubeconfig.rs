//! The server of a kubeconfig, which is posted to: how kube-apiserver is told of webhooks that are not objects.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Limited};
use kube::config::{KubeConfigOptions, Kubeconfig};
use skiff_errors::error_text;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The largest answer that is read, in bytes.
const MOST: usize = 1024 * 1024;
/// How often one asks who does not answer well.
const TRIES: u32 = 5;
/// How soon one asks again; half as long again each time.
const FIRST: Duration = Duration::from_millis(500);

/// The server of a kubeconfig.
pub(crate) struct Server {
    client: kube::Client,
    target: PathAndQuery,
}

/// Why there is no answer.
enum Failure {
    /// It may come when one asks again.
    Passing(String),
    Lasting(String),
}

impl Server {
    /// Reads a kubeconfig.
    pub(crate) async fn read(file: PathBuf) -> Result<Self, String> {
        let kubeconfig = Kubeconfig::read_from(file).map_err(|error| error_text(&error))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.map_err(|error| error_text(&error))?;
        // The client puts a slash after the path of its server.
        let target = config.cluster_url.path_and_query().cloned();
        let mut parts = config.cluster_url.into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        config.cluster_url = Uri::from_parts(parts).map_err(|error| error_text(&error))?;
        let client = kube::Client::try_from(config).map_err(|error| error_text(&error))?;
        Ok(Self { client, target: target.unwrap_or(PathAndQuery::from_static("/")) })
    }

    /// Posts JSON once; the body of the answer.
    pub(crate) async fn post(&self, body: String) -> Result<Bytes, String> {
        self.exchange(body).await.map_err(|failure| match failure {
            Failure::Passing(why) | Failure::Lasting(why) => why,
        })
    }

    /// Posts JSON within a time, again where that may help.
    pub(crate) async fn ask(&self, body: &str, within: Duration) -> Result<Bytes, String> {
        let (until, mut pause) = (Instant::now() + within, FIRST);
        let mut last = "context deadline exceeded".to_owned();
        for _ in 0..TRIES {
            match timeout_at(until, self.exchange(body.to_owned())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::Lasting(why))) => return Err(why),
                Ok(Err(Failure::Passing(why))) => last = why,
                Err(_) => return Err("context deadline exceeded".to_owned()),
            }
            let next = Instant::now() + pause;
            if next >= until {
                break;
            }
            sleep_until(next).await;
            pause = pause * 3 / 2;
        }
        Err(last)
    }

    async fn exchange(&self, body: String) -> Result<Bytes, Failure> {
        let request = Request::post(self.target.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "kube-apiserver-admission")
            .body(kube::client::Body::from(body.into_bytes()))
            .map_err(|error| Failure::Lasting(error_text(&error)))?;
        let answer = self.client.send(request).await;
        let answer = answer.map_err(|error| Failure::Passing(error_text(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST).collect().await;
        let body = body.map_err(|error| Failure::Lasting(error.to_string()))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let why = format!("it answers {status}");
        Err(if status.is_server_error() || status.as_u16() == 429 {
            Failure::Passing(why)
        } else {
            Failure::Lasting(why)
        })
    }
}

/// Reads the kubeconfig of something, in whose error it is named.
pub(crate) async fn server_of(what: &str, file: &Path) -> Result<Server, String> {
    Server::read(file.to_owned()).await.map_err(|why| format!("{what} {}: {why}", file.display()))
}
