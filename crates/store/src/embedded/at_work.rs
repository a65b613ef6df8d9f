//! Groups of transactions, made durable with one fsync each and then published.
//!
//! When a write fails, the file is put right and the same transactions are tried once more: nothing of them was
//! published, and what was published before is in memory. How it is doing is the store's [`Condition`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Shared;
use super::admission::Allowance;
use super::disk::{self, Disk, Place};
use crate::history::Commit;
use crate::log::Woken;
use crate::state::{Prepared, State};
use crate::types::{CommitError, Condition, Op, Revision};

/// The most transactions that share one fsync; bounds the time that the first of them waits.
const MAX_GROUP: usize = 1024;

/// The most, and the most bytes, while the disk is full: a commit writes pages beside those that it frees, and those
/// of the commit before are still held, so both together must fit into the reserve.
const MAX_GROUP_FULL: usize = 8;
const MAX_GROUP_FULL_BYTES: usize = 128 << 10;

/// How often a full disk is looked at: no file system tells when it has room again.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// How often, and first after which time, a file that failed is tried again; the time doubles, 6.3 s in all.
const REPAIRS: u32 = 6;
const REPAIR_AFTER: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });

/// What became of a transaction.
pub(super) type Answer = Result<Revision, CommitError>;

/// A transaction that waits, and where its answer goes.
pub(super) struct Request {
    pub(super) work: Prepared,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Its place among those who may wait.
    pub(super) _place: OwnedSemaphorePermit,
}

impl Request {
    /// How much it writes.
    pub(super) fn bytes(&self) -> usize {
        let written = |op: &Op| if let Op::Put { value, .. } = op { value.len() } else { 0 };
        self.work.txn.ops.iter().map(written).sum()
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

/// What transactions lead to that is not written yet.
struct Applied {
    before: Revision,
    state: State,
    commits: Vec<Commit>,
    answers: Vec<Answer>,
}

/// What groups are written with.
#[derive(Debug)]
pub(super) struct AtWork {
    shared: Arc<Shared>,
    place: Place,
    mode: Mode,
    /// When the mode is to be looked at again.
    look_at: Option<Instant>,
    /// The write of a transaction that was alone failed, and it is about to come again.
    failed: Option<redb::Error>,
}

impl AtWork {
    pub(super) fn new(shared: Arc<Shared>, place: Place, disk: Disk) -> Self {
        Self { shared, place, mode: Mode::Open { disk, full: None }, look_at: None, failed: None }
    }

    /// When [`AtWork::look_again`] has something to do.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// See [`Mode::max_group`].
    pub(super) fn max_group(&self) -> (usize, usize) {
        self.mode.max_group()
    }

    /// Leaves a database that shows everything, so that it can be copied alone; the next start would do without. Closes the file.
    pub(super) fn finish(&mut self) {
        if let Mode::Open { disk, .. } = &mut self.mode
            && let Err(error) = disk.finish(&self.shared.state.load())
        {
            tracing::warn!(%error, "the store's journal is left for the next start");
        }
        self.mode = Mode::Failed { reason: "the store is closed".into() };
    }

    /// Writes one transaction for whoever waits for it in place; `None`, and nothing done, when more is to be done than to
    /// write into the journal.
    pub(super) fn write_alone(&mut self, work: &Prepared) -> Option<(Answer, Woken)> {
        if self.failed.is_some() {
            return None;
        }
        let Mode::Open { disk, full: full @ None } = &mut self.mode else { return None };
        let applied = apply(&self.shared, full, [work].into_iter());
        if !applied.commits.is_empty() && !disk.has_place(&applied.commits) {
            return None;
        }
        match self.write(applied) {
            Ok((mut answers, woken)) => Some((answers.pop()?, woken)),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    /// Writes a group. A write that fails is tried once more when the file has been put right.
    pub(super) fn serve(&mut self, group: &[Request]) -> (Vec<Answer>, Woken) {
        let first = match self.failed.take() {
            Some(error) => Err(error),
            None => self.commit(group),
        };
        let outcome = first.or_else(|error| {
            self.recover(&error);
            self.commit(group)
        });
        outcome.unwrap_or_else(|error| {
            self.recover(&error);
            let full = disk::is_full(&error);
            let answer =
                if full { CommitError::Full } else { CommitError::Storage(error.to_string().into()) };
            (vec![Err(answer); group.len()], Woken::default())
        })
    }

    fn commit(&mut self, group: &[Request]) -> Result<(Vec<Answer>, Woken), redb::Error> {
        match &mut self.mode {
            Mode::Open { full, .. } => {
                let applied = apply(&self.shared, full, group.iter().map(|request| &request.work));
                self.write(applied)
            }
            Mode::Failing { reason, .. } | Mode::Failed { reason } => {
                let answers = vec![Err(CommitError::Storage(Arc::clone(reason))); group.len()];
                Ok((answers, Woken::default()))
            }
        }
    }

    /// Makes what was applied durable, and shows it.
    fn write(&mut self, applied: Applied) -> Result<(Vec<Answer>, Woken), redb::Error> {
        let Applied { before, state, commits, answers } = applied;
        let Mode::Open { disk, full } = &mut self.mode else { return Ok((answers, Woken::default())) };
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

    /// When it is time: looks for room on a full disk, and for a file that failed whether it can be written anew.
    pub(super) fn look_again(&mut self) {
        if self.look_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
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

/// What transactions lead to in their order, each seeing those before it.
fn apply<'w>(
    shared: &Shared,
    full: &mut Option<Allowance>,
    group: impl Iterator<Item = &'w Prepared>,
) -> Applied {
    let mut state: State = State::clone(&shared.state.load());
    let (before, mut commits) = (state.revision, Vec::new());
    let answer = |work: &Prepared| {
        full.as_mut().map_or(Ok(()), |allowance| allowance.admit(&state, &work.txn))?;
        let changes = state.apply(work)?;
        if !changes.is_empty() {
            commits.push(Commit { revision: state.revision, changes });
        }
        Ok(state.revision)
    };
    let answers = group.map(answer).collect();
    Applied { before, state, commits, answers }
}
