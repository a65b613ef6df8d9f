//! Who writes: a thread takes whatever transactions wait, and makes them durable with one fsync. Who comes while nobody writes or
//! waits writes itself instead if the disk is a quick one, since the way to the thread and back takes as long as such a disk.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::yield_now;

use super::at_work::{AtWork, Request};
use crate::state::Prepared;
use crate::types::{CommitError, Revision};

/// The longest that a transaction waits for others to share its fsync.
const PATIENCE: Duration = Duration::from_millis(1);

/// A disk that takes no longer than this is waited for in place: a few times what the way to the thread and back takes, and no more
/// than the work of a large request, which holds up a thread of the runtime as well.
const QUICK: Duration = if cfg!(test) { Duration::from_secs(5) } else { Duration::from_micros(250) };

/// The most transactions that wait or are being written; who comes then waits for one of them to be answered.
const MAX_WAITING: usize = 4096;

/// Who writes a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Who brings it, unless others come before it begins.
    Own,
    /// The thread.
    OfThread,
}

/// Handle of the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The line itself has no bound: these are it.
    places: Arc<Semaphore>,
}

/// Where transactions wait, and what they are written with.
struct Desk {
    line: Mutex<Line>,
    /// The thread is told by it that it need not wait any longer.
    called: Condvar,
    /// Locked by whoever writes. Who has it may lock the line; who has the line may only try to lock it.
    at_work: Mutex<AtWork>,
}

/// Those who wait for the thread.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Request>,
    /// With how many of them the thread wants to be called; 0 while it does not listen.
    wanted: usize,
    /// Nobody is taken any more.
    closed: bool,
    last: Last,
}

/// What the last group was.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// How many transactions.
    count: usize,
    /// How long they took to be written.
    took: Duration,
}

impl Last {
    /// Whether the next may write itself.
    fn was_alone_and_quick(self) -> bool {
        self.count <= 1 && self.took <= QUICK
    }
}

impl Writer {
    pub(super) fn start(at_work: AtWork) -> Self {
        let desk =
            Arc::new(Desk { line: Mutex::default(), called: Condvar::new(), at_work: Mutex::new(at_work) });
        let of_thread = Arc::clone(&desk);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || of_thread.keep_writing())
            .expect("the process can start a thread while it starts up");
        Self { desk, thread: Mutex::new(Some(thread)), places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    pub(super) async fn commit(&self, work: Prepared) -> Result<Revision, CommitError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| CommitError::Closed)?;
        let (answer, result) = oneshot::channel();
        if self.desk.line_up(Request { work, answer, _place: place })? == Turn::Own {
            let calls = CallsThread(&self.desk);
            // The others of this task, and those that are ready to run, come first: they are to share the fsync.
            yield_now().await;
            self.desk.write_alone();
            drop(calls);
        }
        result.await.map_err(|_| CommitError::Closed)?
    }

    /// Waits until everything accepted is durable and the file is closed.
    pub(super) fn close(&self) {
        self.desk.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Whether other threads go on with the runtime's tasks while this one waits for a disk.
fn others_go_on() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() > 1)
}

impl Desk {
    /// Puts a transaction into the line. The thread is not called for one that may be alone.
    fn line_up(&self, request: Request) -> Result<Turn, CommitError> {
        let mut line = self.line.lock();
        if line.closed {
            return Err(CommitError::Closed);
        }
        let alone = line.waiting.is_empty() && self.free(&line).is_some() && others_go_on();
        line.waiting.push_back(request);
        if alone {
            return Ok(Turn::Own);
        }
        self.call(&line);
        Ok(Turn::OfThread)
    }

    /// Calls the thread, if it waits for no more than are there.
    fn call(&self, line: &Line) {
        if (1..=line.waiting.len()).contains(&line.wanted) {
            self.called.notify_one();
        }
    }

    fn close(&self) {
        self.line.lock().closed = true;
        self.called.notify_one();
    }

    /// What to write with, if nobody writes, and whoever wrote last was alone and quick.
    fn free(&self, line: &Line) -> Option<MutexGuard<'_, AtWork>> {
        // While the line is locked, so that nobody writes after the store was closed.
        if line.closed || !line.last.was_alone_and_quick() { None } else { self.at_work.try_lock() }
    }

    /// Writes the one transaction that waits, and leaves it to the thread when there are more, somebody writes, or more is to be
    /// done than to write.
    fn write_alone(&self) {
        let mut line = self.line.lock();
        if line.waiting.len() != 1 {
            return;
        }
        let Some(mut at_work) = self.free(&line) else { return };
        let Some(request) = line.waiting.pop_front() else { return };
        drop(line);
        let panics = ClosesIfPanics(self);
        let started = Instant::now();
        let Some((answer, woken)) = at_work.write_alone(&request.work) else {
            // Before anybody else can write: those who have come meanwhile come after it.
            self.line.lock().waiting.push_front(request);
            return;
        };
        let last = Last { count: 1, took: started.elapsed() };
        drop((at_work, panics));
        self.line.lock().last = last;
        // A requester that has gone away does not undo its write; there is nobody to tell.
        drop(request.answer.send(answer));
        drop(woken);
    }

    /// The thread: writes until the store is closed and nobody waits.
    fn keep_writing(&self) {
        let _panics = ClosesIfPanics(self);
        let mut look_at = None;
        while self.wait(look_at) {
            let mut at_work = self.at_work.lock();
            at_work.look_again();
            let group = self.gather(at_work.max_group());
            let started = Instant::now();
            let (answers, woken) = at_work.serve(&group);
            look_at = at_work.look_at();
            // Before anybody is answered, who otherwise would find the thread at work when it comes again.
            drop(at_work);
            if !group.is_empty() {
                self.line.lock().last = Last { count: group.len(), took: started.elapsed() };
            }
            for (request, answer) in group.into_iter().zip(answers) {
                // A requester that has gone away does not undo its write; there is nobody to tell.
                drop(request.answer.send(answer));
            }
            // Who waits for an answer goes before those who watch.
            drop(woken);
        }
        self.at_work.lock().finish();
    }

    /// Waits for somebody, no longer than until this time; `false` when nobody will come any more.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut line = self.line.lock();
        line.wanted = 1;
        let mut overdue = false;
        while line.waiting.is_empty() && !line.closed && !overdue {
            match until {
                None => self.called.wait(&mut line),
                Some(until) => overdue = self.called.wait_until(&mut line, until).timed_out(),
            }
        }
        line.wanted = 0;
        overdue || !line.waiting.is_empty()
    }

    /// Those who wait, in order, as far as they may share an fsync. Who was answered mostly comes back with the next: as many as
    /// came the last time are waited for, no longer than their writing took, for a group costs about as much as ten of
    /// its transactions. Who writes alone never waits.
    fn gather(&self, (most, most_bytes): (usize, usize)) -> Vec<Request> {
        let mut line = self.line.lock();
        let until = Instant::now() + line.last.took.min(PATIENCE);
        line.wanted = line.last.count.min(most);
        let mut overdue = line.waiting.is_empty();
        while line.waiting.len() < line.wanted && !line.closed && !overdue {
            overdue = self.called.wait_until(&mut line, until).timed_out();
        }
        line.wanted = 0;
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < most && bytes < most_bytes {
            let Some(next) = line.waiting.pop_front() else { break };
            bytes += next.bytes();
            group.push(next);
        }
        group
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

/// Calls the thread for whatever waits when its holder is done, or goes away.
struct CallsThread<'a>(&'a Desk);

impl Drop for CallsThread<'_> {
    fn drop(&mut self) {
        self.0.call(&self.0.line.lock());
    }
}

/// Closes the store when its holder panics: nobody knows what was written.
struct ClosesIfPanics<'a>(&'a Desk);

impl Drop for ClosesIfPanics<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.line.lock().waiting.clear();
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::task::{Context, Waker};

    use futures::future::join_all;
    use redb::{Database, DatabaseError, StorageBackend};
    use tokio::task::unconstrained;

    use super::*;
    use crate::Store;
    use crate::embedded::Embedded;
    use crate::embedded::disk::Place;
    use crate::embedded::medium::{self, Allocated, Medium};
    use crate::transformer::Plain;
    use crate::types::{Key, Op, Txn, no_terms};

    /// A disk that knows which threads synced it, and that can be held up.
    #[derive(Clone, Debug, Default)]
    struct Watched {
        synced_by: Arc<Mutex<Vec<String>>>,
        free: Arc<Mutex<()>>,
    }

    #[derive(Debug)]
    struct WatchedFile(Watched, Allocated);

    impl Medium for Watched {
        fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
            medium::database(WatchedFile(self.clone(), Allocated::open(path)?))
        }

        fn file(&self, path: &Path) -> Result<Box<dyn StorageBackend>, DatabaseError> {
            Ok(Box::new(WatchedFile(self.clone(), Allocated::open(path)?)))
        }

        fn available(&self, _: &Path) -> io::Result<u64> {
            Ok(u64::MAX)
        }
    }

    impl StorageBackend for WatchedFile {
        fn len(&self) -> io::Result<u64> {
            self.1.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.1.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.1.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            drop(self.0.free.lock());
            self.0.synced_by.lock().push(thread::current().name().unwrap_or_default().to_owned());
            self.1.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.1.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.1.close()
        }
    }

    fn store() -> (tempfile::TempDir, Watched, Embedded) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Watched::default();
        let path = dir.path().join("state.redb");
        let place = Place { medium: Arc::new(disk.clone()), path, seals: Arc::new(Plain) };
        let store = Embedded::open_on(place, no_terms.into()).unwrap();
        disk.synced_by.lock().clear();
        (dir, disk, store)
    }

    async fn put(store: &Embedded, number: usize) -> Revision {
        let op = Op::Put { key: Key::from(number.to_string()), value: "1".into() };
        store.commit(Txn { expect: Vec::new(), ops: vec![op] }).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_is_alone_writes_itself() {
        let (_dir, disk, store) = store();
        // The first finds no journal begun, which is the thread's to do.
        put(&store, 0).await;
        disk.synced_by.lock().clear();
        for number in 0..5 {
            put(&store, number).await;
        }
        let own = disk.synced_by.lock().clone();
        assert!(own.len() == 5 && own.iter().all(|name| name != "store-writer"), "{own:?}");
    }

    #[test]
    fn only_who_follows_one_alone_on_a_quick_disk_writes_itself() {
        let last = |count, took| Last { count, took }.was_alone_and_quick();
        assert!(Last::default().was_alone_and_quick() && last(1, QUICK));
        assert!(!last(2, QUICK) && !last(1, QUICK + Duration::from_nanos(1)));
    }

    #[tokio::test]
    async fn the_only_thread_of_a_runtime_is_not_held_up() {
        let (_dir, disk, store) = store();
        put(&store, 0).await;
        disk.synced_by.lock().clear();
        put(&store, 1).await;
        assert_eq!(*disk.synced_by.lock(), ["store-writer"]);
    }

    /// Also the writers of one task, none of which can wait for the others.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_comes_together_shares_syncs() {
        const WRITERS: usize = 32;
        let (_dir, disk, store) = store();
        let held = disk.free.lock();
        let mut all = Box::pin(unconstrained(join_all((0..WRITERS).map(|number| put(&store, number)))));
        while store.writer.places.available_permits() > MAX_WAITING - WRITERS {
            let polled = all.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "the disk is held up");
        }
        drop(held);
        assert_eq!(all.await.len(), WRITERS);
        let syncs = disk.synced_by.lock().clone();
        // Those that came before the thread began, and the others.
        assert!(syncs.len() <= 2 && syncs.iter().all(|name| name == "store-writer"), "{syncs:?}");
    }
}
