//! Runs tests side by side on one node, until the last has ended or a signal asks to stop.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use skiff_tests::Cluster;
use tokio::signal::unix::{SignalKind, signal};

use crate::outcome::Outcome;
use crate::results::Results;
use crate::suite::{Suite, Test};

/// A cluster with the suite's images on a host with one interface that leads nowhere.
#[derive(Debug)]
pub(crate) struct Node(Cluster);

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Interrupted,
}

/// What happens during a run, in order.
#[derive(Debug)]
pub(crate) struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

#[derive(Debug)]
enum Event {
    Done(Test, anyhow::Result<Outcome>, Duration),
    Interrupted,
}

impl Events {
    /// From now on the first SIGINT, SIGTERM or SIGHUP is an event and does not end this program.
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        drop(entered);
        let (sender, receiver) = channel();
        let signalled = sender.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            // Nobody listens when the run has ended meanwhile.
            signalled.send(Event::Interrupted).ok();
        });
        Ok(Self { sender, receiver })
    }
}

/// Volumes may propagate mounts, which a container host's root does. The node's address must be one that pods
/// can reach, which loopback's is not: the other end of the pair is connected to nothing.
const PREPARE: &str = "mount --make-rshared / \
    && ip link add eth0 type veth peer name nowhere && ip link set nowhere up && ip link set eth0 up \
    && ip address add 192.0.2.10/24 dev eth0";

impl Node {
    pub(crate) fn start(images: &Path) -> anyhow::Result<Self> {
        let node = Self(Cluster::stopped());
        node.0.sh(PREPARE).ok();
        node.0.start();
        eprintln!("loading the images");
        for entry in std::fs::read_dir(images).with_context(|| images.display().to_string())? {
            let image = std::path::absolute(entry?.path())?;
            node.0.skiff(["image", "load", &image.to_string_lossy()]).ok();
        }
        Ok(node)
    }

    /// Ends every test that runs now. The host's process ids are its own, so no others have these names.
    fn end_tests(&self) {
        self.0.sh("pkill -KILL -x timeout; pkill -KILL -x e2e.test");
    }
}

impl Drop for Node {
    /// Control groups outlive the host's namespaces.
    fn drop(&mut self) {
        let output = self.0.skiff(["down", "--purge"]);
        if output.code != Some(0) {
            eprintln!("{output}");
        }
    }
}

/// What a run needs.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) node: &'a Node,
    pub(crate) suite: &'a Suite,
    pub(crate) events: &'a Events,
    /// How many tests may run at the same time.
    pub(crate) jobs: usize,
}

impl Run<'_> {
    /// Runs the tests, the serial ones last and alone.
    pub(crate) fn all(&self, tests: Vec<Test>, results: &mut Results) -> anyhow::Result<End> {
        let total = tests.len();
        let (serial, parallel): (Vec<Test>, Vec<Test>) = tests.into_iter().partition(Test::serial);
        for (tests, jobs) in [(parallel, self.jobs), (serial, 1)] {
            if self.side_by_side(tests, jobs, total, results)? == End::Interrupted {
                return Ok(End::Interrupted);
            }
        }
        Ok(End::Complete)
    }

    fn side_by_side(
        &self,
        tests: Vec<Test>,
        jobs: usize,
        total: usize,
        results: &mut Results,
    ) -> anyhow::Result<End> {
        let awaited = tests.len();
        let logs = results.logs().to_owned();
        let queue = Mutex::new(VecDeque::from(tests));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                let sender = self.events.sender.clone();
                let (node, suite, queue, stop, logs) = (self.node, self.suite, &queue, &stop, &logs);
                scope.spawn(move || Worker { node, suite, queue, stop, logs, sender }.run());
            }
            let end = self.follow(awaited, total, results);
            if !matches!(end, Ok(End::Complete)) {
                stop.store(true, Ordering::Relaxed);
                self.node.end_tests();
            }
            end
        })
    }

    /// Records what the threads tell, and tells people.
    fn follow(&self, awaited: usize, total: usize, results: &mut Results) -> anyhow::Result<End> {
        for _ in 0..awaited {
            match self.events.receiver.recv().context("a thread that runs tests ended")? {
                Event::Interrupted => return Ok(End::Interrupted),
                Event::Done(test, outcome, took) => {
                    let outcome = outcome.with_context(|| test.name().to_owned())?;
                    let (word, seconds) = (outcome.word(), took.as_secs());
                    let number = results.count() + 1;
                    println!("[{number:3}/{}] {word:9} {seconds:4} s  {}", total, test.name());
                    if !outcome.reason().is_empty() {
                        println!("          {}", outcome.reason());
                    }
                    results.add(test, outcome, took)?;
                }
            }
        }
        Ok(End::Complete)
    }
}

/// One of the threads that run tests.
struct Worker<'a> {
    node: &'a Node,
    suite: &'a Suite,
    queue: &'a Mutex<VecDeque<Test>>,
    /// No further test is to begin.
    stop: &'a AtomicBool,
    logs: &'a Path,
    sender: Sender<Event>,
}

impl Worker<'_> {
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(test) = next else { return };
            let began = Instant::now();
            let outcome = self.suite.run(&self.node.0, &test, &self.logs.join(test.log()));
            // Nobody listens when the run was interrupted; then `stop` is set.
            self.sender.send(Event::Done(test, outcome, began.elapsed())).ok();
        }
    }
}
