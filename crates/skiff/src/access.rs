//! Who may come in and who decides: the options that say so, as kube-apiserver's.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use skiff_apiserver::{
    Authentication, AuthenticationOptions, Authorization, AuthorizationOptions, OidcFlags, OidcOptions,
    WebhookOptions,
};

use crate::args::said::{Options, Said};

/// Time as Go writes it, e.g. `2m0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(Duration);

impl std::str::FromStr for Time {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let read = skiff_machinery::duration::parse(text)?;
        Ok(Self(Duration::try_from(read).map_err(|_| anyhow!("time: {text:?} is negative"))?))
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

/// `KEY=VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair(String, String);

impl std::str::FromStr for Pair {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (key, value) =
            text.split_once('=').with_context(|| format!("{text} must be formatted as key=value"))?;
        Ok(Self(key.to_owned(), value.to_owned()))
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.0, self.1)
    }
}

/// Who may come in, and who decides.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct AccessArgs {
    /// Take tokens of Secrets of the type bootstrap.kubernetes.io/token in kube-system; sign kube-public/cluster-info by them, and
    /// remove those whose time is over
    #[arg(long)]
    pub(crate) enable_bootstrap_token_auth: bool,
    /// Whether requests without credentials are those of system:anonymous, or refused
    #[arg(long, value_name = "true|false")]
    pub(crate) anonymous_auth: Option<bool>,
    /// AuthenticationConfiguration (apiserver.config.k8s.io/v1): issuers of tokens, and who may come without credentials; read
    /// again when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) authentication_config: Option<PathBuf>,
    /// Kubeconfig of a server that is asked whose tokens are (TokenReview)
    #[arg(long, value_name = "FILE")]
    pub(crate) authentication_token_webhook_config_file: Option<PathBuf>,
    /// Version of authentication.k8s.io in which it is asked
    #[arg(long, default_value = "v1beta1", value_name = "VERSION")]
    pub(crate) authentication_token_webhook_version: String,
    /// How long its answers hold
    #[arg(long, default_value = "2m0s", value_name = "DURATION")]
    pub(crate) authentication_token_webhook_cache_ttl: Time,
    #[command(flatten)]
    pub(crate) oidc: OidcArgs,
    /// AuthorizationConfiguration (apiserver.config.k8s.io/v1): who decides what users may do; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) authorization_config: Option<PathBuf>,
    /// Who decides what users may do, in this order: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny; when not given, Node,RBAC
    #[arg(long, value_delimiter = ',', value_name = "MODE,…")]
    pub(crate) authorization_mode: Vec<String>,
    /// Policies of the mode ABAC, a line of JSON each; read whenever the server starts
    #[arg(long, value_name = "FILE")]
    pub(crate) authorization_policy_file: Option<PathBuf>,
    /// Kubeconfig of a server that decides (SubjectAccessReview)
    #[arg(long, value_name = "FILE")]
    pub(crate) authorization_webhook_config_file: Option<PathBuf>,
    /// Version of authorization.k8s.io in which it is asked
    #[arg(long, default_value = "v1beta1", value_name = "VERSION")]
    pub(crate) authorization_webhook_version: String,
    /// How long its answers hold that allow something
    #[arg(long, default_value = "5m0s", value_name = "DURATION")]
    pub(crate) authorization_webhook_cache_authorized_ttl: Time,
    /// How long its other answers hold
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub(crate) authorization_webhook_cache_unauthorized_ttl: Time,
}

/// One issuer of tokens, as before there was a file for it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct OidcArgs {
    /// URL of an issuer of tokens (OpenID Connect); --authentication-config says more
    #[arg(long, default_value = "", hide_default_value = true, value_name = "URL")]
    pub(crate) oidc_issuer_url: String,
    /// The audience that its tokens must be for
    #[arg(long, default_value = "", hide_default_value = true, value_name = "ID")]
    pub(crate) oidc_client_id: String,
    /// Certificates of who signs the issuer's; when not given, whom the system trusts
    #[arg(long, value_name = "FILE")]
    pub(crate) oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name
    #[arg(long, default_value = "sub", value_name = "CLAIM")]
    pub(crate) oidc_username_claim: String,
    /// What comes before it; - is nothing, when not given the issuer and # for claims other than email
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    pub(crate) oidc_username_prefix: String,
    /// The claim that is the user's groups
    #[arg(long, default_value = "", hide_default_value = true, value_name = "CLAIM")]
    pub(crate) oidc_groups_claim: String,
    /// What comes before each
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PREFIX")]
    pub(crate) oidc_groups_prefix: String,
    /// A claim that tokens must have, with its value
    #[arg(long, value_delimiter = ',', value_name = "CLAIM=VALUE,…")]
    pub(crate) oidc_required_claim: Vec<Pair>,
    /// The algorithms of signatures that are taken
    #[arg(long, value_delimiter = ',', default_value = "RS256", value_name = "ALGORITHM,…")]
    pub(crate) oidc_signing_algs: Vec<String>,
}

impl AccessArgs {
    /// What they ask of authentication.
    pub(crate) fn authentication(&self) -> anyhow::Result<Authentication> {
        let options = AuthenticationOptions {
            bootstrap_tokens: self.enable_bootstrap_token_auth,
            anonymous: self.anonymous_auth,
            file: self.authentication_config.clone(),
            webhook: WebhookOptions {
                file: self.authentication_token_webhook_config_file.clone(),
                version: self.authentication_token_webhook_version.clone(),
                ttl: self.authentication_token_webhook_cache_ttl.0,
                unauthorized_ttl: Duration::ZERO,
            },
            oidc: self.oidc.options(),
        };
        Ok(options.read()?)
    }

    /// What they ask of authorisation.
    pub(crate) fn authorization(&self) -> anyhow::Result<Authorization> {
        let options = AuthorizationOptions {
            file: self.authorization_config.clone(),
            modes: self.authorization_mode.clone(),
            policies: self.authorization_policy_file.clone(),
            webhook: WebhookOptions {
                file: self.authorization_webhook_config_file.clone(),
                version: self.authorization_webhook_version.clone(),
                ttl: self.authorization_webhook_cache_authorized_ttl.0,
                unauthorized_ttl: self.authorization_webhook_cache_unauthorized_ttl.0,
            },
        };
        Ok(options.read()?)
    }

    /// Reads everything once.
    pub(crate) fn read(&self) -> anyhow::Result<(Authentication, Authorization)> {
        Ok((self.authentication()?, self.authorization()?))
    }
}

impl Options for AccessArgs {
    fn said(&self) -> Said {
        let modes = self.authorization_mode.join(",");
        let own = Said::default()
            .flag("enable_bootstrap_token_auth", self.enable_bootstrap_token_auth)
            .maybe("anonymous_auth", self.anonymous_auth)
            .file("authentication_config", self.authentication_config.as_ref())
            .file(
                "authentication_token_webhook_config_file",
                self.authentication_token_webhook_config_file.as_ref(),
            )
            .text(
                "authentication_token_webhook_version",
                &self.authentication_token_webhook_version,
                "v1beta1",
            )
            .text(
                "authentication_token_webhook_cache_ttl",
                self.authentication_token_webhook_cache_ttl,
                "120s",
            )
            .file("authorization_config", self.authorization_config.as_ref())
            .text("authorization_mode", modes, "")
            .file("authorization_policy_file", self.authorization_policy_file.as_ref())
            .file("authorization_webhook_config_file", self.authorization_webhook_config_file.as_ref())
            .text("authorization_webhook_version", &self.authorization_webhook_version, "v1beta1")
            .text(
                "authorization_webhook_cache_authorized_ttl",
                self.authorization_webhook_cache_authorized_ttl,
                "300s",
            )
            .text(
                "authorization_webhook_cache_unauthorized_ttl",
                self.authorization_webhook_cache_unauthorized_ttl,
                "30s",
            );
        own.and(self.oidc.said())
    }
}

impl Options for OidcArgs {
    fn said(&self) -> Said {
        let required: Vec<String> = self.oidc_required_claim.iter().map(ToString::to_string).collect();
        Said::default()
            .text("oidc_issuer_url", &self.oidc_issuer_url, "")
            .text("oidc_client_id", &self.oidc_client_id, "")
            .file("oidc_ca_file", self.oidc_ca_file.as_ref())
            .text("oidc_username_claim", &self.oidc_username_claim, "sub")
            .text("oidc_username_prefix", &self.oidc_username_prefix, "")
            .text("oidc_groups_claim", &self.oidc_groups_claim, "")
            .text("oidc_groups_prefix", &self.oidc_groups_prefix, "")
            .text("oidc_required_claim", required.join(","), "")
            .text("oidc_signing_algs", self.oidc_signing_algs.join(","), "RS256")
    }
}

impl OidcArgs {
    fn options(&self) -> OidcOptions {
        let required = self.oidc_required_claim.iter().map(|Pair(key, value)| (key.clone(), value.clone()));
        OidcOptions {
            authority: self.oidc_ca_file.clone(),
            flags: OidcFlags {
                issuer: self.oidc_issuer_url.clone(),
                client: self.oidc_client_id.clone(),
                authority: String::new(),
                username_claim: self.oidc_username_claim.clone(),
                username_prefix: self.oidc_username_prefix.clone(),
                groups_claim: self.oidc_groups_claim.clone(),
                groups_prefix: self.oidc_groups_prefix.clone(),
                required: required.collect(),
                algorithms: self.oidc_signing_algs.clone(),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        access: AccessArgs,
    }

    fn line(words: &str) -> AccessArgs {
        Line::try_parse_from(std::iter::once("x").chain(words.split_whitespace())).unwrap().access
    }

    #[test]
    fn what_is_asked_reaches_the_server() {
        let check = |words: &str| {
            let args = line(words);
            let again: Vec<String> =
                args.said().words().into_iter().map(|word| word.into_string().unwrap()).collect();
            assert_eq!(again.join(" "), words);
            assert_eq!(line(&again.join(" ")), args);
            assert_eq!(args.is_empty(), words.is_empty());
        };
        check("");
        check("--enable-bootstrap-token-auth --anonymous-auth=false");
        check("--authentication-config=/a.yaml --authorization-config=/b.yaml");
        check("--authentication-token-webhook-config-file=/a --authentication-token-webhook-version=v1");
        check("--authorization-mode=ABAC,RBAC --authorization-policy-file=/a");
        check("--authorization-mode=Node,RBAC,Webhook --authorization-webhook-config-file=/a");
        check(
            "--oidc-issuer-url=https://a --oidc-client-id=b --oidc-username-prefix=- --oidc-required-claim=a=b,c=d",
        );
        let args = line("--authorization-webhook-cache-authorized-ttl 1m30s");
        assert_eq!(args.said().words(), ["--authorization-webhook-cache-authorized-ttl=90s"]);
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let check = |words: &str, expected: &str| {
            let error = line(words).read().unwrap_err().to_string();
            assert!(error.contains(expected), "{words}: {error}");
        };
        assert!(line("").read().is_ok() && line("--authorization-mode RBAC").read().is_ok());
        check("--authentication-config /nowhere", "cannot read the authentication configuration /nowhere");
        check(
            "--authentication-config /a --oidc-issuer-url https://a --oidc-client-id b",
            "mutually exclusive",
        );
        check("--oidc-client-id b", "oidc-issuer-url and oidc-client-id must be specified together");
        check("--oidc-issuer-url http://a --oidc-client-id b", "URL scheme must be https");
        check(
            "--authorization-mode RBAC,RBAC",
            r#"authorization-mode "RBAC" has mode specified more than once"#,
        );
        check("--authorization-mode Odd", r#"authorization-mode "Odd" is not a valid mode"#);
        check("--authorization-mode ABAC", "authorization policy file not passed");
        check("--authorization-policy-file /a", "without mode ABAC");
        check(
            "--authorization-mode ABAC --authorization-policy-file /nowhere",
            "cannot read the authorization policy",
        );
        check("--authorization-mode Webhook", "authorization config file not passed");
        check("--authorization-webhook-config-file /a", "without mode Webhook");
        check(
            "--authorization-config /a --authorization-mode RBAC",
            "authorization-config can not be specified",
        );
        check(
            "--authentication-token-webhook-config-file /a --authentication-token-webhook-version v2",
            "supported versions are v1, v1beta1",
        );
    }
}
