//! What the API server is given: admission, auditing and encryption, as options of kube-apiserver say it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skiff_apiserver::{AuditConfig, AuditOptions, PluginConfiguration, PluginNames, Plugins};

use super::said::{Options, Said};

/// What is asked before something is written, as options of kube-apiserver say it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct AdmissionArgs {
    /// Admission plugins that are off by default and are to be on: DenyServiceExternalIPs; errors name all plugins
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PLUGIN,…")]
    pub(crate) enable_admission_plugins: PluginNames,
    /// Admission plugins that are on by default and are to be off, e.g. DefaultTolerationSeconds
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PLUGIN,…")]
    pub(crate) disable_admission_plugins: PluginNames,
    /// AdmissionConfiguration (apiserver.config.k8s.io/v1) for PodSecurity, ResourceQuota and webhooks; read whenever the server starts
    #[arg(long, value_name = "FILE")]
    pub(crate) admission_control_config_file: Option<PathBuf>,
}

impl AdmissionArgs {
    /// The plugins that these options ask for.
    pub(crate) fn plugins(&self) -> anyhow::Result<Plugins> {
        let configuration = match &self.admission_control_config_file {
            Some(file) => PluginConfiguration::read(file)?,
            None => PluginConfiguration::default(),
        };
        Ok(Plugins::new(&self.enable_admission_plugins, &self.disable_admission_plugins, configuration)?)
    }
}

impl Options for AdmissionArgs {
    fn said(&self) -> Said {
        Said::default()
            .text("enable_admission_plugins", &self.enable_admission_plugins, "")
            .text("disable_admission_plugins", &self.disable_admission_plugins, "")
            .file("admission_control_config_file", self.admission_control_config_file.as_ref())
    }
}

/// Which requests are written down, and where, as options of kube-apiserver say it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct AuditArgs {
    /// Policy (audit.k8s.io/v1) that says which requests are written down, and how much of them; read whenever the server starts
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_policy_file: Option<PathBuf>,
    /// File that requests are written to, as a line of JSON for each event; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// After so many days a full file is removed; 0: never
    #[arg(long, default_value_t = 0, value_name = "DAYS")]
    pub(crate) audit_log_maxage: u32,
    /// So many full files are kept; 0: all
    #[arg(long, default_value_t = 0, value_name = "FILES")]
    pub(crate) audit_log_maxbackup: u32,
    /// At so many megabytes a file is full
    #[arg(long, default_value_t = 100, value_name = "MEGABYTES")]
    pub(crate) audit_log_maxsize: u32,
    /// Kubeconfig of a server that events are sent to
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_webhook_config_file: Option<PathBuf>,
    /// How many seconds events are gathered for it
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) audit_webhook_batch_max_wait: u32,
}

impl AuditArgs {
    /// What they ask for.
    pub(crate) fn read(&self) -> anyhow::Result<Option<AuditConfig>> {
        let options = AuditOptions {
            policy: self.audit_policy_file.clone(),
            log: self.audit_log_path.clone(),
            days: self.audit_log_maxage,
            backups: self.audit_log_maxbackup,
            megabytes: self.audit_log_maxsize,
            webhook: self.audit_webhook_config_file.clone(),
            wait: Duration::from_secs(self.audit_webhook_batch_max_wait.into()),
        };
        Ok(options.read()?)
    }
}

impl Options for AuditArgs {
    fn said(&self) -> Said {
        Said::default()
            .file("audit_policy_file", self.audit_policy_file.as_ref())
            .file("audit_log_path", self.audit_log_path.as_ref())
            .text("audit_log_maxage", self.audit_log_maxage, "0")
            .text("audit_log_maxbackup", self.audit_log_maxbackup, "0")
            .text("audit_log_maxsize", self.audit_log_maxsize, "100")
            .file("audit_webhook_config_file", self.audit_webhook_config_file.as_ref())
            .text("audit_webhook_batch_max_wait", self.audit_webhook_batch_max_wait, "30")
    }
}

/// How what is stored is encrypted, as options of kube-apiserver say it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct EncryptionArgs {
    /// EncryptionConfiguration (apiserver.config.k8s.io/v1) that says which resources are encrypted on disk, and with which keys
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_provider_config: Option<PathBuf>,
    /// Read that file again whenever it changes
    #[arg(long)]
    pub(crate) encryption_provider_config_automatic_reload: bool,
}

impl Options for EncryptionArgs {
    fn said(&self) -> Said {
        Said::default().file("encryption_provider_config", self.encryption_provider_config.as_ref()).flag(
            "encryption_provider_config_automatic_reload",
            self.encryption_provider_config_automatic_reload,
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::path;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        admission: AdmissionArgs,
        #[command(flatten)]
        audit: AuditArgs,
        #[command(flatten)]
        encryption: EncryptionArgs,
    }

    fn line(words: &str) -> Line {
        Line::try_parse_from(std::iter::once("x").chain(words.split_whitespace())).unwrap()
    }

    fn check(options: &dyn Options, expected: &[&str]) {
        let words: Vec<String> =
            options.said().words().into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(words, expected);
    }

    /// An option with a file of the current directory.
    fn here(option: &str, file: &str) -> String {
        format!("--{option}={}", path::absolute(file).unwrap().display())
    }

    #[test]
    fn what_is_asked_of_admission_reaches_the_server() {
        let words = "--admission-control-config-file a.yaml --disable-admission-plugins Priority,LimitRanger";
        let args = line(words).admission;
        let file = here("admission-control-config-file", "a.yaml");
        check(&args, &["--disable-admission-plugins=LimitRanger,Priority", &file]);
        let error = args.plugins().unwrap_err();
        assert_eq!(error.to_string(), "cannot read the admission control configuration a.yaml");
    }

    #[test]
    fn what_is_asked_of_auditing_reaches_the_server() {
        let args = line("--audit-policy-file p.yaml --audit-log-path - --audit-log-maxsize 5").audit;
        let file = here("audit-policy-file", "p.yaml");
        check(&args, &[&file, "--audit-log-path=-", "--audit-log-maxsize=5"]);
        assert_eq!(args.read().unwrap_err().to_string(), "cannot read the audit policy p.yaml");
    }

    #[test]
    fn what_is_asked_of_encryption_reaches_the_server() {
        let words = "--encryption-provider-config e.yaml --encryption-provider-config-automatic-reload";
        let args = line(words).encryption;
        let file = here("encryption-provider-config", "e.yaml");
        check(&args, &[&file, "--encryption-provider-config-automatic-reload"]);
        let error = args.read().unwrap_err().to_string();
        assert_eq!(error, "error opening encryption provider configuration file \"e.yaml\"");
    }

    #[test]
    fn who_says_nothing_hands_nothing_on() {
        let Line { admission, audit, encryption } = line("");
        let all: [&dyn Options; 3] = [&admission, &audit, &encryption];
        all.into_iter().for_each(|options| check(options, &[]));
        assert!(all.into_iter().all(|options| options.is_empty()));
    }
}
