//! What is written down and where, as options of kube-apiserver say it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skiff_audit::{Policy, SCHEMA};
use skiff_registry::configuration::{Kind, decode, read_text};
use skiff_schema::Schema;
use thiserror::Error;

const POLICY: Kind = Kind { definition: "io.k8s.audit.Policy", names: &[("audit.k8s.io/v1", "Policy")] };

/// The options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditOptions {
    /// The file of the policy.
    pub policy: Option<PathBuf>,
    /// The file of the events; `-` is standard output.
    pub log: Option<PathBuf>,
    /// When a full file goes, in days; 0: never.
    pub days: u32,
    /// How many full files stay; 0: all.
    pub backups: u32,
    /// When a file is full, in megabytes.
    pub megabytes: u32,
    /// The kubeconfig of a server that events are sent to.
    pub webhook: Option<PathBuf>,
    /// How long events are gathered for it.
    pub wait: Duration,
}

/// What they come to.
#[derive(Clone, Debug)]
pub struct AuditConfig {
    pub(super) policy: Policy,
    pub(super) log: Option<LogConfig>,
    pub(super) webhook: Option<WebhookConfig>,
}

/// A file of events, and what becomes of it when it is full.
#[derive(Clone, Debug)]
pub(super) struct LogConfig {
    /// None: standard output.
    pub(super) path: Option<PathBuf>,
    pub(super) days: u32,
    pub(super) backups: u32,
    pub(super) bytes: u64,
}

/// A server that takes events.
#[derive(Clone, Debug)]
pub(super) struct WebhookConfig {
    pub(super) kubeconfig: PathBuf,
    pub(super) wait: Duration,
}

/// Nothing can be written down as is asked for.
#[derive(Debug, Error)]
pub enum AuditError {
    /// Of policy and place there is only one.
    #[error("{0}")]
    Alone(&'static str),
    /// The policy cannot be read.
    #[error("cannot read the audit policy {}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The policy does not say what it should.
    #[error("{}: {why}", file.display())]
    Wrong {
        /// Which.
        file: PathBuf,
        /// What is wrong, by field.
        why: String,
    },
    /// The log cannot be written.
    #[error("cannot write the audit log {}", file.display())]
    Log {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kubeconfig of the webhook cannot be used.
    #[error("the audit webhook configuration {}: {why}", file.display())]
    Webhook {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

impl AuditOptions {
    /// Reads the files; none if nothing is to be written down.
    ///
    /// # Errors
    /// When one cannot be read, or something would be ignored.
    pub fn read(&self) -> Result<Option<AuditConfig>, AuditError> {
        let is_somewhere = self.log.is_some() || self.webhook.is_some();
        let Some(file) = &self.policy else {
            let why = "without --audit-policy-file no request would be written down";
            return if is_somewhere { Err(AuditError::Alone(why)) } else { Ok(None) };
        };
        if !is_somewhere {
            let why = "with --audit-policy-file, --audit-log-path or --audit-webhook-config-file says where requests are written down";
            return Err(AuditError::Alone(why));
        }
        let text = std::fs::read(file);
        let text = text.map_err(|source| AuditError::Unreadable { file: file.clone(), source })?;
        let log = self.log.as_ref().map(|path| LogConfig {
            path: Some(path.clone()).filter(|path| path != Path::new("-")),
            days: self.days,
            backups: self.backups,
            bytes: u64::from(self.megabytes) * 1024 * 1024,
        });
        let webhook = self.webhook.clone().map(|kubeconfig| WebhookConfig { kubeconfig, wait: self.wait });
        Ok(Some(AuditConfig { policy: policy(&text).map_err(|why| wrong(file, why))?, log, webhook }))
    }
}

fn wrong(file: &Path, why: String) -> AuditError {
    AuditError::Wrong { file: file.to_owned(), why }
}

fn policy(text: &[u8]) -> Result<Policy, String> {
    let schema = Arc::new(Schema::of_table(SCHEMA));
    let read = decode(&read_text(text)?, &POLICY, &schema)?;
    Policy::read(&read).map_err(|errors| errors.listed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_strictly() {
        let check = |text: &str, expected: &str| {
            let why = policy(text.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        assert!(policy(format!("{head}rules: [{{level: Metadata}}]").as_bytes()).is_ok());
        check("kind: Policy", "apiVersion: Required value: Policy of audit.k8s.io/v1 is expected");
        check("apiVersion: audit.k8s.io/v1beta1\nkind: Policy", "no kind \"Policy\" is registered");
        check(&format!("{head}rules: [{{level: Metadata, user: x}}]"), r#"unknown field "rules[0].user""#);
        check(&format!("{head}rules: [{{level: All}}]"), "rules[0].level: Unsupported value");
        check(head, "loaded illegal policy with 0 rules");
    }

    #[test]
    fn nothing_is_ignored() {
        let file = Some(PathBuf::from("/nowhere"));
        let read = |options: AuditOptions| {
            options.read().map(|config| config.is_some()).map_err(|error| error.to_string())
        };
        assert_eq!(read(AuditOptions::default()), Ok(false));
        let log = AuditOptions { log: file.clone(), ..AuditOptions::default() };
        assert!(read(log).unwrap_err().contains("--audit-policy-file"));
        let policy = AuditOptions { policy: file.clone(), ..AuditOptions::default() };
        assert!(read(policy).unwrap_err().contains("--audit-log-path"));
        let both = AuditOptions { policy: file.clone(), log: file, ..AuditOptions::default() };
        assert_eq!(read(both), Err("cannot read the audit policy /nowhere".to_owned()));
    }
}
