//! What a namespace asks for in its labels.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use crate::level::{Level, LevelVersion, Version};

/// The prefix of all labels, and of the annotations in audit logs.
pub(crate) const PREFIX: &str = "pod-security.kubernetes.io/";

/// The three modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Pods that violate it are refused.
    pub enforce: LevelVersion,
    /// Violations are told in the audit log.
    pub audit: LevelVersion,
    /// Violations are told to the client.
    pub warn: LevelVersion,
}

impl Default for Policy {
    /// Privileged in all modes, as without a configuration file.
    fn default() -> Self {
        let all = LevelVersion::PRIVILEGED;
        Self { enforce: all, audit: all, warn: all }
    }
}

impl Policy {
    /// What labels (`metadata.labels` of a Namespace) ask for, with defaults for what they leave out. There is
    /// always a policy: what cannot be read is restricted for enforce, privileged for the other modes, and
    /// `latest`; the errors say why.
    pub fn from_labels(labels: &Value, defaults: &Self) -> (Self, FieldErrors) {
        let mut reader = Reader { labels, errors: FieldErrors::new() };
        let (mut policy, mut enforce_is_read) = (*defaults, false);
        if let Some(level) = reader.level("enforce") {
            enforce_is_read = level.is_some();
            policy.enforce.level = level.unwrap_or(Level::Restricted);
        }
        reader.version("enforce", &mut policy.enforce);
        if let Some(level) = reader.level("audit") {
            policy.audit.level = level.unwrap_or(Level::Privileged);
        }
        reader.version("audit", &mut policy.audit);
        let warn_level = reader.level("warn");
        if let Some(level) = warn_level {
            policy.warn.level = level.unwrap_or(Level::Privileged);
        }
        let has_warn_version = reader.version("warn", &mut policy.warn);
        // Who asks to enforce more than warnings cover is warned of the same.
        if warn_level.is_none() && enforce_is_read && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !has_warn_version {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, reader.errors)
    }

    /// Whether nothing is checked in any mode.
    pub fn is_privileged(&self) -> bool {
        self.modes().iter().all(|(_, mode)| mode.level == Level::Privileged)
    }

    /// Whether both mean the same in all modes.
    pub fn same_as(&self, other: &Self) -> bool {
        let pairs = self.modes().into_iter().zip(other.modes());
        pairs.into_iter().all(|((_, mine), (_, others))| mine.same_as(others))
    }

    /// The modes with their names.
    pub(crate) fn modes(&self) -> [(&'static str, LevelVersion); 3] {
        [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)]
    }
}

/// Reads labels, and collects what is wrong with them in their order.
struct Reader<'a> {
    labels: &'a Value,
    errors: FieldErrors,
}

impl Reader<'_> {
    /// The level of a mode: outer `None` without the label, inner `None` if it cannot be read.
    fn level(&mut self, mode: &str) -> Option<Option<Level>> {
        let label = format!("{PREFIX}{mode}");
        let text = self.labels[label.as_str()].as_str()?;
        Some(self.noted(&label, text, text.parse()))
    }

    /// Sets the version of a mode; whether there is a label for it.
    fn version(&mut self, mode: &str, to: &mut LevelVersion) -> bool {
        let label = format!("{PREFIX}{mode}-version");
        let Some(text) = self.labels[label.as_str()].as_str() else { return false };
        to.version = self.noted(&label, text, text.parse()).unwrap_or(Version::Latest);
        true
    }

    fn noted<T, E: ToString>(&mut self, label: &str, text: &str, read: Result<T, E>) -> Option<T> {
        let invalid = |e: E| FieldError::invalid(format!("metadata.labels[{label}]"), text, e.to_string());
        read.map_err(|e| self.errors.push(invalid(e))).ok()
    }
}

/// Several errors in one text: `[a, b]`.
pub(crate) fn joined(errors: &FieldErrors) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) }
}
