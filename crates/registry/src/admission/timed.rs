//! How long each of the server's own plugins takes, under the name that `/metrics` has for it.

use skiff_admission::{Laps, Operation, Step};

use crate::errors::ApiError;
use crate::plugins::Plugin;

/// Times plugins that run one after the other.
pub(super) struct Timed(Laps);

impl Timed {
    pub(super) fn begin(step: Step, operation: Operation) -> Self {
        Self(Laps::begin(step, operation))
    }

    /// What a plugin came to; it took the time since the one before.
    pub(super) fn ended<T>(&mut self, plugin: Plugin, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
        self.0.lap(plugin as usize, plugin.name(), outcome.is_err());
        outcome
    }
}
