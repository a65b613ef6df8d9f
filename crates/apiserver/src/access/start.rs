//! What options come to, started.

use std::sync::Arc;

use skiff_auth::{Access, Auth, Authorizer, SecretUse, Tokens};
use skiff_exposition::{Kind, Text};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::authorization::Decider;
use super::error::AccessError;
use super::issuers::Issuers;
use super::options::{Authentication, Authorization};
use super::reload::on_change;
use super::token_webhook::TokenWebhook;
use super::uses::WAITING;
use super::webhook::WebhookAuthorizer;
use crate::webhooks::kubeconfig::server_of;
use crate::webhooks::outgoing::Outgoing;

/// What was started, to be followed.
pub(crate) struct Started {
    pub(crate) access: Access,
    /// Uses of tokens in Secrets, to be noted.
    pub(crate) uses: mpsc::Receiver<SecretUse>,
    issuers: Arc<Issuers>,
    outgoing: Arc<Outgoing>,
    authentication: Authentication,
    authorization: Authorization,
    own: Vec<String>,
}

/// Reads everything, and asks issuers for their keys. `own` is the issuer of ServiceAccounts' tokens.
///
/// # Errors
/// When a file cannot be used.
pub(crate) async fn start(
    authentication: Authentication,
    authorization: Authorization,
    own: &str,
    outgoing: Arc<Outgoing>,
) -> Result<Started, AccessError> {
    let own = vec![own.to_owned()];
    let configuration = authentication.configuration(&own)?;
    let anonymous = authentication.strangers(&configuration);
    let issuers = Arc::new(Issuers::new(outgoing.clone()));
    issuers.set(configuration.issuers);
    let mut tokens: Vec<Arc<dyn Tokens>> = vec![issuers.clone()];
    let webhook = &authentication.webhook;
    if let Some(file) = &webhook.file {
        let server = server_of("the authentication token webhook configuration", file, &outgoing);
        let server = server.map_err(AccessError::Options)?;
        tokens.push(Arc::new(TokenWebhook::new(server, webhook.version.clone(), webhook.ttl)));
    }
    let (told, uses) = mpsc::channel(WAITING);
    let mut access = Access {
        bootstrap_tokens: authentication.bootstrap_tokens,
        tokens,
        anonymous,
        uses: Some(told),
        ..Access::default()
    };
    if let Some(deciders) = authorization.deciders()? {
        access.authorizers = authorizers(deciders, &outgoing)?;
    }
    Ok(Started { access, uses, issuers, outgoing, authentication, authorization, own })
}

fn authorizers(deciders: Vec<Decider>, outgoing: &Arc<Outgoing>) -> Result<Vec<Authorizer>, AccessError> {
    let mut authorizers = Vec::with_capacity(deciders.len());
    for decider in deciders {
        authorizers.push(match decider {
            Decider::Node => Authorizer::Node,
            Decider::Rbac => Authorizer::Rbac,
            Decider::Abac(policies) => Authorizer::Abac(policies),
            Decider::AlwaysAllow => Authorizer::AlwaysAllow,
            Decider::AlwaysDeny => Authorizer::AlwaysDeny,
            Decider::Webhook(webhook) => {
                let what = "the authorization webhook configuration";
                let server = server_of(what, &webhook.kubeconfig, outgoing).map_err(AccessError::Options)?;
                Authorizer::Other(Arc::new(WebhookAuthorizer::new(server, webhook)))
            }
        });
    }
    Ok(authorizers)
}

/// Follows the files until the shutdown: what they say from now on counts, if it can be used. How often that was is told.
pub(crate) fn follow(
    started: Followed,
    auth: &Auth,
    told: &watch::Sender<Reloads>,
    shutdown: &CancellationToken,
) {
    let Followed { issuers, outgoing, authentication, authorization, own } = started;
    if let Some(file) = authentication.file.clone() {
        let (auth, told) = (auth.clone(), told.clone());
        tokio::spawn(on_change(file, shutdown.clone(), move || {
            let read = authentication.configuration(&own).map(|configuration| {
                auth.set_anonymous(authentication.strangers(&configuration));
                issuers.set(configuration.issuers);
            });
            told.send_modify(|reloads| reloads.authentication.count(&read));
        }));
    }
    if let Some(file) = authorization.file.clone() {
        let (auth, told) = (auth.clone(), told.clone());
        tokio::spawn(on_change(file, shutdown.clone(), move || {
            let read = authorization.deciders();
            let read = read.and_then(|deciders| authorizers(deciders.unwrap_or_default(), &outgoing));
            let read = read.map(|authorizers| auth.set_authorizers(authorizers));
            told.send_modify(|reloads| reloads.authorization.count(&read));
        }));
    }
}

/// How often files were read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Of the authentication configuration.
    pub authentication: Outcomes,
    /// Of the authorization configuration.
    pub authorization: Outcomes,
}

/// How often something went well, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Well.
    pub success: u64,
    /// Not.
    pub failure: u64,
}

impl Outcomes {
    fn count(&mut self, read: &Result<(), AccessError>) {
        match read {
            Ok(()) => self.success += 1,
            Err(error) => {
                self.failure += 1;
                let error: &dyn std::error::Error = error;
                tracing::error!(error, "a changed file cannot be used; what it said before counts");
            }
        }
    }
}

impl Reloads {
    /// What `/metrics` says of it.
    pub(crate) fn metrics(&self) -> String {
        let mut text = Text::default();
        for (what, outcomes) in
            [("authentication", self.authentication), ("authorization", self.authorization)]
        {
            let name = format!("apiserver_{what}_config_controller_automatic_reloads_total");
            let family = (&*name, Kind::Counter, "How often the file was read again.");
            let counts = [("failure", outcomes.failure), ("success", outcomes.success)];
            text.family(family, counts.map(|(status, number)| ([("status", status)], number)));
        }
        text.into_string()
    }
}

/// What is followed.
pub(crate) struct Followed {
    issuers: Arc<Issuers>,
    outgoing: Arc<Outgoing>,
    authentication: Authentication,
    authorization: Authorization,
    own: Vec<String>,
}

impl Started {
    /// Its parts: what authentication and authorisation ask, what is to be noted, and what is to be followed.
    pub(crate) fn into_parts(self) -> (Access, mpsc::Receiver<SecretUse>, Followed) {
        let Self { access, uses, issuers, outgoing, authentication, authorization, own } = self;
        (access, uses, Followed { issuers, outgoing, authentication, authorization, own })
    }
}
