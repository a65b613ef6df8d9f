//! Who hears of every object that is gone, of whatever kind: the garbage collector tells, since it watches all kinds.

use std::sync::Arc;

use parking_lot::RwLock;

/// An object that is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removed<'a> {
    /// Its API group; empty for core.
    pub(crate) group: &'a str,
    /// Its kind's plural name.
    pub(crate) resource: &'a str,
    /// Empty for what is in no namespace.
    pub(crate) namespace: &'a str,
}

type Listener = Box<dyn Fn(Removed<'_>) + Send + Sync>;

/// Clones tell the same listeners.
#[derive(Clone, Default)]
pub(crate) struct Removals(Arc<RwLock<Vec<Listener>>>);

impl Removals {
    /// Lets `listener` hear of all that follow; it must not wait.
    pub(crate) fn subscribe(&self, listener: impl Fn(Removed<'_>) + Send + Sync + 'static) {
        self.0.write().push(Box::new(listener));
    }

    pub(crate) fn tell(&self, removed: Removed<'_>) {
        self.0.read().iter().for_each(|listener| listener(removed));
    }
}
