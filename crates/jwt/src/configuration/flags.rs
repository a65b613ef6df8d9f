//! One issuer as the older options of kube-apiserver name it.

use serde_json::Value;

use super::Configuration;
use crate::keys::ALGORITHMS;

/// What the options `--oidc-…` say, as an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--oidc-issuer-url`
    pub issuer: String,
    /// `--oidc-client-id`
    pub client: String,
    /// What `--oidc-ca-file` holds.
    pub authority: String,
    /// `--oidc-username-claim`
    pub username_claim: String,
    /// `--oidc-username-prefix`; `-` is none, and empty the issuer for claims other than `email`.
    pub username_prefix: String,
    /// `--oidc-groups-claim`
    pub groups_claim: String,
    /// `--oidc-groups-prefix`
    pub groups_prefix: String,
    /// `--oidc-required-claim`
    pub required: Vec<(String, String)>,
    /// `--oidc-signing-algs`
    pub algorithms: Vec<String>,
}

impl Flags {
    /// As the file has it.
    ///
    /// # Errors
    /// What is wrong, in Kubernetes' words.
    pub fn configuration(&self, own: &[String]) -> Result<Configuration, String> {
        for algorithm in &self.algorithms {
            if !ALGORITHMS.contains(&algorithm.as_str()) {
                return Err(format!("oidc: unsupported signing alg: {algorithm:?}"));
            }
        }
        let prefix = match (&*self.username_prefix, &*self.username_claim) {
            ("-", _) | ("", "email") => "",
            ("", _) => &format!("{}#", self.issuer),
            (prefix, _) => prefix,
        };
        let mut mappings = serde_json::json!({"username": {"claim": self.username_claim, "prefix": prefix}});
        if !self.groups_claim.is_empty() {
            mappings["groups"] =
                serde_json::json!({"claim": self.groups_claim, "prefix": self.groups_prefix});
        }
        let rules: Vec<Value> = self
            .required
            .iter()
            .map(|(claim, value)| serde_json::json!({"claim": claim, "requiredValue": value}))
            .collect();
        let issuer = serde_json::json!({
            "url": self.issuer, "audiences": [self.client], "certificateAuthority": self.authority,
        });
        let file = serde_json::json!({
            "jwt": [{"issuer": issuer, "claimMappings": mappings, "claimValidationRules": rules}],
        });
        let mut read = Configuration::read(&file, own)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        for issuer in &mut read.issuers {
            issuer.algorithms.clone_from(&self.algorithms);
        }
        Ok(read)
    }
}
