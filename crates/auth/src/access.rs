//! What an API server may have beside what every cluster has: others who tell whose a token is and who may do what.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use skiff_identity::UserInfo;
use tokio::sync::mpsc;

use super::{Attributes, Decision, Policies};

/// Who may come in, and who decides.
#[derive(Clone)]
pub struct Access {
    /// Whether tokens in Secrets of the type `bootstrap.kubernetes.io/token` are taken.
    pub bootstrap_tokens: bool,
    /// Asked in this order whose a token is that is not the cluster's own.
    pub tokens: Vec<Arc<dyn Tokens>>,
    /// Who may come without credentials.
    pub anonymous: Anonymous,
    /// Asked in this order whether a request may go on.
    pub authorizers: Vec<Authorizer>,
    /// Told of every use of a token in a Secret that is to be noted there.
    pub uses: Option<mpsc::Sender<SecretUse>>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            bootstrap_tokens: false,
            tokens: Vec::new(),
            anonymous: Anonymous::Everywhere,
            authorizers: vec![Authorizer::Node, Authorizer::Rbac],
            uses: None,
        }
    }
}

/// Tells whose tokens are.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Whose a token is that is to be for one of `audiences`; none if others may know.
    ///
    /// # Errors
    /// Why it proves nothing, though it seems to be for this one to tell.
    async fn user(&self, token: &str, audiences: &[String]) -> Result<Option<TokenUser>, String>;
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUser {
    /// The user.
    pub user: UserInfo,
    /// Of the audiences that were asked for those that it is for; none if that is not known.
    pub audiences: Option<Vec<String>>,
}

/// Where one may come without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nowhere.
    Nowhere,
    /// Wherever authorisation lets `system:anonymous`.
    Everywhere,
    /// At these paths alone.
    At(BTreeSet<String>),
}

impl Anonymous {
    pub(super) fn allows(&self, path: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::At(paths) => paths.contains(path),
        }
    }
}

/// Decides whether requests may go on.
#[derive(Clone)]
pub enum Authorizer {
    /// What agents may do on behalf of their own pods.
    Node,
    /// Roles and bindings.
    Rbac,
    /// Policies of a file.
    Abac(Arc<Policies>),
    /// Allows everything.
    AlwaysAllow,
    /// Allows nothing, but forbids nothing that others allow.
    AlwaysDeny,
    /// One that is somewhere else.
    Other(Arc<dyn Authorize>),
}

/// Decides somewhere else.
#[async_trait]
pub trait Authorize: Send + Sync {
    /// Whether a request may go on.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// Why it cannot tell all that somebody may do.
    fn without_rules(&self) -> &'static str;
}

/// Who makes a request, by its credentials, and what is to be said of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identified {
    /// The user.
    pub user: UserInfo,
    /// The audiences that its token is for, of those that were asked for.
    pub audiences: Vec<String>,
    /// What the client is warned of.
    pub warnings: Vec<String>,
    /// What is written down with the request.
    pub annotations: Vec<(&'static str, String)>,
}

impl From<UserInfo> for Identified {
    fn from(user: UserInfo) -> Self {
        Self { user, ..Self::default() }
    }
}

/// A token in a Secret was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// Where the Secret is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The day, as the label has it.
    pub day: String,
}
