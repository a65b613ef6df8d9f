//! What controllers are given of the server's own: its signatures, and who they are.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use kube::Client;
use skiff_apiserver::{ApiServer, ClusterConfig};
use skiff_controllers::ControllersConfig;
use skiff_identity::{CertificateRequest, UserInfo};
use skiff_pki::Pki;

use crate::cluster::API_SERVICE;

/// Prefix length of each node's share of the pod range.
const NODE_PREFIX: u8 = 24;

pub(crate) fn controller_client(api: &ApiServer) -> impl Fn(&str) -> Client + use<> {
    let api = api.clone();
    move |name| {
        let identity = skiff_controllers::identity(name);
        let user = UserInfo { name: identity.user, groups: identity.groups, ..UserInfo::default() };
        api.client(user, identity.agent)
    }
}

/// Signs certificates with the cluster's authority.
#[derive(Clone)]
struct Authority(Arc<Pki>);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl skiff_controllers::Signer for Authority {
    fn sign(
        &self,
        request: &CertificateRequest,
        usages: &[String],
        life: SignedDuration,
    ) -> Result<String, String> {
        self.0.sign_request(request, usages, life).map_err(|error| error.to_string())
    }
}

/// Signs the tokens that Secrets of ServiceAccounts hold.
#[derive(Clone)]
struct SecretTokens(ApiServer);

impl fmt::Debug for SecretTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretTokens")
    }
}

impl skiff_controllers::TokenSigner for SecretTokens {
    fn sign(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Result<String, String> {
        self.0.secret_token(namespace, account, uid, secret).map_err(|error| error.to_string())
    }
}

pub(crate) fn controllers(
    cluster: &ClusterConfig,
    pki: &Arc<Pki>,
    api: &ApiServer,
    bootstrap_tokens: bool,
) -> ControllersConfig {
    ControllersConfig {
        root_ca_pem: pki.ca_pem().to_owned(),
        pod_cidr: cluster.pod_cidr.into(),
        node_prefix: NODE_PREFIX,
        apiserver: SocketAddr::new(cluster.advertise_address, cluster.port),
        kubernetes_service_ip: API_SERVICE.into(),
        signer: Some(Arc::new(Authority(pki.clone()))),
        tokens: Some(Arc::new(SecretTokens(api.clone()))),
        bootstrap_tokens,
    }
}
