//! Admission plugins by name, as kube-apiserver has them: which there are, which are on, and what they are configured with.

mod configuration;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use configuration::{Configuration, ConfigurationError};

/// A plugin of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::enum_variant_names, reason = "the names are those of Kubernetes")]
pub(crate) enum Plugin {
    DefaultTolerationSeconds,
    DenyServiceExternalIPs,
    LimitRanger,
    MutatingAdmissionPolicy,
    MutatingAdmissionWebhook,
    NamespaceLifecycle,
    NodeDeclaredFeatureValidator,
    NodeRestriction,
    PodResizeValidator,
    PodSecurity,
    PodTopologyLabels,
    Priority,
    ResourceQuota,
    RuntimeClass,
    ServiceAccount,
    TaintNodesByCondition,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionWebhook,
}

/// Whether a plugin runs when nobody says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It does, and nobody can turn it off: without it the server would not keep what it promises.
    Always,
    On,
    Off,
}

/// All plugins with their names.
const ALL: [(Plugin, &str, State); 18] = [
    (Plugin::DefaultTolerationSeconds, "DefaultTolerationSeconds", State::On),
    (Plugin::DenyServiceExternalIPs, "DenyServiceExternalIPs", State::Off),
    (Plugin::LimitRanger, "LimitRanger", State::On),
    (Plugin::MutatingAdmissionPolicy, "MutatingAdmissionPolicy", State::On),
    (Plugin::MutatingAdmissionWebhook, "MutatingAdmissionWebhook", State::On),
    (Plugin::NamespaceLifecycle, "NamespaceLifecycle", State::Always),
    (Plugin::NodeDeclaredFeatureValidator, "NodeDeclaredFeatureValidator", State::On),
    (Plugin::NodeRestriction, "NodeRestriction", State::Always),
    (Plugin::PodResizeValidator, "PodResizeValidator", State::On),
    (Plugin::PodSecurity, "PodSecurity", State::On),
    (Plugin::PodTopologyLabels, "PodTopologyLabels", State::On),
    (Plugin::Priority, "Priority", State::On),
    (Plugin::ResourceQuota, "ResourceQuota", State::On),
    (Plugin::RuntimeClass, "RuntimeClass", State::On),
    (Plugin::ServiceAccount, "ServiceAccount", State::On),
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

impl FromStr for Plugin {
    type Err = PluginError;

    fn from_str(name: &str) -> Result<Self, PluginError> {
        let found = ALL.iter().find(|(_, known, _)| *known == name);
        found.map(|(plugin, ..)| *plugin).ok_or_else(|| PluginError::Unknown(name.to_owned()))
    }
}

/// Some plugins, as options name them: with commas between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginNames(BTreeSet<Plugin>);

impl PluginNames {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn entries(&self) -> impl Iterator<Item = (Plugin, &'static str, State)> {
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

/// The plugins that are on, and what they are configured with.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugins {
    on: BTreeSet<Plugin>,
    pub(crate) configuration: Configuration,
}

impl Default for Plugins {
    fn default() -> Self {
        let on = ALL.into_iter().filter(|(_, _, state)| *state != State::Off);
        Self { on: on.map(|(plugin, ..)| plugin).collect(), configuration: Configuration::default() }
    }
}

impl Plugins {
    /// Those that are on by default and those that are asked for, without those that nobody wants.
    ///
    /// # Errors
    /// When one of them is to be on and off, or cannot be turned off.
    pub fn new(
        enabled: &PluginNames,
        disabled: &PluginNames,
        configuration: Configuration,
    ) -> Result<Self, PluginError> {
        let mut plugins = Self { configuration, ..Self::default() };
        plugins.on.extend(&enabled.0);
        for (plugin, name, state) in disabled.entries() {
            match state {
                State::Always => return Err(PluginError::Always(name)),
                _ if enabled.0.contains(&plugin) => return Err(PluginError::Both(name)),
                State::On | State::Off => drop(plugins.on.remove(&plugin)),
            }
        }
        Ok(plugins)
    }

    pub(crate) fn has(&self, plugin: Plugin) -> bool {
        self.on.contains(&plugin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let shown = |text: &str| text.parse::<PluginNames>().map(|names| names.to_string());
        assert_eq!(shown(""), Ok(String::new()));
        assert_eq!(
            shown("PodSecurity, NodeRestriction,PodSecurity"),
            Ok("NodeRestriction,PodSecurity".to_owned())
        );
        for text in ["AlwaysAdmit", ",", "denyserviceexternalips"] {
            let error = shown(text).unwrap_err().to_string();
            assert!(
                error.contains("off by default are DenyServiceExternalIPs; on by default are Default"),
                "{error}"
            );
        }
    }

    #[test]
    fn plugins_are_turned_on_and_off() {
        let check = |enabled: &str, disabled: &str| {
            let (enabled, disabled) = (enabled.parse().unwrap(), disabled.parse().unwrap());
            Plugins::new(&enabled, &disabled, Configuration::default())
        };
        let plain = Plugins::default();
        assert!(plain.has(Plugin::PodSecurity) && !plain.has(Plugin::DenyServiceExternalIPs));
        assert_eq!(check("", ""), Ok(plain.clone()));
        assert_eq!(check("PodSecurity,NodeRestriction", "DenyServiceExternalIPs"), Ok(plain));
        assert!(check("DenyServiceExternalIPs", "").unwrap().has(Plugin::DenyServiceExternalIPs));
        assert!(!check("", "LimitRanger").unwrap().has(Plugin::LimitRanger));
        assert_eq!(check("", "NodeRestriction"), Err(PluginError::Always("NodeRestriction")));
        assert_eq!(check("Priority", "Priority"), Err(PluginError::Both("Priority")));
    }
}
