//! What options come to, started.

use std::sync::Arc;

use skiff_auth::{Access, Auth, Authorizer, SecretUse, Tokens};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::authorization::{Connection, Decider};
use super::issuers::Issuers;
use super::options::{AccessError, Authentication, Authorization};
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
    let issuers = Arc::new(Issuers::new(outgoing));
    issuers.set(configuration.issuers);
    let mut tokens: Vec<Arc<dyn Tokens>> = vec![issuers.clone()];
    let webhook = &authentication.webhook;
    if let Some(file) = &webhook.file {
        let server = server_of("the authentication token webhook configuration", file).await;
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
        access.authorizers = authorizers(deciders).await?;
    }
    Ok(Started { access, uses, issuers, authentication, authorization, own })
}

async fn authorizers(deciders: Vec<Decider>) -> Result<Vec<Authorizer>, AccessError> {
    let mut authorizers = Vec::with_capacity(deciders.len());
    for decider in deciders {
        authorizers.push(match decider {
            Decider::Node => Authorizer::Node,
            Decider::Rbac => Authorizer::Rbac,
            Decider::AlwaysAllow => Authorizer::AlwaysAllow,
            Decider::AlwaysDeny => Authorizer::AlwaysDeny,
            Decider::Webhook(webhook) => {
                let Connection::Kubeconfig(file) = &webhook.kubeconfig;
                let server = server_of("the authorization webhook configuration", file).await;
                let server = server.map_err(AccessError::Options)?;
                Authorizer::Other(Arc::new(WebhookAuthorizer::new(server, webhook)))
            }
        });
    }
    Ok(authorizers)
}

/// Follows the files until the shutdown: what they say from now on counts, if it can be used.
pub(crate) fn follow(started: Followed, auth: &Auth, shutdown: &CancellationToken) {
    let Followed { issuers, authentication, authorization, own } = started;
    if let Some(file) = authentication.file.clone() {
        let (auth, shutdown) = (auth.clone(), shutdown.clone());
        tokio::spawn(on_change(file, shutdown, move || match authentication.configuration(&own) {
            Ok(configuration) => {
                auth.set_anonymous(authentication.strangers(&configuration));
                issuers.set(configuration.issuers);
                tracing::info!("the authentication configuration was read again");
            }
            Err(error) => refused(&error),
        }));
    }
    if let Some(file) = authorization.file.clone() {
        let (auth, shutdown) = (auth.clone(), shutdown.clone());
        tokio::spawn(on_change(file, shutdown, move || {
            let (auth, authorization) = (auth.clone(), authorization.clone());
            tokio::spawn(async move {
                let deciders = match authorization.deciders() {
                    Ok(deciders) => deciders.unwrap_or_default(),
                    Err(error) => return refused(&error),
                };
                match authorizers(deciders).await {
                    Ok(authorizers) => {
                        auth.set_authorizers(authorizers);
                        tracing::info!("the authorization configuration was read again");
                    }
                    Err(error) => refused(&error),
                }
            });
        }));
    }
}

fn refused(error: &AccessError) {
    tracing::error!(error = error as &dyn std::error::Error, "a changed file cannot be used; what it said before counts");
}

/// What is followed.
pub(crate) struct Followed {
    issuers: Arc<Issuers>,
    authentication: Authentication,
    authorization: Authorization,
    own: Vec<String>,
}

impl Started {
    /// Its parts: what authentication and authorisation ask, what is to be noted, and what is to be followed.
    pub(crate) fn into_parts(self) -> (Access, mpsc::Receiver<SecretUse>, Followed) {
        let Self { access, uses, issuers, authentication, authorization, own } = self;
        (access, uses, Followed { issuers, authentication, authorization, own })
    }
}
