//! Which plugins there are, and what they are called.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A plugin of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::enum_variant_names, reason = "the names are those of Kubernetes")]
pub(crate) enum Plugin {
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    DefaultIngressClass,
    DefaultStorageClass,
    DefaultTolerationSeconds,
    DenyServiceExternalIPs,
    LimitRanger,
    MutatingAdmissionPolicy,
    MutatingAdmissionWebhook,
    NamespaceLifecycle,
    NodeDeclaredFeatureValidator,
    NodeRestriction,
    PersistentVolumeClaimResize,
    PodResizeValidator,
    PodSecurity,
    PodTopologyLabels,
    Priority,
    ResourceQuota,
    RuntimeClass,
    ServiceAccount,
    StorageObjectInUseProtection,
    TaintNodesByCondition,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
}

/// Whether a plugin runs when nobody says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It does, and nobody can turn it off: without it the server would not keep what it promises.
    Always,
    On,
    Off,
}

/// All plugins with their names, in the order of [`Plugin`].
pub(super) const ALL: [(Plugin, &str, State); 25] = [
    (Plugin::CertificateApproval, "CertificateApproval", State::On),
    (Plugin::CertificateSigning, "CertificateSigning", State::On),
    (Plugin::CertificateSubjectRestriction, "CertificateSubjectRestriction", State::On),
    (Plugin::DefaultIngressClass, "DefaultIngressClass", State::On),
    (Plugin::DefaultStorageClass, "DefaultStorageClass", State::On),
    (Plugin::DefaultTolerationSeconds, "DefaultTolerationSeconds", State::On),
    (Plugin::DenyServiceExternalIPs, "DenyServiceExternalIPs", State::Off),
    (Plugin::LimitRanger, "LimitRanger", State::On),
    (Plugin::MutatingAdmissionPolicy, "MutatingAdmissionPolicy", State::On),
    (Plugin::MutatingAdmissionWebhook, "MutatingAdmissionWebhook", State::On),
    (Plugin::NamespaceLifecycle, "NamespaceLifecycle", State::Always),
    (Plugin::NodeDeclaredFeatureValidator, "NodeDeclaredFeatureValidator", State::On),
    (Plugin::NodeRestriction, "NodeRestriction", State::Always),
    (Plugin::PersistentVolumeClaimResize, "PersistentVolumeClaimResize", State::On),
    (Plugin::PodResizeValidator, "PodResizeValidator", State::On),
    (Plugin::PodSecurity, "PodSecurity", State::On),
    (Plugin::PodTopologyLabels, "PodTopologyLabels", State::On),
    (Plugin::Priority, "Priority", State::On),
    (Plugin::ResourceQuota, "ResourceQuota", State::On),
    (Plugin::RuntimeClass, "RuntimeClass", State::On),
    (Plugin::ServiceAccount, "ServiceAccount", State::On),
    (Plugin::StorageObjectInUseProtection, "StorageObjectInUseProtection", State::On),
    (Plugin::TaintNodesByCondition, "TaintNodesByCondition", State::On),
    (Plugin::ValidatingAdmissionPolicy, "ValidatingAdmissionPolicy", State::On),
    (Plugin::ValidatingAdmissionWebhook, "ValidatingAdmissionWebhook", State::On),
];

/// The names of the plugins that are in a state.
fn names(wanted: State) -> String {
    let names = ALL.iter().filter(|(_, _, state)| *state == wanted).map(|(_, name, _)| *name);
    names.collect::<Vec<_>>().join(", ")
}

/// Why plugins cannot be as they are asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PluginError {
    /// A name that is no plugin's.
    #[error(
        "admission plugin {0:?} is unknown; off by default are {off}; on by default are {on}; always on are {always}",
        off = names(State::Off), on = names(State::On), always = names(State::Always)
    )]
    Unknown(String),
    /// A plugin that cannot be turned off.
    #[error("admission plugin {0:?} cannot be turned off")]
    Always(&'static str),
    /// A plugin that is to be on and off.
    #[error("admission plugin {0:?} is to be on and off")]
    Both(&'static str),
}

impl Plugin {
    /// As in `--enable-admission-plugins`.
    pub(crate) fn name(self) -> &'static str {
        ALL[self as usize].1
    }
}

impl FromStr for Plugin {
    type Err = PluginError;

    fn from_str(name: &str) -> Result<Self, PluginError> {
        let found = ALL.iter().find(|(_, known, _)| *known == name);
        found.map(|(plugin, ..)| *plugin).ok_or_else(|| PluginError::Unknown(name.to_owned()))
    }
}

/// Some plugins, as options name them: with commas between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginNames(pub(super) BTreeSet<Plugin>);

impl PluginNames {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (Plugin, &'static str, State)> {
        ALL.into_iter().filter(|(plugin, ..)| self.0.contains(plugin))
    }
}

impl FromStr for PluginNames {
    type Err = PluginError;

    fn from_str(text: &str) -> Result<Self, PluginError> {
        let names = text.split(',').map(str::trim).filter(|_| !text.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for PluginNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entries().map(|(_, name, _)| name).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_by_their_numbers() {
        for (plugin, name, _) in ALL {
            assert_eq!(plugin.name(), name);
        }
    }
}
