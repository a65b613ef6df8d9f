//! Who may come in and who decides, as options of kube-apiserver say it.

use std::path::PathBuf;

use skiff_auth::Anonymous;
use skiff_jwt::{Configuration, Flags};

use super::authorization::{self, Decider, Webhook};
use super::error::{AccessError, options};
use super::files;
use super::hook::WebhookOptions;

/// The options of authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthenticationOptions {
    /// `--enable-bootstrap-token-auth`
    pub bootstrap_tokens: bool,
    /// `--anonymous-auth`, if it is said.
    pub anonymous: Option<bool>,
    /// `--authentication-config`
    pub file: Option<PathBuf>,
    /// `--authentication-token-webhook-…`
    pub webhook: WebhookOptions,
    /// `--oidc-…`
    pub oidc: OidcOptions,
}

/// The options of one issuer of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OidcOptions {
    /// `--oidc-ca-file`
    pub authority: Option<PathBuf>,
    /// The rest.
    pub flags: Flags,
}

/// The options of authorisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationOptions {
    /// `--authorization-config`
    pub file: Option<PathBuf>,
    /// `--authorization-mode`; none: Node and RBAC.
    pub modes: Vec<String>,
    /// `--authorization-policy-file`
    pub policies: Option<PathBuf>,
    /// `--authorization-webhook-…`
    pub webhook: WebhookOptions,
}

/// What options of authentication come to.
#[derive(Clone, Debug, Default)]
pub struct Authentication {
    pub(super) bootstrap_tokens: bool,
    pub(super) anonymous: Option<bool>,
    pub(super) file: Option<PathBuf>,
    pub(super) oidc: Option<Flags>,
    pub(super) webhook: WebhookOptions,
}

impl Authentication {
    /// Whether there are tokens with which nodes join.
    pub fn has_bootstrap_tokens(&self) -> bool {
        self.bootstrap_tokens
    }
}

/// What options of authorisation come to.
#[derive(Clone, Debug, Default)]
pub struct Authorization {
    pub(super) deciders: Option<Vec<Decider>>,
    pub(super) file: Option<PathBuf>,
}

impl AuthenticationOptions {
    /// Reads the files once, so that what is wrong is told before anything starts.
    ///
    /// # Errors
    /// When one cannot be used, or something would be ignored.
    pub fn read(&self) -> Result<Authentication, AccessError> {
        let oidc = self.oidc.read()?;
        if let Some(file) = &self.file {
            if oidc.is_some() {
                return Err(options("authentication-config file and oidc-* flags are mutually exclusive"));
            }
            let configuration = files::authentication(file, &[])?;
            if configuration.anonymous.is_some() && self.anonymous.is_some() {
                let why = "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file";
                return Err(options(why));
            }
        }
        if let Some(flags) = &oidc {
            flags.configuration(&[]).map_err(options)?;
        }
        self.webhook.check("authentication-token-webhook-version", "authentication.k8s.io")?;
        Ok(Authentication {
            bootstrap_tokens: self.bootstrap_tokens,
            anonymous: self.anonymous,
            file: self.file.clone(),
            oidc,
            webhook: self.webhook.clone(),
        })
    }
}

impl OidcOptions {
    /// The flags with the authority that the file holds; none if there is no issuer.
    fn read(&self) -> Result<Option<Flags>, AccessError> {
        let Flags { issuer, client, username_prefix, groups_claim, groups_prefix, required, .. } =
            &self.flags;
        if issuer.is_empty() || client.is_empty() {
            let is_any = [issuer, client, username_prefix, groups_claim, groups_prefix]
                .iter()
                .any(|text| !text.is_empty())
                || !required.is_empty()
                || self.authority.is_some();
            let why =
                "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set";
            return if is_any { Err(options(why)) } else { Ok(None) };
        }
        let authority = match &self.authority {
            None => String::new(),
            Some(file) => std::fs::read_to_string(file).map_err(|source| AccessError::Unreadable {
                what: "the certificates of the issuer",
                file: file.clone(),
                source,
            })?,
        };
        Ok(Some(Flags { authority, ..self.flags.clone() }))
    }
}

impl Authentication {
    /// The issuers, and who may come without credentials.
    pub(super) fn configuration(&self, own: &[String]) -> Result<Configuration, AccessError> {
        if let Some(file) = &self.file {
            return files::authentication(file, own);
        }
        let flags = self.oidc.as_ref().map(|flags| flags.configuration(own)).transpose();
        Ok(flags.map_err(options)?.unwrap_or_default())
    }

    /// Who may come without credentials.
    pub(super) fn strangers(&self, configuration: &Configuration) -> Anonymous {
        match (&configuration.anonymous, self.anonymous) {
            (Some(said), _) if !said.enabled => Anonymous::Nowhere,
            (Some(said), _) if said.paths.is_empty() => Anonymous::Everywhere,
            (Some(said), _) => Anonymous::At(said.paths.clone()),
            (None, Some(false)) => Anonymous::Nowhere,
            (None, _) => Anonymous::Everywhere,
        }
    }
}

impl AuthorizationOptions {
    /// Reads the file once, so that what is wrong is told before anything starts.
    ///
    /// # Errors
    /// When it cannot be used, or something would be ignored.
    pub fn read(&self) -> Result<Authorization, AccessError> {
        if let Some(file) = &self.file {
            if !self.modes.is_empty() || self.webhook.file.is_some() || self.policies.is_some() {
                let why = "authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined";
                return Err(options(why));
            }
            files::authorization(file)?;
            return Ok(Authorization { deciders: None, file: Some(file.clone()) });
        }
        self.webhook.check("authorization-webhook-version", "authorization.k8s.io")?;
        if self.policies.is_some() && !self.modes.iter().any(|mode| mode == "ABAC") {
            return Err(options("cannot specify --authorization-policy-file without mode ABAC"));
        }
        if self.modes.is_empty() && self.webhook.file.is_none() {
            return Ok(Authorization::default());
        }
        let mut deciders = Vec::new();
        for (i, mode) in self.modes.iter().enumerate() {
            if self.modes[..i].contains(mode) {
                return Err(options(format!(
                    "authorization-mode {mode:?} has mode specified more than once"
                )));
            }
            deciders.push(self.decider(mode)?);
        }
        if self.webhook.file.is_some() && !self.modes.iter().any(|mode| mode == "Webhook") {
            return Err(options("cannot specify --authorization-webhook-config-file without mode Webhook"));
        }
        Ok(Authorization { deciders: Some(deciders), file: None })
    }

    fn decider(&self, mode: &str) -> Result<Decider, AccessError> {
        match mode {
            "Webhook" => {
                let Some(kubeconfig) = self.webhook.file.clone() else {
                    return Err(options("authorization-mode Webhook's authorization config file not passed"));
                };
                let webhook = Webhook::of_options(kubeconfig, &self.webhook);
                Ok(Decider::Webhook(webhook))
            }
            "ABAC" => {
                let Some(file) = &self.policies else {
                    return Err(options("authorization-mode ABAC's authorization policy file not passed"));
                };
                Ok(Decider::Abac(files::policies(file)?.into()))
            }
            other => authorization::plain(other)
                .ok_or_else(|| options(format!("authorization-mode {other:?} is not a valid mode"))),
        }
    }
}

impl Authorization {
    /// Who decides; none: Node and RBAC.
    pub(super) fn deciders(&self) -> Result<Option<Vec<Decider>>, AccessError> {
        match &self.file {
            Some(file) => files::authorization(file).map(Some),
            None => Ok(self.deciders.clone()),
        }
    }
}
