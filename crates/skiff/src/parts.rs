//! The running parts of a cluster: all of them run, or the cluster ends and says which one did not.

use std::future::Future;

use anyhow::{anyhow, bail};
use skiff_errors::error_text;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Parts that run side by side until the shutdown.
pub(crate) struct Parts {
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    shutdown: CancellationToken,
}

impl Parts {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), shutdown }
    }

    /// What tells the parts to end.
    pub(crate) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Runs one more part.
    pub(crate) fn run<E: Into<anyhow::Error>>(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tasks
            .spawn(async move { (name, part.await.map_err(|error| error_text(error.into().as_ref()))) });
    }

    /// Waits for `event`, unless a part ends first or the shutdown comes.
    pub(crate) async fn unless_one_ends(
        &mut self,
        event: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            result = event => result,
            ended = self.next() => Err(ended.unwrap_or_else(|| anyhow!("interrupted"))),
        }
    }

    /// Waits until the shutdown and the end of all parts. A part that ends before takes the others with it.
    pub(crate) async fn wait(mut self) -> anyhow::Result<()> {
        let first = self.next().await;
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
        match first {
            Some(error) => bail!(error),
            None => Ok(()),
        }
    }

    /// The error of the first part that ends; `None` if they end because of the shutdown.
    async fn next(&mut self) -> Option<anyhow::Error> {
        let ended = self.tasks.join_next().await?;
        match ended {
            Ok((_, Ok(()))) if self.shutdown.is_cancelled() => None,
            Ok((name, Ok(()))) => Some(anyhow!("the {name} ended without being told to")),
            Ok((name, Err(error))) => Some(anyhow!("{name}: {error}")),
            Err(panic) => Some(anyhow!("a part of the server panicked: {panic}")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    async fn until(shutdown: CancellationToken) -> anyhow::Result<()> {
        shutdown.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn one_failure_ends_all() {
        let mut parts = Parts::new(CancellationToken::new());
        let shutdown = parts.shutdown();
        parts.run("patient", until(shutdown));
        parts.run("broken", async { Err(anyhow!("no luck")) });
        assert_eq!(parts.wait().await.unwrap_err().to_string(), "broken: no luck");
    }

    #[tokio::test]
    async fn a_shutdown_is_no_failure() {
        let mut parts = Parts::new(CancellationToken::new());
        let shutdown = parts.shutdown();
        let cancel = parts.shutdown();
        parts.run("patient", until(shutdown));
        cancel.cancel();
        parts.wait().await.unwrap();
    }
}
