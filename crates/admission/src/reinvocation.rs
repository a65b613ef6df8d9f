//! The second round: plugins that ask for it see an object again that others changed after them.

use std::collections::{BTreeMap, BTreeSet};

use skiff_machinery::Object;

/// What the chain knows of its rounds. There are two at most.
#[derive(Debug, Default)]
pub struct Reinvocation {
    second: bool,
    wanted: bool,
    plugins: BTreeMap<&'static str, Invoked>,
}

impl Reinvocation {
    /// Whether this is the second round.
    pub fn is_second(&self) -> bool {
        self.second
    }

    /// Asks for a second round: the object was changed.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Starts the second round if anybody wants one.
    pub fn begin_second(&mut self) -> bool {
        self.second = self.wanted;
        self.second
    }

    /// A plugin that calls others begins its round with this object: if somebody changed it since the plugin left it, all who wait
    /// for that are to be called again.
    pub(crate) fn enter(&mut self, plugin: &'static str, object: Option<&Object>) {
        let second = self.second;
        let invoked = self.of(plugin);
        if second && invoked.is_changed(object) {
            invoked.changed();
        }
    }

    /// A plugin that calls others ends its round with this object.
    pub(crate) fn leave(&mut self, plugin: &'static str, object: Option<&Object>) {
        self.of(plugin).output = object.cloned();
    }

    /// What a plugin, which calls others, noted of those.
    pub(crate) fn of(&mut self, plugin: &'static str) -> &mut Invoked {
        self.plugins.entry(plugin).or_default()
    }
}

/// Those whom a plugin called: webhooks, or policies with their bindings and parameters.
#[derive(Debug, Default)]
pub(crate) struct Invoked {
    /// The object when the plugin had run.
    output: Option<Object>,
    /// Called, and to be called again should the object change.
    waiting: BTreeSet<String>,
    /// To be called again.
    due: BTreeSet<String>,
}

impl Invoked {
    /// Whether the object is another one than this plugin left.
    fn is_changed(&self, object: Option<&Object>) -> bool {
        self.output.as_ref() != object
    }

    /// The object changed: all who wait are to be called again.
    pub(crate) fn changed(&mut self) {
        self.due.append(&mut self.waiting);
    }

    /// Called, and wants to be called again if the object changes.
    pub(crate) fn waits(&mut self, key: String) {
        self.waiting.insert(key);
    }

    pub(crate) fn is_due(&self, key: &str) -> bool {
        self.due.contains(key)
    }
}
