//! A panic stays in the request that ran into it.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// A request's handler panicked. What it said is in the log, for it may say anything.
#[derive(Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The panic's message, at most 256 characters of it.
    pub message: String,
}

impl Panicked {
    /// Logs the panic under a request's ID, and returns what the client is told.
    pub fn told(&self, id: &str) -> String {
        tracing::error!(request = id, message = self.message, "a request ran into a bug of the server");
        format!("the server has a bug that this request ran into; its log names it as {id}")
    }

    pub(crate) fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
        Self { message: text.chars().take(256).collect() }
    }
}

/// What `future` comes to, or its panic. What it shares with others must hold after a panic, too: our locks do not
/// poison, and stores commit whole transactions.
///
/// # Errors
/// [`Panicked`].
pub async fn contained<F: Future>(future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|payload| Panicked::new(&*payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_outcome() {
        assert_eq!(contained(async { 1 }).await, Ok(1));
        let odd = std::hint::black_box(true);
        let broken = contained(async { assert!(!odd, "odd {}", 7) }).await;
        assert_eq!(broken, Err(Panicked { message: "odd 7".to_owned() }));
    }
}
