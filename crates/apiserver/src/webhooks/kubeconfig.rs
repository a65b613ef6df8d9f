//! The server of a kubeconfig, which is posted to: how kube-apiserver is told of webhooks that are not objects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use kube::config::Kubeconfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use skiff_admission::CallError;
use skiff_errors::error_text;
use skiff_pki::kubeconfig::read_config;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::outgoing::{Outgoing, Peer, Place};
use super::trust::Trust;
use super::user::{Secret, User, secret};

/// The largest answer that is read, in bytes.
const MOST: usize = 1024 * 1024;
/// How often one asks who does not answer well.
const TRIES: u32 = 5;
/// How soon one asks again; half as long again each time.
const FIRST: Duration = Duration::from_millis(500);

/// The server of a kubeconfig.
pub(crate) struct Server {
    outgoing: Arc<Outgoing>,
    cluster: Cluster,
    user: User,
}

impl Server {
    /// Reads a kubeconfig, and once each file that it names, so that what is wrong with one is told at once.
    pub(crate) fn read(file: &Path, outgoing: &Arc<Outgoing>) -> Result<Self, String> {
        let kubeconfig = read_config(file).map_err(|error| error_text(&error))?;
        let (cluster, user) = current(&kubeconfig)?;
        Ok(Self { outgoing: outgoing.clone(), cluster, user })
    }

    /// Posts JSON once, within a time; the body of the answer.
    pub(crate) async fn post(&self, body: String, within: Duration) -> Result<Bytes, String> {
        self.exchange(body, within).await.map_err(|error| text(&error))
    }

    /// Posts JSON within a time, again where that may help.
    pub(crate) async fn ask(&self, body: &str, within: Duration) -> Result<Bytes, String> {
        let (until, mut pause) = (Instant::now() + within, FIRST);
        let mut last = "context deadline exceeded".to_owned();
        for _ in 0..TRIES {
            match timeout_at(until, self.exchange(body.to_owned(), within)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if is_passing(&error) => last = text(&error),
                Ok(Err(error)) => return Err(text(&error)),
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

    async fn exchange(&self, body: String, within: Duration) -> Result<Bytes, CallError> {
        let trust = self.cluster.trust().await.map_err(CallError::Failed)?;
        let shown = self.user.shown().await.map_err(CallError::Failed)?;
        let name = self.cluster.name.as_deref();
        let peer = Peer { place: Place::Url { name }, trust, shown: &shown };
        self.outgoing.post(&peer, &self.cluster.url, body.into(), within, MOST).await
    }
}

/// Whether there may be an answer when one asks again.
fn is_passing(error: &CallError) -> bool {
    match error {
        CallError::Failed(_) => true,
        CallError::Status { code, .. } => *code >= 500 || *code == 429,
    }
}

fn text(error: &CallError) -> String {
    match error {
        CallError::Failed(why) => why.clone(),
        CallError::Status { code, .. } => format!("it answers {code}"),
    }
}

/// Where a server is, and who it has to be.
#[derive(Debug)]
struct Cluster {
    url: String,
    /// Of whom its certificate has to be, if not of the host in the URL.
    name: Option<String>,
    /// None: whoever it is.
    authorities: Option<Secret>,
}

impl Cluster {
    /// Reads it as the kubeconfig writes it.
    fn of(info: &Value) -> Result<Self, String> {
        let text = |field: &str| info[field].as_str().filter(|text| !text.is_empty());
        let url = text("server").ok_or("server: Required value")?;
        let parsed: Uri = url.parse().map_err(|error| format!("server: Invalid value: {url:?}: {error}"))?;
        if parsed.host().is_none() || !matches!(parsed.scheme_str(), Some("https" | "http")) {
            return Err(format!("server: Invalid value: {url:?}: it is no URL of https or http"));
        }
        if text("proxy-url").is_some() {
            return Err("proxy-url: Forbidden: webhooks are called without a proxy".to_owned());
        }
        let name = text("tls-server-name").map(str::to_owned);
        if let Some(name) = &name {
            let valid = ServerName::try_from(&**name).map(|_| ());
            valid.map_err(|error| format!("tls-server-name: Invalid value: {name:?}: {error}"))?;
        }
        let authorities = secret(info, "certificate-authority")?;
        let authorities = match (info["insecure-skip-tls-verify"] == true, authorities) {
            (true, None) => None,
            (true, Some(_)) => {
                let why = "specifying a root certificates file with the insecure flag is not allowed";
                return Err(format!("insecure-skip-tls-verify: Forbidden: {why}"));
            }
            (false, given) => Some(given.unwrap_or(Secret::Data(Vec::new()))),
        };
        if let Some(authorities) = &authorities {
            let read = authorities.read_at_start().map(Trust::Bundle);
            let checked = read.and_then(|trust| trust.verifier().map(|_| ()));
            checked.map_err(|why| format!("certificate-authority: {why}"))?;
        }
        Ok(Self { url: url.to_owned(), name, authorities })
    }

    async fn trust(&self) -> Result<Trust, String> {
        Ok(match &self.authorities {
            Some(authorities) => Trust::Bundle(authorities.read().await?),
            None => Trust::Anybody,
        })
    }
}

/// The cluster and the user of the current context; nobody if it names no user.
fn current(read: &Kubeconfig) -> Result<(Cluster, User), String> {
    let name = read.current_context.as_deref().unwrap_or_default();
    let context = read.contexts.iter().find(|context| context.name == name);
    let context = context.and_then(|context| context.context.as_ref());
    let context = context.ok_or_else(|| format!("current-context: Not found: {name:?}"))?;
    let given = |entry: serde_json::Result<Value>| entry.map_err(|error| error_text(&error));

    let name = &*context.cluster;
    let cluster = read.clusters.iter().find(|cluster| cluster.name == name);
    let cluster = cluster.ok_or_else(|| format!("clusters: Not found: {name:?}"))?;
    let cluster = Cluster::of(&given(serde_json::to_value(&cluster.cluster))?);
    let cluster = cluster.map_err(|why| format!("clusters[{name}].cluster.{why}"))?;

    let Some(name) = context.user.as_deref().filter(|name| !name.is_empty()) else {
        return Ok((cluster, User::default()));
    };
    let user = read.auth_infos.iter().find(|user| user.name == name);
    let user = user.ok_or_else(|| format!("users: Not found: {name:?}"))?;
    let user = User::of(&given(serde_json::to_value(&user.auth_info))?);
    let checked = user.and_then(|user| user.check().map(|()| user));
    Ok((cluster, checked.map_err(|why| format!("users[{name}].user.{why}"))?))
}

/// Reads the kubeconfig of something, in whose error it is named.
pub(crate) fn server_of(what: &str, file: &Path, outgoing: &Arc<Outgoing>) -> Result<Server, String> {
    Server::read(file, outgoing).map_err(|why| format!("{what} {}: {why}", file.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(cluster: Value, user: Value) -> Result<(Cluster, User), String> {
        let context = json!({"name": "c", "context": {"cluster": "there", "user": "me"}});
        current(
            &serde_json::from_value(json!({
                "clusters": [{"name": "there", "cluster": cluster}], "users": [{"name": "me", "user": user}],
                "contexts": [context], "current-context": "c",
            }))
            .unwrap(),
        )
    }

    #[test]
    fn a_server_is_where_the_current_context_says() {
        let (cluster, _) = read(
            json!({"server": "https://hook:8443/x?y=z", "tls-server-name": "other", "insecure-skip-tls-verify": true}),
            json!({}),
        ).unwrap();
        assert_eq!((&*cluster.url, cluster.name.as_deref()), ("https://hook:8443/x?y=z", Some("other")));
        assert!(cluster.authorities.is_none());
        assert!(read(json!({"server": "http://127.0.0.1:1/"}), json!({})).is_ok());
        let nobody = json!({
            "clusters": [{"name": "there", "cluster": {"server": "https://a"}}],
            "contexts": [{"name": "c", "context": {"cluster": "there"}}], "current-context": "c",
        });
        assert!(current(&serde_json::from_value(nobody).unwrap()).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_told_at_once() {
        let check = |cluster: Value, user: Value, expected: &str| {
            let why = read(cluster, user).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        let fine = json!({"server": "https://a"});
        check(json!({}), json!({}), "clusters[there].cluster.server: Required value");
        check(
            json!({"server": "a:443"}),
            json!({}),
            "clusters[there].cluster.server: Invalid value: \"a:443\"",
        );
        check(json!({"server": "https://a", "proxy-url": "http://b"}), json!({}), "proxy-url: Forbidden");
        check(
            json!({"server": "https://a", "tls-server-name": "a b"}),
            json!({}),
            "tls-server-name: Invalid",
        );
        let ca = json!({"server": "https://a", "certificate-authority-data": "YQ=="});
        check(ca, json!({}), "certificate-authority: unable to load root certificates");
        check(
            json!({"server": "https://a", "certificate-authority-data": "YQ==", "insecure-skip-tls-verify": true}),
            json!({}),
            "insecure-skip-tls-verify: Forbidden",
        );
        check(fine.clone(), json!({"tokenFile": "/none"}), "users[me].user.tokenFile: unable to read /none");
        check(fine, json!({"exec": {"command": "c"}}), "users[me].user.exec: Forbidden");
        assert_eq!(current(&Kubeconfig::default()).unwrap_err(), "current-context: Not found: \"\"");
    }
}
