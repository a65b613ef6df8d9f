//! The cluster's certificates and keys: one directory, made at the first start, renewed in process.
//!
//! ```text
//! ca.key, ca.crt          the authority; cannot be replaced without telling every client
//! front-proxy-ca.key, .crt  the authority of those who vouch for others, made again when it is missing or damaged: whoever
//!                         believes it learns it from a ConfigMap
//! sa.key, sa-earlier.pub  signs ServiceAccount tokens (ES256); the public halves of keys that did before
//! <name>.pem              a leaf: certificate, then key; issued again whenever it is missing, damaged,
//!                         for other names, or two thirds through its life
//! ```
//!
//! Everything is readable by its owner only. TLS configurations handed out here look their certificate up
//! at each handshake, so a renewal needs no restart.

mod authority;
mod der;
mod files;
pub mod kubeconfig;
mod leaf;
mod request;
mod signing;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
mod token_keys;
mod yaml;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::CertificateDer;
use skiff_identity::CertificateRequest;
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use authority::Authority;
use leaf::{Leaf, LeafSpec, Usage};
pub use request::CertificateError;
pub use signing::{SignError, SigningKey, VerifyingKey};
pub use token_keys::{Earlier, SIGNING_KEY_FILE, TokenKeys, rotate_token_key};

/// The names and addresses under which the API server is reached.
#[derive(Clone, Debug)]
pub struct PkiSubject {
    /// The machine's address for clients and pods.
    pub advertise_address: IpAddr,
    /// The address of the Service `default/kubernetes`.
    pub service_address: IpAddr,
    /// The machine's name.
    pub host_name: String,
    /// The cluster's DNS zone, e.g. `cluster.local`.
    pub domain: String,
}

/// The names and addresses under which a node's own server is reached.
#[derive(Clone, Debug)]
pub struct NodeSubject {
    /// Name of the Node object.
    pub name: String,
    /// The machine's name.
    pub host_name: String,
    /// The Node's addresses.
    pub addresses: Vec<IpAddr>,
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// The cluster's certificates cannot be used; the message names the file and, where there is one, the
/// remedy.
#[derive(Debug, Error)]
pub enum PkiError {
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write`, `create`, `lock`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that cannot be made again is damaged.
    #[error("{} is damaged ({reason}); restore it from a copy, or remove the directory to start with new certificates", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The authority's certificate is there and its key is not.
    #[error("{} is missing, so no certificate can be issued; restore it from a copy, or remove the directory to start with new certificates", path.display())]
    NoAuthorityKey {
        /// Where the key should be.
        path: PathBuf,
    },
    /// The authority's certificate is no longer valid, and neither is any that it issued.
    #[error("{} expired on {not_after}; remove the directory to start with new certificates", path.display())]
    Expired {
        /// Its file.
        path: PathBuf,
        /// When it expired.
        not_after: Timestamp,
    },
    /// A certificate cannot be issued.
    #[error("cannot issue the certificate {name:?}")]
    Issue {
        /// The leaf's file name without its ending.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// TLS refuses what was just issued.
    #[error("TLS does not accept the certificate {name:?}")]
    Tls {
        /// The leaf's file name without its ending.
        name: String,
        /// Why.
        source: rustls::Error,
    },
    /// A node name that is no DNS subdomain cannot name a file either.
    #[error("{0:?} is not a node name")]
    NodeName(String),
}

/// The longest time between two looks at the calendar: timers stand still while a machine sleeps.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);
/// The shortest time between two renewals: after one failed (a full disk), and in the authority's last days,
/// when what it issues lives ever shorter.
const SHORTEST_WAIT: Duration = Duration::from_secs(60);

/// The cluster's certificates and keys.
pub struct Pki {
    dir: PathBuf,
    authority: Authority,
    front_proxy: Authority,
    token_keys: ArcSwap<TokenKeys>,
    api_server: Arc<Leaf>,
    kubelet_client: Arc<Leaf>,
    front_proxy_client: Arc<Leaf>,
    admin: Arc<Leaf>,
    /// Leaves of nodes, added while running.
    nodes: Mutex<Vec<Arc<Leaf>>>,
    /// Wakes the renewal when a leaf was added.
    added: Notify,
}

impl Pki {
    /// Reads the directory, and makes what is missing. Certificates whose names or addresses are no longer
    /// those of `subject` are issued again.
    pub fn open_or_create(dir: &Path, subject: &PkiSubject) -> Result<Self, PkiError> {
        Self::open_at(dir, subject, Timestamp::now())
    }

    fn open_at(dir: &Path, subject: &PkiSubject, now: Timestamp) -> Result<Self, PkiError> {
        files::private_dir(dir)?;
        let _lock = files::lock(dir)?;
        let authority = Authority::open_or_create(dir, "ca", "kubernetes", now)?;
        let front_proxy = Authority::open_or_remake(dir, "front-proxy-ca", "front-proxy-ca", now)?;
        let token_keys = ArcSwap::from_pointee(TokenKeys::open_or_create(dir)?);
        let leaf = |spec| Leaf::open(dir, &authority, spec, now).map(Arc::new);
        let api_server = leaf(api_server_spec(subject))?;
        let kubelet_client = leaf(client_spec(
            "apiserver-kubelet-client",
            "kube-apiserver-kubelet-client",
            skiff_identity::MASTERS,
        ))?;
        let front_proxy_client = Leaf::open(dir, &front_proxy, front_proxy_spec(), now).map(Arc::new)?;
        let admin = leaf(client_spec("admin", "skiff-admin", skiff_identity::MASTERS))?;
        Ok(Self {
            dir: dir.to_owned(),
            authority,
            front_proxy,
            token_keys,
            api_server,
            kubelet_client,
            front_proxy_client,
            admin,
            nodes: Mutex::default(),
            added: Notify::new(),
        })
    }

    /// The authority's certificate, PEM: what clients verify the API server against.
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The certificate of the authority of front proxies, PEM: what extension API servers verify this one against.
    pub fn front_proxy_ca_pem(&self) -> &str {
        self.front_proxy.certificate_pem()
    }

    /// Whether a client certificate that TLS has verified is that of a front proxy: it may vouch for others, and stands
    /// for nobody itself.
    pub fn is_front_proxy(&self, certificate: &CertificateDer<'_>) -> bool {
        let parsed = x509_parser::parse_x509_certificate(certificate);
        parsed.is_ok_and(|(_, certificate)| self.front_proxy.has_signed(&certificate))
    }

    /// What the API server shows to extension API servers: the newest certificate at every handshake.
    pub fn front_proxy_client(&self) -> Arc<dyn ResolvesClientCert> {
        tls::following(&self.front_proxy_client)
    }

    /// The keys that sign and verify ServiceAccount tokens now; see [`Pki::reload_token_keys`].
    pub fn token_keys(&self) -> Arc<TokenKeys> {
        self.token_keys.load_full()
    }

    /// For the API server's listener (HTTP/2 and HTTP/1.1). Client certificates are optional, and verified
    /// when sent; [`PeerIdentity::from_certificate`](skiff_identity::PeerIdentity::from_certificate) reads
    /// them, and [`Pki::is_front_proxy`] tells those of front proxies.
    pub fn api_server_tls(&self) -> Result<Arc<ServerConfig>, PkiError> {
        let authorities = [&self.authority, &self.front_proxy];
        tls::server(&authorities, &self.api_server, &[b"h2", b"http/1.1"])
    }

    /// For the API server's connections to nodes.
    pub fn kubelet_client_tls(&self) -> Result<Arc<ClientConfig>, PkiError> {
        tls::client(&self.authority, &self.kubelet_client)
    }

    /// For a node's own server (HTTP/1.1, which its upgrades need). Client certificates are optional, and
    /// verified when sent.
    pub fn node_serving_tls(&self, node: &NodeSubject) -> Result<Arc<ServerConfig>, PkiError> {
        check_node_name(&node.name)?;
        let leaf = self.node_leaf(node_serving_spec(node))?;
        tls::server(&[&self.authority], &leaf, &[b"http/1.1"])
    }

    /// For a node agent's connections to the API server.
    pub fn node_client_tls(&self, name: &str) -> Result<Arc<ClientConfig>, PkiError> {
        tls::client(&self.authority, &self.node_leaf(node_client_spec(name)?)?)
    }

    /// For connections of a part of this program that is no pod and acts as a ServiceAccount from another process.
    pub fn service_account_client_tls(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<ClientConfig>, PkiError> {
        let user = skiff_identity::UserInfo::service_account(namespace, name).name;
        let file = format!("serviceaccount-{namespace}-{name}");
        let leaf = self.node_leaf(client_spec(&file, &user, skiff_identity::SERVICE_ACCOUNTS))?;
        tls::client(&self.authority, &leaf)
    }

    /// The administrator's certificate: group `system:masters`.
    pub fn admin(&self) -> Credentials {
        self.admin.credentials()
    }

    /// A kubeconfig with one context, in which the administrator talks to `server_url`. Cluster, user and
    /// context all have the name `context`.
    pub fn kubeconfig(&self, server_url: &str, context: &str) -> String {
        kubeconfig::render(&kubeconfig::ContextEntry {
            name: context.to_owned(),
            server: server_url.to_owned(),
            ca_pem: self.ca_pem().to_owned(),
            credentials: self.admin(),
        })
    }

    /// Makes the certificate that a request asks for, in PEM: for these usages, as objects name them, valid for `life` from now
    /// and no longer than the authority.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn sign_request(
        &self,
        request: &CertificateRequest,
        usages: &[String],
        life: SignedDuration,
    ) -> Result<String, CertificateError> {
        request::sign(&self.authority, request, usages, Timestamp::now(), life)
    }

    /// Renews certificates when they are due, until shut down. A failure is logged and tried again. Calls `looked` whenever it has
    /// looked after them: for who keeps copies.
    pub async fn keep_current(&self, looked: impl Fn(), shutdown: CancellationToken) {
        loop {
            let now = Timestamp::now();
            let wait = match self.renew_due(now) {
                Ok(next) => until(now, next).clamp(SHORTEST_WAIT, LONGEST_WAIT),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot renew a certificate");
                    SHORTEST_WAIT
                }
            };
            looked();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.added.notified() => {}
            }
        }
    }

    /// Renews every leaf that is due and returns when the next one will be.
    fn renew_due(&self, now: Timestamp) -> Result<Timestamp, PkiError> {
        let _lock = files::lock(&self.dir)?;
        let mut next = Timestamp::MAX;
        for (leaf, authority) in self.leaves() {
            if leaf.due() <= now {
                leaf.renew(&self.dir, authority, now)?;
                tracing::info!(certificate = leaf.name(), "renewed");
            }
            next = next.min(leaf.due());
        }
        Ok(next)
    }

    /// Renews every leaf, due or not.
    #[cfg(any(test, feature = "testing"))]
    fn renew_all(&self, now: Timestamp) -> Result<(), PkiError> {
        self.leaves().into_iter().try_for_each(|(leaf, authority)| leaf.replace(&self.dir, authority, now))
    }

    /// Every leaf with whoever issues it.
    fn leaves(&self) -> Vec<(Arc<Leaf>, &Authority)> {
        let ours = [&self.api_server, &self.kubelet_client, &self.admin].map(Arc::clone);
        let nodes = self.nodes.lock().clone();
        let issued = ours.into_iter().chain(nodes).map(|leaf| (leaf, &self.authority));
        issued.chain([(Arc::clone(&self.front_proxy_client), &self.front_proxy)]).collect()
    }

    /// The leaf of a specification: the one in use, or a new one that is renewed from now on.
    fn node_leaf(&self, spec: LeafSpec) -> Result<Arc<Leaf>, PkiError> {
        let mut nodes = self.nodes.lock();
        if let Some(leaf) = nodes.iter().find(|leaf| *leaf.spec() == spec) {
            return Ok(Arc::clone(leaf));
        }
        let _lock = files::lock(&self.dir)?;
        let leaf = Arc::new(Leaf::open(&self.dir, &self.authority, spec, Timestamp::now())?);
        nodes.retain(|other| other.name() != leaf.name());
        nodes.push(Arc::clone(&leaf));
        self.added.notify_one();
        Ok(leaf)
    }
}

fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

fn check_node_name(name: &str) -> Result<(), PkiError> {
    match skiff_machinery::names::subdomain(name) {
        None => Ok(()),
        Some(_) => Err(PkiError::NodeName(name.to_owned())),
    }
}

fn api_server_spec(subject: &PkiSubject) -> LeafSpec {
    let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
    let mut names: Vec<String> = service.into();
    names.push(format!("kubernetes.default.svc.{}", subject.domain));
    names.extend(["localhost".to_owned(), subject.host_name.clone()]);
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), subject.service_address];
    addresses.push(subject.advertise_address);
    LeafSpec::new("apiserver", "kube-apiserver", None, Usage::Server, names, addresses)
}

fn node_serving_spec(node: &NodeSubject) -> LeafSpec {
    let file = format!("node-{}-serving", node.name);
    let common_name = format!("{}{}", skiff_identity::NODE_PREFIX, node.name);
    let names = vec![node.name.clone(), node.host_name.clone()];
    let group = Some(skiff_identity::NODES);
    LeafSpec::new(&file, &common_name, group, Usage::Server, names, node.addresses.clone())
}

fn node_client_spec(name: &str) -> Result<LeafSpec, PkiError> {
    check_node_name(name)?;
    let common_name = format!("{}{name}", skiff_identity::NODE_PREFIX);
    Ok(client_spec(&format!("node-{name}"), &common_name, skiff_identity::NODES))
}

/// The name of the one front proxy that there is, as in `requestheader-allowed-names`.
pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";

fn front_proxy_spec() -> LeafSpec {
    LeafSpec::new(FRONT_PROXY_CLIENT, FRONT_PROXY_CLIENT, None, Usage::Client, Vec::new(), Vec::new())
}

fn client_spec(file: &str, common_name: &str, group: &str) -> LeafSpec {
    LeafSpec::new(file, common_name, Some(group), Usage::Client, Vec::new(), Vec::new())
}

#[cfg(test)]
mod tests;
