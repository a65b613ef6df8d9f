//! A profile: which rules and scores decide about its pods, in which order, with which weights and arguments.

use serde_json::{Value, json};
use skiff_machinery::{FieldError, FieldErrors};

use super::arguments::{self, Arguments};
use super::plugins::{self, Calls, Plugin, Point};
use super::{DEFAULT_SCHEDULER, Definitions};

/// By what pods of one `schedulerName` are decided about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    /// The `schedulerName`.
    pub name: String,
    /// Of how many percent of the nodes those that fit are compared; `None` leaves it to their number.
    pub percentage: Option<usize>,
    /// The rules that look at a pod before any node, in their order.
    pub pre_filters: Vec<Plugin>,
    /// The rules, in their order.
    pub filters: Vec<Plugin>,
    /// What is done when nothing fits, in order.
    pub post_filters: Vec<Plugin>,
    /// The scores with their weights.
    pub scores: Vec<(Plugin, i64)>,
    /// What the plugins are told.
    pub arguments: Arguments,
}

impl Default for Profile {
    fn default() -> Self {
        let calls = Calls::of(&json!({}), DEFAULT_SCHEDULER).expect("a test makes the default profile");
        Self::new(DEFAULT_SCHEDULER, &calls, Arguments::default())
    }
}

impl Profile {
    fn new(name: &str, calls: &Calls, arguments: Arguments) -> Self {
        Self {
            name: name.to_owned(),
            percentage: None,
            pre_filters: calls.at(Point::PreFilter).to_vec(),
            filters: calls.at(Point::Filter).to_vec(),
            post_filters: calls.at(Point::PostFilter).to_vec(),
            scores: calls.scores(),
            arguments,
        }
    }

    /// Whether only the nodes are looked at that a pod's node affinity names.
    pub(crate) fn narrows(&self) -> bool {
        self.pre_filters.contains(&Plugin::NodeAffinity)
    }

    /// Whether the one looks at pods before the other does.
    pub(crate) fn asks_before(&self, one: Plugin, other: Plugin) -> bool {
        self.pre_filters.iter().find(|plugin| **plugin == one || **plugin == other) == Some(&one)
    }

    /// Whether pods without constraints of their own are spread by some.
    pub(crate) fn spreads(&self) -> bool {
        let constraints = &self.arguments.spread;
        let called = self.filters.contains(&Plugin::PodTopologySpread)
            || self.scores.iter().any(|(plugin, _)| *plugin == Plugin::PodTopologySpread);
        called && !constraints.constraints.is_empty()
    }
}

/// Reads a profile; what is wrong goes to `errors`.
pub(super) fn read(
    name: &str,
    profile: &Value,
    path: &str,
    definitions: &Definitions,
    errors: &mut FieldErrors,
) -> Profile {
    for (field, plugin) in plugins::removed(&profile["plugins"]) {
        errors.push(FieldError::invalid(format!("{path}.plugins.{field}"), plugin.as_str(), was_removed()));
    }
    let calls = Calls::of(&profile["plugins"], name).unwrap_or_else(|why| {
        errors.push(FieldError::forbidden(format!("{path}.plugins"), why));
        Calls::default()
    });
    let mut arguments = Arguments::default();
    let mut seen = Vec::new();
    for (at, entry) in profile["pluginConfig"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.pluginConfig[{at}]");
        let plugin = entry["name"].as_str().unwrap_or_default();
        if seen.contains(&plugin) {
            errors.push(FieldError::duplicate(path, plugin));
            continue;
        }
        seen.push(plugin);
        if plugins::REMOVED.contains(&plugin) {
            errors.push(FieldError::invalid(path, plugin, was_removed()));
            continue;
        }
        let field = format!("{path}.args");
        match decode(plugin, &entry["args"], definitions) {
            Ok((plugin, args)) => {
                if !calls.call(plugin) {
                    errors.push(FieldError::forbidden(field.clone(), "the plugin is off in this profile"));
                }
                arguments::read(plugin, &args, &field, &mut arguments, errors);
            }
            Err(why) => errors.push(FieldError::forbidden(field, why)),
        }
    }
    Profile::new(name, &calls, arguments)
}

fn was_removed() -> String {
    format!("was invalid in version \"v1\" (KubeSchedulerConfiguration is version {:?})", super::VERSION)
}

/// The fields of a plugin's arguments.
fn decode(name: &str, args: &Value, definitions: &Definitions) -> Result<(Plugin, Value), String> {
    let plugin = Plugin::named(name).ok_or_else(|| format!("plugin {name:?} does not exist"))?;
    let kind = format!("{name}Args");
    if !definitions.has(&kind) {
        return Err(format!("plugin {name} takes no arguments"));
    }
    for (field, expected) in [("apiVersion", super::VERSION), ("kind", &kind)] {
        match args[field].as_str() {
            None | Some("") => {}
            Some(said) if said == expected => {}
            Some(said) => {
                return Err(format!("args for plugin {name} were not of {field} {expected}, got {said}"));
            }
        }
    }
    let args = if args.is_null() { &json!({}) } else { args };
    let read = definitions.decode(args, &kind);
    read.map(|read| (plugin, read)).map_err(|why| format!("decoding args for plugin {name}: {why}"))
}
