//! The one thread that writes: it takes whatever transactions wait, makes them durable with one fsync, then
//! publishes and answers them.
//!
//! When a write fails, the thread puts the file right and tries the same transactions once more: nothing of them was
//! published, and what was published before is in memory. How it is doing is the store's [`Condition`].

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Shared;
use super::admission::Allowance;
use super::disk::{self, Disk, Place};
use crate::history::Commit;
use crate::log::Woken;
use crate::state::{Prepared, State};
use crate::types::{CommitError, Condition, Op, Revision};

/// The most transactions that share one fsync; bounds the time that the first of them waits.
const MAX_GROUP: usize = 1024;

/// The longest that a transaction waits for others to share its fsync.
const PATIENCE: Duration = Duration::from_millis(1);

/// The most, and the most bytes, while the disk is full: a commit writes pages beside those that it frees, and those
/// of the commit before are still held, so both together must fit into the reserve.
const MAX_GROUP_FULL: usize = 8;
const MAX_GROUP_FULL_BYTES: usize = 128 << 10;

/// The most transactions that wait or are being written; who comes then waits for one of them to be answered.
const MAX_WAITING: usize = 4096;

/// How often a full disk is looked at: no file system tells when it has room again.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// How often, and first after which time, a file that failed is tried again; the time doubles, 6.3 s in all.
const REPAIRS: u32 = 6;
const REPAIR_AFTER: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });

/// What became of each transaction of a group.
type Answers = Vec<Result<Revision, CommitError>>;

/// A transaction that waits, and where its answer goes.
struct Request {
    work: Prepared,
    answer: oneshot::Sender<Result<Revision, CommitError>>,
    /// Its place among [`MAX_WAITING`].
    _place: OwnedSemaphorePermit,
}

impl Request {
    /// How much it writes.
    fn bytes(&self) -> usize {
        let written = |op: &Op| if let Op::Put { value, .. } = op { value.len() } else { 0 };
        self.work.txn.ops.iter().map(written).sum()
    }
}

/// Handle of the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    /// The channel itself has no bound: `places` is it.
    inner: Mutex<Option<(mpsc::Sender<Request>, JoinHandle<()>)>>,
    places: Arc<Semaphore>,
}

impl Writer {
    pub(super) fn start(shared: Arc<Shared>, place: Place, disk: Disk) -> Self {
        let (sender, requests) = mpsc::channel();
        let mode = Mode::Open { disk, full: None };
        let mut at_work = AtWork { shared, place, mode, look_at: None, last: Last::default() };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || at_work.run(&requests))
            .expect("the process can start a thread while it starts up");
        Self { inner: Mutex::new(Some((sender, thread))), places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    pub(super) async fn commit(&self, work: Prepared) -> Result<Revision, CommitError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| CommitError::Closed)?;
        let (answer, result) = oneshot::channel();
        {
            let inner = self.inner.lock();
            let (sender, _) = inner.as_ref().ok_or(CommitError::Closed)?;
            sender.send(Request { work, answer, _place: place }).map_err(|_| CommitError::Closed)?;
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

/// What can be written now.
#[derive(Debug)]
enum Mode {
    /// Everything; while the disk is full, what the allowance lets through.
    Open { disk: Disk, full: Option<Allowance> },
    /// Nothing, for this reason; the file has been tried so often.
    Failing { reason: Arc<str>, repairs: u32 },
    /// Nothing any more.
    Failed { reason: Arc<str> },
}

impl Mode {
    fn condition(&self) -> Condition {
        match self {
            Self::Open { full: None, .. } => Condition::Good,
            Self::Open { full: Some(_), .. } => Condition::Full,
            Self::Failing { reason, .. } => Condition::Failing(Arc::clone(reason)),
            Self::Failed { reason } => Condition::Failed(Arc::clone(reason)),
        }
    }

    /// After which time it is to be looked at again.
    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Open { full: None, .. } | Self::Failed { .. } => None,
            Self::Open { full: Some(_), .. } => Some(LOOK_FOR_ROOM),
            Self::Failing { repairs, .. } => Some(REPAIR_AFTER * 2_u32.pow(*repairs)),
        }
    }

    /// How many transactions, and how many bytes before the last of them, share one fsync.
    fn max_group(&self) -> (usize, usize) {
        match self {
            Self::Open { full: Some(_), .. } => (MAX_GROUP_FULL, MAX_GROUP_FULL_BYTES),
            _ => (MAX_GROUP, usize::MAX),
        }
    }
}

/// What the last group was.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// How many transactions.
    count: usize,
    /// How long they took to be written.
    took: Duration,
}

/// The thread's own state.
struct AtWork {
    shared: Arc<Shared>,
    place: Place,
    mode: Mode,
    /// When the mode is to be looked at again.
    look_at: Option<Instant>,
    last: Last,
}

impl AtWork {
    fn run(&mut self, requests: &mpsc::Receiver<Request>) {
        loop {
            let received = match self.look_at {
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => requests.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            if self.look_at.is_some_and(|at| at <= Instant::now()) {
                self.look_again();
            }
            match received {
                Ok(first) => {
                    let group = self.gather(first, requests);
                    let (count, started) = (group.len(), Instant::now());
                    self.serve(group);
                    self.last = Last { count, took: started.elapsed() };
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    /// Leaves a database that shows everything, so that it can be copied alone; the next start would do without.
    fn finish(&mut self) {
        if let Mode::Open { disk, .. } = &mut self.mode
            && let Err(error) = disk.finish(&self.shared.state.load())
        {
            tracing::warn!(%error, "the store's journal is left for the next start");
        }
    }

    /// The first of those who wait, and who else goes with it. Who was answered mostly comes back with the next: as many as came
    /// the last time are waited for, no longer than their writing took, for a group costs about as much as ten of its
    /// transactions. Who writes alone never waits.
    fn gather(&self, first: Request, requests: &mpsc::Receiver<Request>) -> Vec<Request> {
        let (most, most_bytes) = self.mode.max_group();
        let until = Instant::now() + self.last.took.min(PATIENCE);
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while group.len() < most && bytes < most_bytes {
            let next = match requests.try_recv() {
                Err(TryRecvError::Empty) if group.len() < self.last.count => {
                    requests.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
                }
                next => next.ok(),
            };
            let Some(next) = next else { break };
            bytes += next.bytes();
            group.push(next);
        }
        group
    }

    /// Writes and answers a group. A write that fails is tried once more when the file has been put right.
    fn serve(&mut self, group: Vec<Request>) {
        let outcome = self.commit(&group).or_else(|error| {
            self.recover(&error);
            self.commit(&group)
        });
        let (answers, woken) = outcome.unwrap_or_else(|error| {
            self.recover(&error);
            let full = disk::is_full(&error);
            let answer =
                if full { CommitError::Full } else { CommitError::Storage(error.to_string().into()) };
            (vec![Err(answer); group.len()], Woken::default())
        });
        for (request, answer) in group.into_iter().zip(answers) {
            // A requester that has gone away does not undo its write; there is nobody to tell.
            drop(request.answer.send(answer));
        }
        // Who waits for an answer goes before those who watch.
        drop(woken);
    }

    /// Applies a group in order, each transaction seeing those before it; returns the answers once all are durable.
    fn commit(&mut self, group: &[Request]) -> Result<(Answers, Woken), redb::Error> {
        let (disk, full) = match &mut self.mode {
            Mode::Open { disk, full } => (disk, full),
            Mode::Failing { reason, .. } | Mode::Failed { reason } => {
                let answers = vec![Err(CommitError::Storage(Arc::clone(reason))); group.len()];
                return Ok((answers, Woken::default()));
            }
        };
        let mut state: State = State::clone(&self.shared.state.load());
        let before = state.revision;
        let mut commits = Vec::new();
        let mut answers = Vec::with_capacity(group.len());
        for Request { work, .. } in group {
            let admitted = full.as_mut().map_or(Ok(()), |allowance| allowance.admit(&state, &work.txn));
            answers.push(admitted.and_then(|()| state.apply(work)).map(|changes| {
                if !changes.is_empty() {
                    commits.push(Commit { revision: state.revision, changes });
                }
                state.revision
            }));
        }
        if commits.is_empty() {
            return Ok((answers, Woken::default()));
        }
        disk.write(before, &state, &commits, full.is_none())?;
        let woken = self.shared.log.publish(commits, || self.shared.state.store(Arc::new(state)));
        Ok((answers, woken))
    }

    /// Puts the file right after a write that failed.
    fn recover(&mut self, error: &redb::Error) {
        let allowance = match &self.mode {
            Mode::Open { full: Some(allowance), .. } => *allowance,
            _ => Allowance::whole(),
        };
        // Closes the file, and with it the lock that opening it again needs.
        self.mode = Mode::Failing { reason: error.to_string().into(), repairs: 0 };
        let published = self.shared.state.load_full();
        let mode = if disk::is_full(error) {
            tracing::error!(%error, "the disk of the store is full: nothing new is stored until there is room");
            let disk = Disk::after_full(&self.place, &published);
            disk.map(|disk| Mode::Open { disk, full: Some(allowance) })
        } else {
            tracing::error!(%error, "a write of the store failed: its file is written anew");
            Disk::anew(&self.place, &published).map(|disk| Mode::Open { disk, full: None })
        };
        self.enter(
            mode.unwrap_or_else(|error| Mode::Failing { reason: error.to_string().into(), repairs: 0 }),
        );
    }

    /// Looks for room on a full disk, and for a file that failed whether it can be written anew.
    fn look_again(&mut self) {
        self.look_at = self.mode.patience().map(|patience| Instant::now() + patience);
        match &mut self.mode {
            Mode::Open { disk, full } if full.is_some() && disk.has_room() => match disk.refill() {
                Ok(()) => {
                    tracing::info!("the disk of the store has room again");
                    *full = None;
                    self.announce();
                }
                Err(error) => self.recover(&error),
            },
            Mode::Failing { repairs, .. } => {
                let repairs = *repairs + 1;
                self.repair(repairs);
            }
            Mode::Open { .. } | Mode::Failed { .. } => {}
        }
    }

    fn repair(&mut self, repairs: u32) {
        let published = self.shared.state.load_full();
        self.enter(match Disk::anew(&self.place, &published) {
            Ok(disk) => {
                tracing::info!("the store's file has been written anew");
                Mode::Open { disk, full: None }
            }
            Err(error) if repairs < REPAIRS => Mode::Failing { reason: error.to_string().into(), repairs },
            Err(error) => {
                tracing::error!(%error, "the store cannot write any more");
                Mode::Failed { reason: error.to_string().into() }
            }
        });
    }

    fn enter(&mut self, mode: Mode) {
        self.mode = mode;
        self.announce();
    }

    fn announce(&mut self) {
        self.look_at = self.mode.patience().map(|patience| Instant::now() + patience);
        self.shared.condition.send_replace(self.mode.condition());
    }
}
