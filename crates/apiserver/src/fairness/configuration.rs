//! The FlowSchemas and PriorityLevelConfigurations in the store, which are in force from when they are written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::json;
use skiff_fairness::{Fairness, Mandatory};
use skiff_kinds::flowcontrol::bootstrap::{self, DANGLING, GROUP, Given, Which};
use skiff_kinds::flowcontrol::{read_level, read_schema};
use skiff_store::Model;
use tokio::sync::Notify;

use super::wake::wake;

/// What is in force.
pub(crate) struct Configuration {
    fairness: Arc<Fairness>,
    schemas: BTreeMap<String, FlowSchema>,
    levels: BTreeMap<String, PriorityLevelConfiguration>,
    changed: Arc<Notify>,
}

/// What the condition of a FlowSchema is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dangling {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Configuration {
    /// None as yet. `changed` is told of every change.
    pub(crate) fn new(fairness: Arc<Fairness>, changed: Arc<Notify>) -> Self {
        Self { fairness, schemas: BTreeMap::new(), levels: BTreeMap::new(), changed }
    }

    /// The FlowSchemas whose condition does not say whether their level is there.
    pub(super) fn dangling(&self) -> Vec<Dangling> {
        self.schemas.iter().filter_map(|(name, schema)| self.condition(name, schema)).collect()
    }

    fn condition(&self, name: &str, schema: &FlowSchema) -> Option<Dangling> {
        let level = schema.spec.as_ref().map(|spec| spec.priority_level_configuration.name.as_str());
        let level = level.unwrap_or_default();
        let is_there = self.levels.contains_key(level);
        let status = if is_there { "False" } else { "True" };
        let (reason, message) = bootstrap::dangling(level, is_there);
        let conditions = schema.status.as_ref().and_then(|status| status.conditions.as_ref());
        let said = conditions.into_iter().flatten().find(|said| said.type_.as_deref() == Some(DANGLING));
        let is_said = said.is_some_and(|said| {
            said.status.as_deref() == Some(status)
                && said.reason.as_deref() == Some(reason)
                && said.message.as_deref() == Some(&message)
        });
        let uid = schema.metadata.uid.clone().unwrap_or_default();
        (!is_said).then(|| Dangling { name: name.to_owned(), uid, status, reason, message })
    }
}

/// Takes an object over, if it could be read.
fn take<T>(into: &mut BTreeMap<String, T>, key: &str, name: &str, read: serde_json::Result<T>) {
    match read {
        Ok(object) => drop(into.insert(name.to_owned(), object)),
        Err(error) => {
            into.remove(name);
            tracing::error!(key, %error, "priority and fairness go on without a damaged object");
        }
    }
}

impl Model for Configuration {
    const PREFIX: &'static str = "/registry/flowcontrol.apiserver.k8s.io/";

    fn reset(&mut self) {
        self.schemas.clear();
        self.levels.clear();
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        match key.strip_prefix(Self::PREFIX).and_then(|rest| rest.split_once('/')) {
            Some((plural, name)) if plural == Which::Schema.plural() => {
                take(&mut self.schemas, key, name, read_schema(value));
            }
            Some((plural, name)) if plural == Which::Level.plural() => {
                take(&mut self.levels, key, name, read_level(value))
            }
            _ => {}
        }
    }

    fn remove(&mut self, key: &str) {
        match key.strip_prefix(Self::PREFIX).and_then(|rest| rest.split_once('/')) {
            Some((plural, name)) if plural == Which::Schema.plural() => drop(self.schemas.remove(name)),
            Some((_, name)) => drop(self.levels.remove(name)),
            None => {}
        }
    }

    fn settle(&mut self) {
        let schemas: Vec<FlowSchema> = self.schemas.values().cloned().collect();
        let levels: Vec<PriorityLevelConfiguration> = self.levels.values().cloned().collect();
        let settled = self.fairness.configure(Instant::now(), &schemas, &levels);
        wake(settled.woken);
        for (level, why) in settled.broken {
            tracing::warn!(level, why, "a priority level is not used");
        }
        self.changed.notify_one();
    }
}

/// The text of a given object.
fn text(given: &Given) -> Vec<u8> {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": given.which.kind(),
        "metadata": {"name": given.name}, "spec": given.spec,
    });
    object.to_string().into_bytes()
}

/// They are constants, and read by a test.
const OF_THEIR_TYPES: &str = "the given objects are of their types";

fn schema(given: &Given) -> FlowSchema {
    read_schema(&text(given)).expect(OF_THEIR_TYPES)
}

fn level(given: &Given) -> PriorityLevelConfiguration {
    read_level(&text(given)).expect(OF_THEIR_TYPES)
}

/// What is in force even where its objects are missing.
pub(super) fn mandatory() -> Mandatory {
    let given = bootstrap::given();
    let of = |which| given.iter().filter(move |given| given.which == which && given.is_mandatory);
    Mandatory {
        schemas: of(Which::Schema).map(schema).collect(),
        levels: of(Which::Level).map(level).collect(),
    }
}

/// What every cluster starts with.
#[cfg(test)]
pub(super) fn given(schemas: &mut Vec<FlowSchema>, levels: &mut Vec<PriorityLevelConfiguration>) {
    for given in bootstrap::given() {
        match given.which {
            Which::Schema => schemas.push(schema(&given)),
            Which::Level => levels.push(level(&given)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fairness::priority::Priority;
    use crate::limits::Limits;

    fn configuration() -> Configuration {
        let priority = Priority::new(&Limits::default());
        Configuration::new(priority.fairness, Arc::default())
    }

    #[test]
    fn conditions_follow_the_levels() {
        let mut configuration = configuration();
        let key = |which: Which, name: &str| format!("{}{}/{name}", Configuration::PREFIX, which.plural());
        for given in bootstrap::given() {
            configuration.put(&key(given.which, given.name), &text(&given));
        }
        assert_eq!(configuration.dangling().len(), 11, "none says anything");
        configuration.remove(&key(Which::Level, "workload-low"));
        let missing: Vec<Dangling> =
            configuration.dangling().into_iter().filter(|dangling| dangling.status == "True").collect();
        assert_eq!(missing.len(), 1);
        assert_eq!((missing[0].name.as_str(), missing[0].reason), ("service-accounts", "NotFound"));
        assert_eq!(
            missing[0].message,
            "This FlowSchema references the PriorityLevelConfiguration object named \"workload-low\" but there is no such object"
        );
        configuration.put(&key(Which::Schema, "probes"), b"{");
        assert!(!configuration.schemas.contains_key("probes"));
        configuration.settle();
    }

    #[test]
    fn what_is_said_is_not_said_again() {
        let mut configuration = configuration();
        let (reason, message) = bootstrap::dangling("l", false);
        let schema = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "FlowSchema", "metadata": {"name": "s", "uid": "u"},
            "spec": {"priorityLevelConfiguration": {"name": "l"}},
            "status": {"conditions": [{"type": DANGLING, "status": "True", "reason": reason, "message": message}]},
        });
        let key = format!("{}flowschemas/s", Configuration::PREFIX);
        configuration.put(&key, schema.to_string().as_bytes());
        assert_eq!(configuration.dangling(), []);
    }
}
