//! The chain of plugins.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use crate::attributes::Attributes;
use crate::numbers::{self, Step};
use crate::refusal::Refusal;

/// One duty of admission. It may change the object in [`Plugin::admit`], which runs before the object is validated, and may
/// refuse the request there and in [`Plugin::validate`], which runs after.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// As in `--enable-admission-plugins`, e.g. `MutatingAdmissionWebhook`.
    fn name(&self) -> &'static str;

    /// Whether it has anything to do with such a request.
    fn handles(&self, attributes: &Attributes) -> bool;

    /// Changes the object or refuses it. In the second round it sees its own changes again, and must leave them as they are.
    async fn admit(&self, _attributes: &mut Attributes) -> Result<(), Refusal> {
        Ok(())
    }

    /// Refuses the object as it would be written.
    async fn validate(&self, _attributes: &Attributes) -> Result<(), Refusal> {
        Ok(())
    }
}

/// All plugins in their order.
#[derive(Clone, Default)]
pub struct Chain {
    plugins: Vec<Arc<dyn Plugin>>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.plugins.iter().map(|plugin| plugin.name())).finish()
    }
}

impl Chain {
    /// The plugins run in this order.
    pub fn new(plugins: Vec<Arc<dyn Plugin>>) -> Self {
        Self { plugins }
    }

    /// Whether there is no plugin.
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Lets every plugin change the object or refuse it; the first refusal counts. When a webhook or policy changed the object,
    /// all run once more (KEP-492). A server with plugins of its own beside the chain calls [`Chain::round`], asks
    /// [`crate::Reinvocation::begin_second`], lets its own see the object again, and calls it once more.
    ///
    /// # Errors
    /// When a plugin refuses.
    pub async fn admit(&self, attributes: &mut Attributes) -> Result<(), Refusal> {
        self.round(attributes).await?;
        if attributes.reinvocation.begin_second() {
            self.round(attributes).await?;
        }
        Ok(())
    }

    /// One round of [`Chain::admit`].
    ///
    /// # Errors
    /// When a plugin refuses.
    pub async fn round(&self, attributes: &mut Attributes) -> Result<(), Refusal> {
        for plugin in &self.plugins {
            if plugin.handles(attributes) {
                let (began, operation) = (Instant::now(), attributes.operation);
                let admitted = plugin.admit(attributes).await;
                numbers::controller(plugin.name(), Step::Admit, operation, admitted.is_err(), began);
                admitted?;
            }
        }
        Ok(())
    }

    /// Lets every plugin refuse the object as it would be written; the first refusal counts.
    ///
    /// # Errors
    /// When a plugin refuses.
    pub async fn validate(&self, attributes: &Attributes) -> Result<(), Refusal> {
        for plugin in &self.plugins {
            if plugin.handles(attributes) {
                let (began, operation) = (Instant::now(), attributes.operation);
                let validated = plugin.validate(attributes).await;
                numbers::controller(plugin.name(), Step::Validate, operation, validated.is_err(), began);
                validated?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use parking_lot::Mutex;

    use super::*;
    use crate::testing::request;

    /// Notes its calls, asks for another round or refuses.
    struct Recorder {
        name: &'static str,
        wants: bool,
        refuses: bool,
        calls: Arc<Mutex<Vec<String>>>,
    }

    #[async_trait]
    impl Plugin for Recorder {
        fn name(&self) -> &'static str {
            self.name
        }

        fn handles(&self, _: &Attributes) -> bool {
            self.name != "deaf"
        }

        async fn admit(&self, attributes: &mut Attributes) -> Result<(), Refusal> {
            self.calls.lock().push(format!("{}{}", self.name, u8::from(attributes.reinvocation.is_second())));
            if self.wants {
                attributes.reinvocation.want();
            }
            if self.refuses { Err(Refusal::bad_request(self.name)) } else { Ok(()) }
        }

        async fn validate(&self, _: &Attributes) -> Result<(), Refusal> {
            self.calls.lock().push(format!("{}v", self.name));
            Ok(())
        }
    }

    fn check(plugins: &[(&'static str, bool, bool)], expected: &[&str], refused: Option<&str>) {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let recorder = |&(name, wants, refuses): &(&'static str, bool, bool)| {
            Arc::new(Recorder { name, wants, refuses, calls: calls.clone() }) as Arc<dyn Plugin>
        };
        let chain = Chain::new(plugins.iter().map(recorder).collect());
        let mut attributes = request();
        let admitted = block_on(chain.admit(&mut attributes));
        let outcome = match admitted {
            Ok(()) => block_on(chain.validate(&attributes)),
            refused => refused,
        };
        assert_eq!(*calls.lock(), expected);
        assert_eq!(outcome.err().map(|refusal| refusal.message), refused.map(str::to_owned));
    }

    #[test]
    fn plugins_run_in_order_and_again_when_one_asks() {
        check(&[("a", false, false), ("b", false, false)], &["a0", "b0", "av", "bv"], None);
        check(&[("a", false, false), ("b", true, false)], &["a0", "b0", "a1", "b1", "av", "bv"], None);
        check(&[("a", false, true), ("b", false, false)], &["a0"], Some("a"));
        check(&[("deaf", true, false), ("b", false, false)], &["b0", "bv"], None);
    }
}
