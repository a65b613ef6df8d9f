//! Who is asking, and whether they may: authentication, authorisation and the admission checks that
//! depend on the caller.
//!
//! - Authentication: client certificates, front proxies that vouch for others (`X-Remote-…`), ServiceAccount
//!   tokens (verified against the live objects that they are bound to), what others know of a token ([`Tokens`]), else
//!   `system:anonymous`; then impersonation.
//! - Authorisation: members of `system:masters` may do everything; then authorisers in the order in which they are configured
//!   ([`Authorizer`]), if nothing is said the node authoriser, then RBAC. Both decide on models kept current by a watch, and never refuse from an old one (see [`View`]).
//! - Admission: node restriction, and the rule that nobody grants more than they hold.
//!
//! **Invariant:** nothing turns any of this off but the authoriser `AlwaysAllow`, for whoever configures that.

mod abac;
mod access;
mod attributes;
mod authenticate;
mod bootstrap;
mod chain;
pub mod front_proxy;
mod impersonate;
mod live;
mod node;
pub mod rbac;
mod reviews;
mod service_account;
mod token;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Value, json};
use skiff_machinery::{Namespace, Object};
use skiff_pki::{Pki, VerifyingKey};
use skiff_store::{ReadError, Store, View};

pub use abac::Policies;
pub use access::{Access, Anonymous, Authorize, Authorizer, Identified, SecretUse, TokenUser, Tokens};
pub use attributes::{Attributes, Decision, Refusal};
pub use authenticate::AuthnError;
#[cfg(debug_assertions)]
pub use authenticate::bearer_token;
pub use authenticate::strip_credentials;
pub use rbac::Rule;
pub use service_account::{INVALID_SINCE, LAST_USED};

use node::NodeGraph;
use rbac::Policy;
use token::TokenCache;

/// What tokens say about their issuer, and where verifiers find its keys.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `iss` of every token, and the audience of tokens for the API server.
    pub url: String,
    /// Where the public keys are served.
    pub jwks_uri: String,
}

impl Issuer {
    /// The issuer of a cluster with this DNS zone, whose API server is at this address.
    pub fn new(domain: &str, address: IpAddr, port: u16) -> Self {
        Self {
            url: format!("https://kubernetes.default.svc.{domain}"),
            jwks_uri: format!("https://{}/openid/v1/jwks", SocketAddr::new(address, port)),
        }
    }
}

/// Authentication and authorisation of one API server. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    pki: Arc<Pki>,
    issuer: Issuer,
    policy: View<Policy>,
    graph: View<NodeGraph>,
    node_rules: Vec<Rule>,
    tokens: TokenCache,
    access: Access,
    anonymous: RwLock<Anonymous>,
    authorizers: RwLock<Arc<Vec<Authorizer>>>,
}

impl Auth {
    /// Reads roles, bindings and pods, and follows them from then on. The following ends when the last
    /// clone is dropped or the store closes.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn start(
        store: Arc<dyn Store>,
        pki: Arc<Pki>,
        issuer: Issuer,
        access: Access,
    ) -> Result<Self, ReadError> {
        let policy = View::start(Arc::clone(&store), Policy::default()).await?;
        let graph = View::start(Arc::clone(&store), NodeGraph::default()).await?;
        let node_rules = rbac::defaults::node_rules();
        let tokens = TokenCache::default();
        let anonymous = RwLock::new(access.anonymous.clone());
        let authorizers = RwLock::new(Arc::new(access.authorizers.clone()));
        Ok(Self(Arc::new(Inner {
            store,
            pki,
            issuer,
            policy,
            graph,
            node_rules,
            tokens,
            access,
            anonymous,
            authorizers,
        })))
    }

    /// Lets others in without credentials from now on.
    pub fn set_anonymous(&self, anonymous: Anonymous) {
        *self.0.anonymous.write() = anonymous;
    }

    /// The checks on a write that depend on who makes it: node restriction and privilege escalation. `new`
    /// is absent for deletions, `old` for creations; for `serviceaccounts/token` `new` is the TokenRequest,
    /// for other subresources both are the object itself.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], or [`Refusal::NotFound`] for a binding to a role, or for a pod of a node, that does not exist.
    pub async fn admit(
        &self,
        attributes: &Attributes<'_>,
        new: Option<&Object>,
        old: Option<&Object>,
    ) -> Result<(), Refusal> {
        let own_node = self.own_node(attributes).await?;
        let is_here = |one: &Authorizer| matches!(one, Authorizer::Node | Authorizer::Rbac);
        let others = !self.authorizers().iter().all(is_here);
        let granted = others && rbac::granted(self, attributes, new).await;
        let admit = || {
            let policy = self.0.policy.read();
            let allowed = |asked: &Attributes<'_>| {
                granted || matches!(policy.evaluate(asked), rbac::Verdict::Allowed(_))
            };
            let graph = self.0.graph.read();
            let known = node::Known { graph: &graph, own_node: own_node.as_deref(), allowed: &allowed };
            node::admit(known, attributes, new, old)?;
            rbac::admit(&policy, &allowed, attributes, new, old)
        };
        if admit().is_ok() {
            return Ok(());
        }
        self.catch_up().await;
        admit()
    }

    /// The public keys, as served at `/openid/v1/jwks`.
    pub fn jwks(&self) -> Value {
        let keys = self.0.pki.token_keys();
        json!({"keys": keys.verifying().map(VerifyingKey::jwk).collect::<Vec<_>>()})
    }

    /// What is served at `/.well-known/openid-configuration`.
    pub fn openid_configuration(&self) -> Value {
        json!({
            "issuer": self.0.issuer.url,
            "jwks_uri": self.0.issuer.jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The UID of the Node whose agent makes a request, where that is what it is checked against and there is one.
    async fn own_node(&self, attributes: &Attributes<'_>) -> Result<Option<String>, Refusal> {
        let Some(name) = node::needs_own_node(attributes) else { return Ok(None) };
        let node = live::read(&*self.0.store, "nodes", Namespace::NONE, name).await?;
        Ok(node.map(|node| node.metadata.uid))
    }

    /// Waits until the models reflect everything that has been written.
    async fn catch_up(&self) {
        let newest = self.0.store.revision();
        self.0.policy.catch_up(newest).await;
        self.0.graph.catch_up(newest).await;
    }
}

#[cfg(test)]
mod tests;
