//! A server that is asked, as the older options of kube-apiserver say it.

use std::path::PathBuf;
use std::time::Duration;

use super::error::{AccessError, options};

/// A server that is asked whose tokens are, or what their users may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookOptions {
    /// Its kubeconfig.
    pub file: Option<PathBuf>,
    /// In which version of `authentication.k8s.io` or `authorization.k8s.io` it is asked.
    pub version: String,
    /// How long an answer holds.
    pub ttl: Duration,
    /// How long an answer holds that allows nothing; only of authorisation.
    pub unauthorized_ttl: Duration,
}

impl WebhookOptions {
    /// Whether it can be asked so.
    pub(super) fn check(&self, option: &str, group: &str) -> Result<(), AccessError> {
        if self.file.is_some() && !matches!(&*self.version, "v1" | "v1beta1") {
            let version = &self.version;
            return Err(options(format!(
                "--{option}: unsupported {group} version {version:?}, supported versions are v1, v1beta1"
            )));
        }
        Ok(())
    }
}
