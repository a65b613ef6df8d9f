//! The identities that requests act under.

mod request;

pub use request::{CertificateRequest, RequestError};

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use skiff_machinery::names;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Members may do everything; authorisation asks nobody else.
pub const MASTERS: &str = "system:masters";
/// Every caller whose identity was proved.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Every caller whose identity was not proved.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of callers that sent no credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of node agents.
pub const NODES: &str = "system:nodes";
/// What the name of a node agent starts with.
pub const NODE_PREFIX: &str = "system:node:";
/// The group of all ServiceAccounts; that of a namespace appends `:<namespace>`.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What the name of a ServiceAccount's user starts with; `<namespace>:<name>` follows.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// Under this a ServiceAccount's token names the node of the pod that it is bound to.
pub const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// Under this users have what tells which token or certificate they came with.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Namespace and name of the ServiceAccount that a user is, if it is one.
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let is_right = names::dns_label(namespace).is_none() && names::subdomain(name).is_none();
    is_right.then_some((namespace, name))
}

/// A caller, as the reviews of `authentication.k8s.io` describe one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// Unique name among active users.
    pub name: String,
    /// Distinguishes holders of the same name over time; empty when unknown.
    pub uid: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// What the authenticator knows besides.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A proved user in the given groups, and in `system:authenticated`.
    pub fn authenticated(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// A caller without credentials.
    pub fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// The API server itself: a member of `system:masters`.
    pub fn api_server() -> Self {
        Self::authenticated("system:apiserver", [MASTERS.to_owned()])
    }

    /// The agent of a node.
    pub fn node(name: &str) -> Self {
        Self::authenticated(format!("{NODE_PREFIX}{name}"), [NODES.to_owned()])
    }

    /// The scheduler.
    pub fn scheduler() -> Self {
        Self::authenticated("system:kube-scheduler", [])
    }

    /// The service proxy.
    pub fn proxy() -> Self {
        Self::authenticated("system:kube-proxy", [])
    }

    /// A controller, which acts as its ServiceAccount in `kube-system`.
    pub fn controller(name: &str) -> Self {
        Self::service_account("kube-system", name)
    }

    /// A ServiceAccount.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = [SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")];
        Self::authenticated(format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"), groups)
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node whose agent this is; `Some("")` for a member of `system:nodes` whose name is not a node's.
    pub fn node_name(&self) -> Option<&str> {
        self.is_in(NODES).then(|| self.name.strip_prefix(NODE_PREFIX).unwrap_or(""))
    }

    /// Namespace and name of the ServiceAccount that this is.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')
    }
}

/// What a verified client certificate says about its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The subject's common name: the user's name.
    pub common_name: String,
    /// The subject's organisations: the user's groups.
    pub organizations: Vec<String>,
    /// Which certificate it is, as in `X509SHA256=…`; empty if nobody knows.
    pub credential: String,
    /// Until when it stands for its holder, in seconds since 1970. A connection may last longer.
    pub end: i64,
    /// Whether it is a front proxy's: such a certificate stands for nobody, but for whom its holder vouches.
    pub is_front_proxy: bool,
}

/// A client certificate that names nobody; the TLS layer had verified its chain.
#[derive(Debug, Error)]
pub enum PeerError {
    /// Not an X.509 certificate.
    #[error("the client certificate cannot be decoded")]
    Malformed(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
    /// The subject has no common name.
    #[error("the client certificate has no common name")]
    Nameless,
}

impl PeerIdentity {
    /// Reads the subject of the certificate that TLS has verified (the first one of the peer's chain).
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(PeerError::Malformed)?;
        let subject = parsed.subject();
        let common_name = subject.iter_common_name().find_map(|name| name.as_str().ok());
        let organizations = subject.iter_organization().filter_map(|o| o.as_str().ok());
        Ok(Self {
            common_name: common_name.filter(|name| !name.is_empty()).ok_or(PeerError::Nameless)?.to_owned(),
            organizations: organizations.map(str::to_owned).collect(),
            credential: format!("X509SHA256={}", hexadecimal(&Sha256::digest(certificate))),
            end: parsed.validity().not_after.timestamp(),
            is_front_proxy: false,
        })
    }

    /// The same, of a front proxy or not.
    #[must_use]
    pub fn of_front_proxy(self, is_front_proxy: bool) -> Self {
        Self { is_front_proxy, ..self }
    }

    /// The user that the certificate stands for, if it is not a front proxy's.
    pub fn user(&self) -> UserInfo {
        let mut user = UserInfo::authenticated(self.common_name.clone(), self.organizations.iter().cloned());
        if !self.credential.is_empty() {
            user.extra.insert(CREDENTIAL.to_owned(), vec![self.credential.clone()]);
        }
        user
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_identity_needs_group_and_name() {
        let check = |user: UserInfo, expected: Option<&str>| assert_eq!(user.node_name(), expected);
        check(UserInfo::node("a"), Some("a"));
        check(UserInfo::authenticated("bob", [NODES.to_owned()]), Some(""));
        check(UserInfo::authenticated("system:node:a", []), None);
    }

    #[test]
    fn service_account_users_carry_their_groups() {
        let user = UserInfo::service_account("ns", "sa");
        assert_eq!(user.name, "system:serviceaccount:ns:sa");
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]
        );
        assert_eq!(user.as_service_account(), Some(("ns", "sa")));
    }
}
