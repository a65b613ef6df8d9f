//! The one thread that writes: it takes whatever transactions wait, makes them durable with one fsync, then
//! publishes and answers them.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Shared;
use super::disk::Disk;
use crate::log::Commit;
use crate::state::State;
use crate::types::{CommitError, Revision, Txn};

/// The most transactions that share one fsync; bounds the time that the first of them waits.
const MAX_GROUP: usize = 1024;

/// A transaction that waits, and where its answer goes.
struct Request {
    txn: Txn,
    answer: oneshot::Sender<Result<Revision, CommitError>>,
}

/// Handle of the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    inner: Mutex<Option<(mpsc::Sender<Request>, JoinHandle<()>)>>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, disk: Disk) -> Self {
        let (sender, requests) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&shared, &disk, &requests))
            .expect("the process can start a thread while it starts up");
        Self { inner: Mutex::new(Some((sender, thread))) }
    }

    pub(super) async fn commit(&self, txn: Txn) -> Result<Revision, CommitError> {
        let (answer, result) = oneshot::channel();
        {
            let inner = self.inner.lock();
            let (sender, _) = inner.as_ref().ok_or(CommitError::Closed)?;
            sender.send(Request { txn, answer }).map_err(|_| CommitError::Closed)?;
        }
        result.await.map_err(|_| CommitError::Closed)?
    }

    /// Waits until everything accepted is durable and the file is closed.
    pub(super) fn close(&self) {
        if let Some((sender, thread)) = self.inner.lock().take() {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("the store's writer thread panicked");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(shared: &Shared, disk: &Disk, requests: &mpsc::Receiver<Request>) {
    let mut failure: Option<Arc<str>> = None;
    while let Ok(first) = requests.recv() {
        let group: Vec<Request> = std::iter::once(first).chain(requests.try_iter()).take(MAX_GROUP).collect();
        let answers = match &failure {
            Some(reason) => vec![Err(CommitError::Storage(Arc::clone(reason))); group.len()],
            None => commit_group(shared, disk, &group).unwrap_or_else(|error| {
                tracing::error!(%error, "the store can no longer write; it must be opened again");
                let reason: Arc<str> = error.to_string().into();
                failure = Some(Arc::clone(&reason));
                vec![Err(CommitError::Storage(reason)); group.len()]
            }),
        };
        for (request, answer) in group.into_iter().zip(answers) {
            // A requester that has gone away does not undo its write; there is nobody to tell.
            drop(request.answer.send(answer));
        }
    }
}

/// Applies a group in order, each transaction seeing those before it, and answers once all are durable.
fn commit_group(
    shared: &Shared,
    disk: &Disk,
    group: &[Request],
) -> Result<Vec<Result<Revision, CommitError>>, redb::Error> {
    let mut state: State = State::clone(&shared.state.load());
    let mut commits = Vec::new();
    let mut answers = Vec::with_capacity(group.len());
    for request in group {
        let applied = state.apply(&request.txn);
        answers.push(applied.map(|events| {
            if !events.is_empty() {
                commits.push(Commit { revision: state.revision, events });
            }
            state.revision
        }));
    }
    if !commits.is_empty() {
        disk.write(state.revision, &commits)?;
        shared.log.publish(commits, || shared.state.store(Arc::new(state)));
    }
    Ok(answers)
}
