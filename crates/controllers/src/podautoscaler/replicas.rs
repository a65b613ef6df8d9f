//! How many replicas bring a metric to its target.
//!
//! All values are in thousandths. A pod of which nothing is known, or that has just started, is taken for what makes the change
//! smallest: as at its target when there are to be fewer, and as doing nothing when there are to be more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition};
use kube::ResourceExt;
use skiff_quantity::{Quantity, Role, at_one_time};

/// How long a pod may take to start, during which its use of CPU says little.
const CPU_INITIALIZATION: Duration = Duration::from_secs(5 * 60);
/// A pod that became unready so soon after its start has never been ready.
const INITIAL_READINESS: Duration = Duration::from_secs(30);

/// What a pod uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) value: i64,
    /// When it was taken, and of how long before it tells.
    pub(super) at: Timestamp,
    pub(super) window: Duration,
}

/// By name of the pod.
pub(super) type Samples = BTreeMap<String, Sample>;

/// How far from the target nothing is changed, as parts of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerances {
    pub(super) down: f64,
    pub(super) up: f64,
}

impl Tolerances {
    fn allow(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What is asked for, of which resource of which container. Without a container all of a pod count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource<'a> {
    pub(super) name: &'a str,
    pub(super) container: Option<&'a str>,
}

/// Pods with what is known of them.
#[derive(Debug)]
pub(super) struct Measured<'a> {
    pods: &'a [Pod],
    /// Of those that count.
    samples: Samples,
    ready: usize,
    unready: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl<'a> Measured<'a> {
    /// Sorts pods by what is known of them. `of_cpu` are samples that say little while a pod starts.
    pub(super) fn of(
        pods: &'a [Pod],
        mut samples: Samples,
        of_cpu: bool,
        now: Timestamp,
    ) -> Result<Self, String> {
        if pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".into());
        }
        let (mut ready, mut unready, mut missing) = (0, BTreeSet::new(), BTreeSet::new());
        for pod in pods {
            let name = pod.name_any();
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if pod.metadata.deletion_timestamp.is_some() || phase == Some("Failed") {
                samples.remove(&name);
            } else if phase == Some("Pending") {
                samples.remove(&name);
                unready.insert(name);
            } else if let Some(sample) = samples.get(&name) {
                if of_cpu && is_starting(pod, sample, now) {
                    samples.remove(&name);
                    unready.insert(name);
                } else {
                    ready += 1;
                }
            } else {
                missing.insert(name);
            }
        }
        if samples.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".into());
        }
        Ok(Self { pods, samples, ready, unready, missing })
    }

    /// How many replicas use `target` percent of what they request, and how much is used: as percentage, and by each.
    pub(super) fn by_utilization(
        self,
        current: i32,
        target: i32,
        resource: Resource<'_>,
        tolerances: Tolerances,
    ) -> Result<(i32, i32, i64), String> {
        let requests = requests(self.pods, resource)?;
        let ratio = |samples: &Samples| utilization(samples, &requests, target);
        let (first, percentage, average) = ratio(&self.samples)?;
        let fallback = |pod: &str| requests.get(pod).copied().unwrap_or(0) * i64::from(target.max(100)) / 100;
        let replicas =
            self.replicas(current, first, tolerances, fallback, |samples| Ok(ratio(samples)?.0))?;
        Ok((replicas, percentage, average))
    }

    /// How many replicas use `target` each, and how much each uses.
    pub(super) fn by_average(
        self,
        current: i32,
        target: i64,
        tolerances: Tolerances,
    ) -> Result<(i32, i64), String> {
        let (first, average) = average(&self.samples, target);
        let replicas = self.replicas(
            current,
            first,
            tolerances,
            |_| target,
            |samples| Ok(average_ratio(samples, target)),
        )?;
        Ok((replicas, average))
    }

    fn replicas(
        mut self,
        current: i32,
        first: f64,
        tolerances: Tolerances,
        fallback: impl Fn(&str) -> i64,
        ratio: impl Fn(&Samples) -> Result<f64, String>,
    ) -> Result<i32, String> {
        let grows_with_unready = !self.unready.is_empty() && first > 1.0;
        if !grows_with_unready && self.missing.is_empty() {
            let unchanged = tolerances.allow(first);
            return Ok(if unchanged { current } else { rounded_up(first * float(self.ready)) });
        }
        let assumed = |value| Sample { value, at: Timestamp::UNIX_EPOCH, window: Duration::ZERO };
        for pod in std::mem::take(&mut self.missing) {
            if first < 1.0 {
                let value = fallback(&pod);
                self.samples.insert(pod, assumed(value));
            } else if first > 1.0 {
                self.samples.insert(pod, assumed(0));
            }
        }
        if grows_with_unready {
            self.samples.extend(std::mem::take(&mut self.unready).into_iter().map(|pod| (pod, assumed(0))));
        }
        let second = ratio(&self.samples)?;
        let turns = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
        if tolerances.allow(second) || turns {
            return Ok(current);
        }
        let replicas = rounded_up(second * float(self.samples.len()));
        let turns = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
        Ok(if turns { current } else { replicas })
    }
}

/// How many replicas bring one value of all of them to its target.
pub(super) fn by_value(
    current: i32,
    value: i64,
    target: i64,
    pods: &[Pod],
    tolerances: Tolerances,
) -> Result<i32, String> {
    let ratio = ratio(value, target);
    if current == 0 {
        return Ok(rounded_up(ratio));
    }
    if tolerances.allow(ratio) {
        return Ok(current);
    }
    if pods.is_empty() {
        let why = "no pods returned by selector while calculating replica count";
        return Err(format!("unable to calculate ready pods: {why}"));
    }
    let ready = pods.iter().filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        phase == Some("Running") && ready(pod).is_some_and(|ready| ready.status == "True")
    });
    Ok(rounded_up(ratio * float(ready.count())))
}

/// How many replicas share a value so that each has its target, and how much each has now.
pub(super) fn by_share(replicas: i32, value: i64, target: i64, tolerances: Tolerances) -> (i32, i64) {
    let ratio = ratio(value, target) / f64::from(replicas);
    let new = if tolerances.allow(ratio) { replicas } else { rounded_up(self::ratio(value, target)) };
    let share = if replicas == 0 {
        i64::MAX
    } else {
        value.div_euclid(replicas.into()) + i64::from(value.rem_euclid(replicas.into()) != 0)
    };
    (new, share)
}

fn is_starting(pod: &Pod, sample: &Sample, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(started), Some(ready)) = (started, ready(pod)) else { return true };
    let changed = ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let after = |time: Timestamp, wait: Duration| time.checked_add(wait).unwrap_or(Timestamp::MAX);
    let is_unready = ready.status == "False";
    if after(started.0, CPU_INITIALIZATION) > now {
        // Also as long as the sample tells of a time before it became ready.
        is_unready || sample.at < after(changed, sample.window)
    } else {
        is_unready && after(started.0, INITIAL_READINESS) > changed
    }
}

fn ready(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")
}

/// What each pod requests.
fn requests(pods: &[Pod], resource: Resource<'_>) -> Result<BTreeMap<String, i64>, String> {
    pods.iter().map(|pod| Ok((pod.name_any(), request(pod, resource)?))).collect()
}

fn request(pod: &Pod, resource: Resource<'_>) -> Result<i64, String> {
    let Some(spec) = &pod.spec else { return Ok(0) };
    let (wanted, name) = (resource.name, pod.name_any());
    let of_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    if resource.container.is_none() && of_pod.is_some_and(|requests| !requests.is_empty()) {
        let whole = of_pod.and_then(|requests| requests.get(wanted)).and_then(|amount| amount.0.parse().ok());
        let overhead = spec.overhead.as_ref().and_then(|overhead| overhead.get(wanted));
        let overhead = overhead.and_then(|amount| amount.0.parse::<Quantity>().ok());
        let whole = whole.or_else(|| at_one_time(roles(spec).map(|(role, one)| (role, amount(one, wanted)))));
        let missing = || format!("missing pod-level request for {wanted} in Pod {name}");
        let whole: Quantity = whole.ok_or_else(missing)?;
        return Ok(overhead.map_or(whole, |overhead| whole.plus(overhead)).millis());
    }
    let mut total = 0_i64;
    for (_, container) in roles(spec).filter(|(role, _)| *role != Role::Init) {
        if resource.container.is_some_and(|only| only != container.name) {
            continue;
        }
        let missing =
            || format!("missing request for {wanted} in container {} of Pod {name}", container.name);
        total = total.saturating_add(amount(container, wanted).ok_or_else(missing)?.millis());
        if resource.container.is_some() {
            return Ok(total);
        }
    }
    match resource.container {
        Some(container) => Err(format!("container {container} not found in Pod {name}")),
        None => Ok(total),
    }
}

fn roles(spec: &k8s_openapi::api::core::v1::PodSpec) -> impl Iterator<Item = (Role, &Container)> {
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|one| (Role::of_init(one.restart_policy.as_deref()), one));
    spec.containers.iter().map(|one| (Role::Main, one)).chain(init)
}

fn amount(container: &Container, resource: &str) -> Option<Quantity> {
    container.resources.as_ref()?.requests.as_ref()?.get(resource)?.0.parse().ok()
}

/// The ratio to the target, the percentage used, and what each pod uses.
fn utilization(
    samples: &Samples,
    requests: &BTreeMap<String, i64>,
    target: i32,
) -> Result<(f64, i32, i64), String> {
    let known = samples.iter().filter_map(|(pod, sample)| Some((sample.value, *requests.get(pod)?)));
    let (mut used, mut requested, mut number) = (0_i64, 0_i64, 0_i64);
    for (value, request) in known {
        used = used.saturating_add(value);
        requested = requested.saturating_add(request);
        number += 1;
    }
    if requested == 0 {
        return Err("no metrics returned matched known pods".into());
    }
    let percentage = i32::try_from(used.saturating_mul(100) / requested).unwrap_or(i32::MAX);
    Ok((f64::from(percentage) / f64::from(target), percentage, used / number))
}

/// The ratio to the target, and what each pod uses.
fn average(samples: &Samples, target: i64) -> (f64, i64) {
    let used: i64 = samples.values().fold(0, |sum, sample| sum.saturating_add(sample.value));
    let average = used / i64::try_from(samples.len()).unwrap_or(i64::MAX).max(1);
    (ratio(average, target), average)
}

fn average_ratio(samples: &Samples, target: i64) -> f64 {
    average(samples, target).0
}

#[allow(clippy::cast_precision_loss, reason = "a ratio is not exact anyway")]
fn ratio(value: i64, target: i64) -> f64 {
    value as f64 / target as f64
}

#[allow(clippy::cast_precision_loss, reason = "there are never so many pods")]
fn float(number: usize) -> f64 {
    number as f64
}

/// A number of replicas: what is more than there can be is the most.
#[allow(clippy::cast_possible_truncation, reason = "the conversion saturates")]
fn rounded_up(number: f64) -> i32 {
    number.ceil() as i32
}

#[cfg(test)]
mod tests;
