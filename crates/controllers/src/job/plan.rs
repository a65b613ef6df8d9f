//! What a Job needs now: whether it has come to its end, and which pods to make or to take away.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};

use super::backoff::{self, Backoff};
use super::conditions::Ending;
use super::indexes::Indexes;
use super::policy::{self, Failure};
use super::wish::Wish;
use crate::pods::work::Work;
use crate::pods::{KnownPod, Phase};

/// Pods made or deleted in one pass at most.
const BURST: usize = 500;

/// A Job with its pods, looked at.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) wish: Wish<'a>,
    pub(super) status: JobStatus,
    /// All pods that it controls; of an indexed Job by index.
    pub(super) pods: Vec<Arc<KnownPod>>,
    /// What was asked for and may not show yet.
    pub(super) asked: Asked,
    pub(super) active: Vec<Arc<KnownPod>>,
    pub(super) succeeded: u32,
    failed: u32,
    /// Indexes that had succeeded before, and those that have by now.
    pub(super) completed_before: Indexes,
    pub(super) completed: Indexes,
    /// Only with a limit for each index.
    pub(super) failed_indexes: Option<Indexes>,
    /// By index, the pod that failed last and that the next one takes its counts from.
    pub(super) to_replace: BTreeMap<u32, Arc<KnownPod>>,
    pub(super) backoff: Backoff,
    pub(super) ending: Option<Ending>,
}

/// UIDs of pods of which something was asked for that may not show yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Whose finalizer was to be removed.
    pub(super) released: HashSet<String>,
    /// That were to be deleted.
    pub(super) deleted: HashSet<String>,
}

/// What to do about pods.
#[derive(Debug)]
pub(super) enum Act {
    Nothing,
    /// Nothing until so much time has passed.
    Wait(Duration),
    /// Make so many.
    Create(usize),
    /// Make one for each of these indexes. Others may be made after the time.
    CreateIndexes(Vec<u32>, Option<Duration>),
    /// Take these away, uncounted.
    Delete(Vec<Arc<KnownPod>>),
}

impl<'a> View<'a> {
    /// Looks at a Job and `pods`, those that it controls. `backoff` is what was known before; `None` in the beginning.
    pub(super) fn of(
        job: &'a Job,
        wish: Wish<'a>,
        mut pods: Vec<Arc<KnownPod>>,
        asked: Asked,
        backoff: Option<Backoff>,
        now: Timestamp,
    ) -> Self {
        if wish.indexed {
            skiff_ordered::sort_by_key(&mut pods, |pod| pod.work().and_then(|work| work.index));
        }
        let stays = |pod: &&Arc<KnownPod>| pod.is_active() && !asked.deleted.contains(pod.uid());
        let active = pods.iter().filter(stays).cloned().collect();
        let counted = pods.iter().filter_map(|pod| Some((&**pod, pod.work()?)));
        let counted = counted.filter(|(pod, work)| !work.tracked || asked.released.contains(pod.uid()));
        let backoff = backoff.unwrap_or_else(|| backoff::remembered(counted));
        let mut view = Self {
            wish,
            status: job.status.clone().unwrap_or_default(),
            pods,
            asked,
            active,
            succeeded: 0,
            failed: 0,
            completed_before: Indexes::default(),
            completed: Indexes::default(),
            failed_indexes: None,
            to_replace: BTreeMap::new(),
            backoff,
            ending: None,
        };
        view.status.uncounted_terminated_pods.get_or_insert_default();
        view.count();
        view.look_at_indexes();
        view.ending = view.decide(job, now);
        view
    }

    /// Pods that are yet to be counted, or are being.
    pub(super) fn tracked(&self) -> impl Iterator<Item = (&Arc<KnownPod>, &Work)> {
        let works = self.pods.iter().filter_map(|pod| Some((pod, pod.work()?)));
        works.filter(|(pod, work)| work.tracked && !self.asked.released.contains(pod.uid()))
    }

    pub(super) fn ready(&self) -> usize {
        self.active.iter().filter(|pod| pod.is_ready()).count()
    }

    pub(super) fn terminating(&self) -> usize {
        self.pods.iter().filter(|pod| self.is_terminating(pod)).count()
    }

    fn is_terminating(&self, pod: &KnownPod) -> bool {
        !pod.is_terminal() && (pod.is_deleting() || self.asked.deleted.contains(pod.uid()))
    }

    /// The pods written down as succeeded and as failed whose finalizer was to be removed.
    pub(super) fn uncounted(&self) -> (HashSet<&str>, HashSet<&str>) {
        let uncounted = self.status.uncounted_terminated_pods.as_ref();
        fn set(uids: Option<&Vec<String>>) -> HashSet<&str> {
            uids.into_iter().flatten().map(String::as_str).collect()
        }
        (
            set(uncounted.and_then(|pods| pods.succeeded.as_ref())),
            set(uncounted.and_then(|pods| pods.failed.as_ref())),
        )
    }

    fn count(&mut self) {
        let (uncounted_succeeded, uncounted_failed) = self.uncounted();
        let valid = || self.tracked().filter(|(_, work)| self.wish.counts(work));
        let succeeded: Vec<&Work> = valid()
            .filter(|(pod, _)| pod.phase() == Phase::Succeeded && !uncounted_succeeded.contains(pod.uid()))
            .map(|(_, work)| work)
            .collect();
        let failed: Vec<_> = valid()
            .filter(|(pod, _)| self.wish.has_failed(pod) && !uncounted_failed.contains(pod.uid()))
            .collect();
        let counts = |(pod, work): &&(&Arc<KnownPod>, &Work)| self.failure(pod, work) != Failure::Ignored;
        let counting = failed.iter().filter(counts).count();
        let before = |count: Option<i32>| u32::try_from(count.unwrap_or(0)).unwrap_or(0);
        let all_succeeded =
            before(self.status.succeeded) + number(succeeded.len() + uncounted_succeeded.len());
        let all_failed = before(self.status.failed) + number(counting + uncounted_failed.len());
        let failed: Vec<&Work> = failed.into_iter().map(|(_, work)| work).collect();
        let backoff = self.backoff.after(&succeeded, &failed);
        (self.succeeded, self.failed, self.backoff) = (all_succeeded, all_failed, backoff);
    }

    pub(super) fn failure(&self, pod: &KnownPod, work: &Work) -> Failure {
        policy::of_failure(self.wish.failure_policy, pod, work)
    }

    fn look_at_indexes(&mut self) {
        let Some(completions) = self.wish.completions.filter(|_| self.wish.indexed) else { return };
        let known = |text: Option<&str>| Indexes::parse(text.unwrap_or(""), completions);
        self.completed_before = known(self.status.completed_indexes.as_deref());
        let succeeded = self.tracked().filter(|(pod, _)| pod.phase() == Phase::Succeeded);
        let succeeded: Indexes = succeeded.filter_map(|(_, work)| self.wish.index_of(work)).collect();
        self.completed = self.completed_before.and(&succeeded);
        self.succeeded = self.completed.total();
        if let Some(limit) = self.wish.limit_per_index {
            let failed = self.tracked().filter(|(pod, work)| self.fails_index(pod, work, limit));
            let failed: Indexes = failed.filter_map(|(_, work)| self.wish.index_of(work)).collect();
            self.failed_indexes = Some(known(self.status.failed_indexes.as_deref()).and(&failed));
            self.to_replace = self.failed_last();
        }
    }

    fn fails_index(&self, pod: &KnownPod, work: &Work, limit: i32) -> bool {
        self.wish.has_failed(pod)
            && match self.failure(pod, work) {
                Failure::FailsIndex => true,
                Failure::Ignored => false,
                Failure::Counts | Failure::FailsJob(_) => work.failures >= limit,
            }
    }

    /// Of each index that nobody works at, the pod that failed last. It stays until there is another, which takes over its counts.
    fn failed_last(&self) -> BTreeMap<u32, Arc<KnownPod>> {
        let active: HashSet<u32> = self.active.iter().filter_map(|pod| pod.work()?.index).collect();
        let settled = |index: u32| {
            let failed = self.failed_indexes.as_ref().is_some_and(|failed| failed.has(index));
            failed || self.completed.has(index) || active.contains(&index)
        };
        let rank = |pod: &KnownPod| {
            pod.work().map(|work| (work.failures.saturating_add(work.ignored_failures), work.finished))
        };
        let mut last = BTreeMap::<u32, Arc<KnownPod>>::new();
        for (pod, work) in self.tracked().filter(|(pod, _)| self.wish.has_failed(pod)) {
            let Some(index) = self.wish.index_of(work).filter(|index| !settled(*index)) else { continue };
            if last.get(&index).is_none_or(|other| rank(other) <= rank(pod)) {
                last.insert(index, pod.clone());
            }
        }
        last
    }

    /// How the Job ends, if it does: what was decided before holds, and what makes it fail goes before what makes it succeed.
    fn decide(&self, job: &Job, now: Timestamp) -> Option<Ending> {
        Ending::decided(&self.status)
            .or_else(|| self.fails_by_policy())
            .or_else(|| self.fails_by_limits(job, now))
            .or_else(|| self.fails_by_indexes())
            .or_else(|| {
                let completions = self.wish.completions.filter(|_| self.wish.indexed)?;
                let met = policy::of_success(self.wish.success_policy, &self.completed, completions)?;
                Some(Ending::success("SuccessPolicy", met))
            })
    }

    fn fails_by_policy(&self) -> Option<Ending> {
        let works = self.pods.iter().filter_map(|pod| Some((pod, pod.work()?)));
        let mut failed = works.filter(|(pod, _)| self.wish.has_failed(pod));
        failed.find_map(|(pod, work)| match self.failure(pod, work) {
            Failure::FailsJob(message) => Some(Ending::failure("PodFailurePolicy", message)),
            _ => None,
        })
    }

    fn fails_by_limits(&self, job: &Job, now: Timestamp) -> Option<Ending> {
        if self.failed > self.wish.backoff_limit || self.restarts_too_often() {
            let message = "Job has reached the specified backoff limit";
            return Some(Ending::failure("BackoffLimitExceeded", message));
        }
        let is_late = self.wish.time_left(job, now).is_some_and(|left| left.is_zero());
        let message = "Job was active longer than specified deadline";
        is_late.then(|| Ending::failure("DeadlineExceeded", message))
    }

    /// Containers that are started again fail without their pod.
    fn restarts_too_often(&self) -> bool {
        let running = self.pods.iter().filter(|pod| matches!(pod.phase(), Phase::Running | Phase::Pending));
        let restarts = running.filter_map(|pod| pod.work()).map(|work| i64::from(work.restarts)).sum::<i64>();
        self.wish.restarts_containers && restarts > 0 && restarts >= i64::from(self.wish.backoff_limit)
    }

    fn fails_by_indexes(&self) -> Option<Ending> {
        let failed = self.failed_indexes.as_ref().map(Indexes::total).filter(|failed| *failed > 0)?;
        if self.wish.max_failed_indexes.is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(Ending::failure("MaxFailedIndexesExceeded", message));
        }
        let all = self.wish.completions.is_some_and(|all| failed + self.completed.total() >= all);
        all.then(|| Ending::failure("FailedIndexes", "Job has failed indexes"))
    }

    /// Whether the Job is done, once `active` pods are left.
    pub(super) fn is_complete(&self, active: usize) -> bool {
        active == 0 && self.wish.completions.map_or(self.succeeded > 0, |all| self.succeeded >= all)
    }

    /// Which pods to make or to take away, of a Job that goes on.
    pub(super) fn act(&self, now: Timestamp) -> Act {
        let active = self.active.len();
        let wanted = match self.wish.completions {
            _ if self.wish.suspended => 0,
            None if self.succeeded > 0 => active,
            None => self.wish.parallelism,
            Some(all) => self.wish.parallelism.min(size(all.saturating_sub(self.succeeded))),
        };
        let mut excess = self.excess(active.saturating_sub(wanted));
        if !excess.is_empty() || self.wish.suspended {
            excess.truncate(if self.wish.suspended { usize::MAX } else { BURST });
            return if excess.is_empty() { Act::Nothing } else { Act::Delete(excess) };
        }
        let leaving = if self.wish.replaces_only_failed { self.terminating() } else { 0 };
        match wanted.saturating_sub(leaving + active).min(BURST) {
            0 => Act::Nothing,
            number => self.create(number, now),
        }
    }

    fn create(&self, number: usize, now: Timestamp) -> Act {
        if self.wish.limit_per_index.is_none() {
            let pause = self.backoff.remaining(now);
            if !pause.is_zero() {
                return Act::Wait(pause);
            }
        }
        let Some(completions) = self.wish.completions.filter(|_| self.wish.indexed) else {
            return Act::Create(number);
        };
        let pending = self.pending(number, completions);
        let pause = |index: &u32| {
            let work = self.to_replace.get(index).and_then(|pod| pod.work());
            work.map_or(Duration::ZERO, |work| backoff::of_index(work, now))
        };
        let (due, later): (Vec<u32>, Vec<u32>) =
            pending.into_iter().partition(|index| pause(index).is_zero());
        let more_in = later.iter().map(pause).min();
        match (due.is_empty(), more_in) {
            (true, None) => Act::Nothing,
            (true, Some(pause)) => Act::Wait(pause),
            (false, more_in) => Act::CreateIndexes(due, more_in),
        }
    }

    /// The first indexes that nobody works at, and that are not settled.
    fn pending(&self, number: usize, completions: u32) -> Vec<u32> {
        let leaving =
            self.pods.iter().filter(|pod| self.wish.replaces_only_failed && self.is_terminating(pod));
        let taken = self.active.iter().chain(leaving);
        let taken: Indexes = taken.filter_map(|pod| pod.work()?.index).collect();
        let failed = self.failed_indexes.as_ref().cloned().unwrap_or_default();
        self.completed.and(&taken).and(&failed).missing(number, completions)
    }

    /// At least `least` pods whose loss matters least; of an indexed Job all that have no index, or one that another has.
    fn excess(&self, least: usize) -> Vec<Arc<KnownPod>> {
        let mut ranked = self.active.clone();
        ranked.sort_by_cached_key(|pod| rank(pod));
        let (mut excess, mut kept) = (Vec::new(), ranked);
        if self.wish.indexed {
            let mut seen = HashSet::new();
            // Of several the one that matters most stays.
            let ranked = std::mem::take(&mut kept).into_iter().rev();
            for pod in ranked {
                let index = pod.work().and_then(|work| self.wish.index_of(work));
                let stays = index.is_some_and(|index| seen.insert(index));
                if stays { kept.push(pod) } else { excess.push(pod) }
            }
            kept.reverse();
            excess.reverse();
        }
        let more = least.saturating_sub(excess.len());
        excess.extend(kept.into_iter().take(more));
        excess
    }
}

/// Orders pods so that those whose loss matters least come first: unassigned, not running, not ready, ready for less long,
/// restarted more, younger.
fn rank(pod: &KnownPod) -> impl Ord + use<> {
    let phase = match pod.phase() {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        _ => 2,
    };
    (
        pod.node().is_some(),
        phase,
        pod.is_ready(),
        Reverse(pod.ready_since()),
        Reverse(pod.restarts()),
        Reverse(pod.created()),
    )
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
