//! The work a pod's worker has under way, and how it ends.

use super::observed::Report;
use crate::volumes::tokens::IssuedTokens;
use skiff_runtime::PodHandle;
use std::net::IpAddr;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a piece of work came to.
pub(crate) enum Done {
    Report(Report),
    /// Volumes are there, with these tokens.
    Volumes(Result<IssuedTokens, String>),
    /// Volumes show the current objects and these tokens.
    Refreshed(IssuedTokens),
    Sandbox(Result<(PodHandle, Vec<IpAddr>), String>),
    Started(Vec<Report>),
    /// What to say of a pod that takes more of the disk than it may.
    Storage(Option<String>),
    StatusWritten(Result<(), kube::Error>),
    Nothing,
}

/// Work under way. Dropping it abandons the work.
#[derive(Default)]
pub(crate) struct Tasks {
    running: JoinSet<Done>,
    /// Cancelled when the pod begins to end: what only serves to start it gives up.
    pub(crate) ending: CancellationToken,
}

impl Tasks {
    /// Begins `work`.
    pub(crate) fn spawn(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        self.running.spawn(work);
    }

    /// The next piece of work that ends; `None` while there is none.
    pub(crate) async fn next(&mut self) -> Option<Done> {
        match self.running.join_next().await? {
            Ok(done) => Some(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_cancelled) => Some(Done::Nothing),
        }
    }
}
