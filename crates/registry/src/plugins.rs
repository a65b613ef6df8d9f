//! Admission plugins by name, as `--enable-admission-plugins` of kube-apiserver takes them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A plugin that is off unless it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Optional {
    DenyServiceExternalIPs,
}

impl Optional {
    const ALL: [Self; 1] = [Self::DenyServiceExternalIPs];

    fn name(self) -> &'static str {
        match self {
            Self::DenyServiceExternalIPs => "DenyServiceExternalIPs",
        }
    }
}

/// Plugins that are always on; to ask for them changes nothing.
const ALWAYS: [&str; 22] = [
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NamespaceLifecycle",
    "NodeRestriction",
    "PersistentVolumeClaimResize",
    "PodSecurity",
    "PodTopologyLabels",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

/// The plugins that are on besides those that always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugins(BTreeSet<Optional>);

impl Plugins {
    pub(crate) fn has(&self, plugin: Optional) -> bool {
        self.0.contains(&plugin)
    }
}

/// A name that is no plugin's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("admission plugin {0:?} is unknown; off by default are {off}; always on are {on}", off = optional(), on = ALWAYS.join(", "))]
pub struct UnknownPlugin(String);

fn optional() -> String {
    Optional::ALL.map(Optional::name).join(", ")
}

impl FromStr for Plugins {
    type Err = UnknownPlugin;

    /// Names with commas between them; none if the text is empty.
    fn from_str(text: &str) -> Result<Self, UnknownPlugin> {
        let mut plugins = Self::default();
        for name in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
            match Optional::ALL.into_iter().find(|plugin| plugin.name() == name) {
                Some(plugin) => drop(plugins.0.insert(plugin)),
                None if ALWAYS.contains(&name) => {}
                None => return Err(UnknownPlugin(name.to_owned())),
            }
        }
        Ok(plugins)
    }
}

impl fmt::Display for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|plugin| plugin.name()).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let shown = |text: &str| text.parse::<Plugins>().map(|plugins| plugins.to_string());
        assert_eq!(shown(""), Ok(String::new()));
        assert_eq!(shown("NodeRestriction, PodSecurity"), Ok(String::new()));
        assert_eq!(
            shown("DenyServiceExternalIPs,NodeRestriction,DenyServiceExternalIPs"),
            Ok("DenyServiceExternalIPs".to_owned())
        );
        for text in ["AlwaysAdmit", ",", "denyserviceexternalips"] {
            let error = shown(text).unwrap_err().to_string();
            assert!(
                error.contains("off by default are DenyServiceExternalIPs; always on are Certificate"),
                "{error}"
            );
        }
    }
}
