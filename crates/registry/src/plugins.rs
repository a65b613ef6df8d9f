//! Admission plugins by name, as kube-apiserver has them: which there are, which are on, and what they are configured with.

mod configuration;
mod names;

use std::collections::BTreeSet;
use std::path::Path;

pub use configuration::{Configuration, ConfigurationError};
pub(crate) use names::Plugin;
use names::{ALL, State};
pub use names::{PluginError, PluginNames};
use skiff_admission::Type;

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

    /// The kubeconfig whose users are shown to webhooks.
    pub fn kubeconfig(&self, of: Type) -> Option<&Path> {
        let files = &self.configuration.kubeconfigs;
        match of {
            Type::Mutating => files.mutating.as_deref(),
            Type::Validating => files.validating.as_deref(),
        }
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
                error.contains("off by default are DenyServiceExternalIPs; on by default are Certificate"),
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
