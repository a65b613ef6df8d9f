//! A pod, or a pod's template, as the checks read it.

use serde_json::{Map, Value};

use crate::text::Setters;

/// A view of an object with `metadata` and `spec`. What is missing or null reads as null, as false and as the
/// empty string.
#[derive(Clone, Copy)]
pub(crate) struct Pod<'a> {
    object: &'a Value,
}

impl<'a> Pod<'a> {
    pub(crate) fn new(object: &'a Value) -> Self {
        Self { object }
    }

    pub(crate) fn spec(self) -> &'a Value {
        &self.object["spec"]
    }

    pub(crate) fn security_context(self) -> &'a Value {
        &self.spec()["securityContext"]
    }

    /// Annotations with their values.
    pub(crate) fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let map: Option<&Map<String, Value>> = self.object["metadata"]["annotations"].as_object();
        map.into_iter().flatten().map(|(key, value)| (key.as_str(), text(value)))
    }

    /// Init containers, containers, ephemeral containers: the order in which messages name them.
    pub(crate) fn containers(self) -> impl Iterator<Item = &'a Value> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        lists.into_iter().flat_map(move |list| items(&self.spec()[list]))
    }

    /// Whether the author says that this is a pod for Windows.
    pub(crate) fn is_windows(self) -> bool {
        self.spec()["os"]["name"] == "windows"
    }

    /// Whether the pod has a user namespace of its own.
    pub(crate) fn has_user_namespace(self) -> bool {
        self.spec()["hostUsers"] == false
    }

    /// Names of the containers for which this holds.
    pub(crate) fn containers_with(self, mut bad: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|c| bad(c)).map(name).collect()
    }

    /// The pod, and those of its containers, whose security context is bad.
    pub(crate) fn setters(self, mut bad: impl FnMut(&'a Value) -> bool) -> Setters<'a> {
        let pod = bad(self.security_context());
        Setters { pod, containers: self.containers_with(|c| bad(&c["securityContext"])) }
    }
}

/// The items of a list; none if it is missing.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A string; empty if it is missing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The name of a container or volume.
pub(crate) fn name(value: &Value) -> &str {
    text(&value["name"])
}
