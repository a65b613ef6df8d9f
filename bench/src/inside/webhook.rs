//! What a mutating webhook costs a create: this program serves one, which adds a label.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use k8s_openapi::ByteString;
use kube::Config;
use kube::config::AuthInfo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use skiff_pki::{Pki, PkiSubject};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

use super::connection::Connection;
use super::creates::{CONFIG_MAPS, config_map, post};
use crate::report::percentile;

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const CONFIGURATION: &str = "bench";

/// The label of objects that the webhook is called for, and the one that it adds.
const ASKED: &str = "asked";
const ADDED: &str = "added";

pub(crate) async fn run(rounds: u32) -> anyhow::Result<()> {
    let hook = Hook::start().await?;
    let config = Config::infer().await?;
    let mut server = Connection::new(&config).await?;
    post(&mut server, CONFIGURATIONS, &hook.configuration()).await?;
    let prefix = format!("hooked-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    let called = Mutex::new(Connection::new(&config).await?);
    let calls = || async {
        let name = json!({"generateName": format!("{prefix}-first-"), "labels": {(ASKED): "yes"}});
        let body = serde_json::to_vec(&json!({"metadata": name}))?.into();
        let answer = called.lock().await.send(Method::POST, CONFIG_MAPS, body, StatusCode::CREATED).await?;
        let answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["metadata"]["labels"][ADDED] == "yes")
    };
    super::until("the webhook is called", calls).await?;
    let mut alone = Connection::new(&hook.as_server(&config)?).await?;
    let (mut plain, mut hooked, mut trip) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, because disks are noisy.
    for round in 0..rounds {
        plain.push(post(&mut server, CONFIG_MAPS, &config_map(&format!("{prefix}-plain-{round}"))).await?);
        let object = labelled(&format!("{prefix}-{round}"));
        hooked.push(post(&mut server, CONFIG_MAPS, &object).await?);
        trip.push(ask(&mut alone, &object).await?);
    }
    let configuration = format!("{CONFIGURATIONS}/{CONFIGURATION}");
    server.send(Method::DELETE, &configuration, Bytes::new(), StatusCode::OK).await?;
    let median = |samples: &mut Vec<f64>| percentile(samples, 50) * 1000.0;
    let (plain, hooked, trip) = (median(&mut plain), median(&mut hooked), median(&mut trip));
    super::print(&json!({"plain": plain, "hooked": hooked, "trip": trip}));
    Ok(())
}

/// An object that the webhook is called for.
fn labelled(name: &str) -> Value {
    let mut object = config_map(name);
    object["metadata"]["labels"] = json!({(ASKED): "yes"});
    object
}

/// Asks the webhook as an API server does; how long that took, in seconds.
async fn ask(connection: &mut Connection, object: &Value) -> anyhow::Result<f64> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "00000000-0000-4000-8000-000000000000", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"}, "namespace": "default",
            "operation": "CREATE", "object": object, "oldObject": null, "dryRun": false,
        },
    });
    let body = serde_json::to_vec(&review)?.into();
    let started = Instant::now();
    connection.send(Method::POST, "/", body, StatusCode::OK).await?;
    Ok(started.elapsed().as_secs_f64())
}

/// A webhook that listens on the loopback interface until this program ends.
struct Hook {
    address: SocketAddr,
    authority: String,
}

impl Hook {
    async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let subject = PkiSubject {
            advertise_address: [127, 0, 0, 1].into(),
            service_address: [127, 0, 0, 1].into(),
            host_name: "localhost".to_owned(),
            domain: "cluster.local".to_owned(),
        };
        let pki = Pki::open_or_create(directory.path(), &subject)?;
        let acceptor = TlsAcceptor::from(pki.api_server_tls()?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(accept(listener, acceptor));
        Ok(Self { address, authority: pki.ca_pem().to_owned() })
    }

    fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    fn configuration(&self) -> Value {
        let authority = ByteString(self.authority.clone().into_bytes());
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": CONFIGURATION},
            "webhooks": [{
                "name": "hook.bench.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": self.url(), "caBundle": authority},
                "objectSelector": {"matchLabels": {(ASKED): "yes"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}],
            }],
        })
    }

    /// How it is reached by a client of an API server.
    fn as_server(&self, config: &Config) -> anyhow::Result<Config> {
        let mut config = config.clone();
        config.cluster_url = self.url().parse()?;
        config.root_cert = Some(vec![CertificateDer::from_pem_slice(self.authority.as_bytes())?.to_vec()]);
        config.auth_info = AuthInfo::default();
        Ok(config)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let stream = acceptor.accept(stream).await?;
            let served = auto::Builder::new(TokioExecutor::new());
            let served = served.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            served.map_err(|error| anyhow::anyhow!(error))
        });
    }
}

/// Allows everything, with a label.
async fn answer(request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body)?;
    let uid = review["request"]["uid"].as_str().context("request.uid")?;
    let patch = json!([{"op": "add", "path": format!("/metadata/labels/{ADDED}"), "value": "yes"}]);
    let patch = ByteString(serde_json::to_vec(&patch)?);
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch},
    });
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    Ok(response.body(Full::from(serde_json::to_vec(&answer)?))?)
}
