//! Scales what a HorizontalPodAutoscaler refers to, so that its metrics come to their targets.
//!
//! Metrics change without telling, so each autoscaler is looked at every 15 seconds; all else is done when something changes. Metrics are
//! asked for through the API server, where whatever serves them is registered.
//!
//! Sources: the API reference of HorizontalPodAutoscaler, Kubernetes' pages on it, KEP-853 (behaviour), KEP-4951 (tolerance).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Client, Resource, ResourceExt};
use parking_lot::Mutex;
use skiff_informer::{Next, ObjectKey, Recorder, describe, is_conflict};
use skiff_machinery::selector::LabelSelector;
use tracing::debug;

use crate::discovery::ResourceKind;
use crate::environment::{Controller, Environment};
use crate::informers::{Informers, api};
use crate::notes::Note;
use crate::scales::{KindName, ScaleError, Scales};
use crate::workload::{Owner, Selector, status as statuses};

mod behavior;
mod metrics;
mod proposal;
mod replicas;
mod status;

use behavior::{History, Wanted};
use metrics::Metrics;
use proposal::{Target, propose, tolerances};
use status::{Report, Type};

const NAME: &str = "horizontal-pod-autoscaler";
/// Autoscalers looked at at once.
const WORKERS: usize = 5;
/// How often each is looked at: metrics do not tell when they change.
const AGAIN: Duration = Duration::from_secs(15);
/// How often a scale is written that others write at the same time.
const TRIES: usize = 5;

/// A status that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the status of autoscaler {autoscaler}")]
struct Error {
    autoscaler: ObjectKey,
    source: kube::Error,
}

struct Autoscalers {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    scales: Scales,
    memory: Mutex<HashMap<ObjectKey, Memory>>,
}

/// What is remembered of an autoscaler between passes.
#[derive(Default)]
struct Memory {
    history: History,
    /// What selects its pods.
    selector: Option<LabelSelector>,
}

/// What an autoscaler scales.
struct Scaled {
    scale: Scale,
    kind: ResourceKind,
}

impl Scaled {
    fn wanted(&self) -> i32 {
        self.scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
    }
}

/// What the metrics ask for.
struct Asked {
    replicas: i32,
    metric: String,
    statuses: Vec<MetricStatus>,
}

impl Owner for HorizontalPodAutoscaler {
    /// It owns nothing.
    fn selector(&self) -> Selector {
        Selector::default()
    }
}

/// Subscribes to autoscalers and returns the running controller.
pub(crate) fn controller(environment: &Environment<'_>) -> Controller {
    let informers = &environment.informers;
    let queue = environment.vitals.queue("horizontalpodautoscaler");
    let wake = queue.clone();
    informers.autoscalers.subscribe(move |change| {
        // Of what is only said of it nothing follows.
        if change.old.map(|old| &old.spec) != change.new.map(|new| &new.spec) {
            wake.add(change.key.clone());
        }
    });
    let client = environment.client(NAME);
    let autoscalers = Autoscalers {
        recorder: Recorder::start(client.clone(), NAME, ""),
        scales: Scales::new(client.clone()),
        client,
        informers: informers.clone(),
        memory: Mutex::default(),
    };
    environment.reconciler(queue, &[&informers.autoscalers], WORKERS, autoscalers, |autoscalers, key| {
        autoscalers.reconcile(key).boxed()
    })
}

impl Autoscalers {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(autoscaler) = self.informers.autoscalers.get(&key) else {
            self.memory.lock().remove(&key);
            return Ok(Next::Done);
        };
        let mut report = Report::of(&autoscaler, Timestamp::now());
        self.look(&autoscaler, &mut report).await;
        if !statuses::says_the_same(autoscaler.status.as_ref(), &report.status) {
            let autoscaler = HorizontalPodAutoscaler { status: Some(report.status), ..(*autoscaler).clone() };
            if let Err(source) = statuses::write(&self.client, &autoscaler).await {
                self.tell(&autoscaler, Note::warning("FailedUpdateStatus", describe(&source)));
                // With what it is by then.
                debug!(error = %Error { autoscaler: key, source }, "autoscaler is looked at again later");
            }
        }
        Ok(Next::After(AGAIN))
    }

    /// One look: at the scale, then at the metrics, if they decide.
    async fn look(&self, autoscaler: &HorizontalPodAutoscaler, report: &mut Report) {
        let spec = autoscaler.spec.clone();
        let scaled = match self.scaled(autoscaler, &spec).await {
            Ok(scaled) => scaled,
            Err(why) => {
                self.tell(autoscaler, Note::warning("FailedGetScale", why.to_string()));
                let message =
                    format!("the HPA controller was unable to get the target's current scale: {why}");
                return report.set(Type::AbleToScale, false, "FailedGetScale", message);
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        report.set(Type::AbleToScale, true, "SucceededGetScale", message);
        let (current, min) = (scaled.wanted(), spec.min_replicas.unwrap_or(1));
        self.remember(autoscaler, |memory| memory.history.begin(current, Timestamp::now()));
        if current == 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            report.set(Type::ScalingActive, false, "ScalingDisabled", message);
            return note(report, current, current, Vec::new());
        }
        let outside = if current > spec.max_replicas {
            Some((spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"))
        } else if current < min {
            Some((min, "Current number of replicas below Spec.MinReplicas"))
        } else {
            None
        };
        if let Some((desired, why)) = outside {
            return self.rescale(autoscaler, scaled, desired, why, Vec::new(), report).await;
        }
        let asked = match self.ask(autoscaler, &spec, &scaled, report).await {
            Ok(asked) => asked,
            Err((why, statuses)) => {
                let before = report.status.desired_replicas;
                note(report, current, before, statuses);
                return self.tell(autoscaler, Note::warning("FailedComputeMetricsReplicas", why));
            }
        };
        let wanted = Wanted { current, min, max: spec.max_replicas, desired: asked.replicas };
        let desired = self.normalize(autoscaler, &spec, wanted, report);
        if desired == current {
            return note(report, current, current, asked.statuses);
        }
        let why = match asked.replicas.cmp(&current) {
            Ordering::Greater => format!("{} above target", asked.metric),
            Ordering::Less => "All metrics below target".to_owned(),
            Ordering::Equal => String::new(),
        };
        self.rescale(autoscaler, scaled, desired, &why, asked.statuses, report).await;
    }

    async fn scaled(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        spec: &HorizontalPodAutoscalerSpec,
    ) -> Result<Scaled, ScaleError> {
        let target = &spec.scale_target_ref;
        let kind = KindName::of(target.api_version.as_deref().unwrap_or(""), &target.kind).of_any_version();
        let kind = self.scales.resource(kind).await?;
        let scale = self.scales.get(autoscaler.key().namespace(), &target.name, &kind).await?;
        Ok(Scaled { scale, kind })
    }

    /// What the metrics ask for: the most of them. Of those that are not known, none makes the replicas fewer.
    async fn ask(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        spec: &HorizontalPodAutoscalerSpec,
        scaled: &Scaled,
        report: &mut Report,
    ) -> Result<Asked, (String, Vec<MetricStatus>)> {
        let selector =
            scaled.scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        let pods = self.pods(autoscaler, &selector, report).await.map_err(|why| (why, Vec::new()))?;
        let key = autoscaler.key();
        let metrics = Metrics { client: &self.client, scales: &self.scales, namespace: key.namespace() };
        let target = Target {
            wanted: scaled.wanted(),
            present: scaled.scale.status.as_ref().map_or(0, |status| status.replicas),
            pods: &pods,
            selector: &selector,
            tolerances: tolerances(autoscaler),
            now: Timestamp::now(),
        };
        let all = spec.metrics.as_deref().unwrap_or_default();
        let mut asked = Asked { replicas: 0, metric: String::new(), statuses: Vec::new() };
        let mut failures = Vec::new();
        for one in all {
            match propose(one, &metrics, &target).await {
                Ok(proposal) => {
                    asked.statuses.push(proposal.status);
                    if asked.replicas == 0 || proposal.replicas > asked.replicas {
                        (asked.replicas, asked.metric) = (proposal.replicas, proposal.metric);
                    }
                }
                Err(failure) => {
                    asked.statuses.push(MetricStatus::default());
                    self.tell(autoscaler, Note::warning(failure.reason, failure.cause.clone()));
                    failures.push(failure);
                }
            }
        }
        let number = failures.len();
        if let Some(first) = failures.into_iter().next()
            && (number >= all.len() || asked.replicas < target.wanted)
        {
            let message = format!("the HPA was unable to compute the replica count: {}", first.cause);
            report.set(Type::ScalingActive, false, first.reason, message);
            let why = format!(
                "invalid metrics ({number} invalid out of {}), first error is: {}",
                all.len(),
                first.summary
            );
            return Err((why, asked.statuses));
        }
        let message =
            format!("the HPA was able to successfully calculate a replica count from {}", asked.metric);
        report.set(Type::ScalingActive, true, "ValidMetricFound", message);
        Ok(asked)
    }

    /// The pods that the scale selects, and no other autoscaler.
    async fn pods(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        selector: &str,
        report: &mut Report,
    ) -> Result<Vec<Pod>, String> {
        if selector.is_empty() {
            self.tell(autoscaler, Note::warning("SelectorRequired", "selector is required"));
            let message = "the HPA target's scale is missing a selector";
            report.set(Type::ScalingActive, false, "InvalidSelector", message);
            return Err("selector is required".into());
        }
        let parsed = LabelSelector::parse(selector).map_err(|why| {
            let why =
                format!("couldn't convert selector into a corresponding internal selector object: {why}");
            self.tell(autoscaler, Note::warning("InvalidSelector", why.clone()));
            report.set(Type::ScalingActive, false, "InvalidSelector", why.clone());
            why
        })?;
        self.remember(autoscaler, |memory| memory.selector = Some(parsed));
        let key = autoscaler.key();
        let pods = api::<Pod>(&self.client, &key).list(&ListParams::default().labels(selector)).await;
        let pods = pods.map_err(|error| describe(&error))?.items;
        let selecting = self.selecting(key.namespace(), &pods);
        if selecting.len() > 1 {
            let names: Vec<_> =
                selecting.iter().map(|key| format!("{{{} {}}}", key.name(), key.namespace())).collect();
            let why =
                format!("pods by selector {selector} are controlled by multiple HPAs: [{}]", names.join(" "));
            self.tell(autoscaler, Note::warning("AmbiguousSelector", why.clone()));
            report.set(Type::ScalingActive, false, "AmbiguousSelector", why.clone());
            return Err(why);
        }
        Ok(pods)
    }

    /// The autoscalers of the namespace that select any of these pods, by name.
    fn selecting(&self, namespace: &str, pods: &[Pod]) -> Vec<ObjectKey> {
        let memory = self.memory.lock();
        let selects = |selector: &LabelSelector| {
            pods.iter().any(|pod| selector.matches_by(|key| pod.labels().get(key).map(String::as_str)))
        };
        let selecting = memory.iter().filter(|(key, memory)| {
            key.namespace() == namespace && memory.selector.as_ref().is_some_and(selects)
        });
        let mut keys: Vec<ObjectKey> = selecting.map(|(key, _)| key.clone()).collect();
        keys.sort();
        keys
    }

    fn normalize(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        spec: &HorizontalPodAutoscalerSpec,
        wanted: Wanted,
        report: &mut Report,
    ) -> i32 {
        let normalize =
            |memory: &mut Memory| memory.history.normalize(wanted, spec.behavior.as_ref(), Timestamp::now());
        let normal = self.remember(autoscaler, normalize);
        report.set(Type::AbleToScale, true, normal.able.reason, normal.able.message);
        let (limited, limit) = normal.limited;
        report.set(Type::ScalingLimited, limited, limit.reason, limit.message);
        normal.replicas
    }

    async fn rescale(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        scaled: Scaled,
        desired: i32,
        why: &str,
        statuses: Vec<MetricStatus>,
        report: &mut Report,
    ) {
        let current = scaled.wanted();
        if let Err(error) = self.write(scaled, desired).await {
            let error = describe(&error);
            let message = format!("New size: {desired}; reason: {why}; error: {error}");
            self.tell(autoscaler, Note::warning("FailedRescale", message));
            let message = format!("the HPA controller was unable to update the target scale: {error}");
            report.set(Type::AbleToScale, false, "FailedUpdateScale", message);
            let before = report.status.desired_replicas;
            return note(report, current, before, statuses);
        }
        let message = format!("the HPA controller was able to update the target scale to {desired}");
        report.set(Type::AbleToScale, true, "SucceededRescale", message);
        self.tell(
            autoscaler,
            Note::normal("SuccessfulRescale", format!("New size: {desired}; reason: {why}")),
        );
        self.remember(autoscaler, |memory| memory.history.scaled(current, desired, Timestamp::now()));
        report.scaled();
        note(report, current, desired, statuses);
    }

    async fn write(&self, mut scaled: Scaled, desired: i32) -> kube::Result<()> {
        let namespace = scaled.scale.metadata.namespace.clone().unwrap_or_default();
        for _ in 1..TRIES {
            scaled.scale.spec.get_or_insert_default().replicas = Some(desired);
            match self.scales.replace(&scaled.scale, &scaled.kind).await {
                Err(error) if is_conflict(&error) => {
                    let name = scaled.scale.name_any();
                    scaled.scale = self.scales.get(&namespace, &name, &scaled.kind).await?;
                }
                written => return written.map(drop),
            }
        }
        scaled.scale.spec.get_or_insert_default().replicas = Some(desired);
        self.scales.replace(&scaled.scale, &scaled.kind).await.map(drop)
    }

    fn remember<T>(&self, autoscaler: &HorizontalPodAutoscaler, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(self.memory.lock().entry(autoscaler.key()).or_default())
    }

    fn tell(&self, autoscaler: &HorizontalPodAutoscaler, note: Note) {
        note.tell(&self.recorder, autoscaler.object_ref(&()));
    }
}

/// Notes how many replicas there are and shall be.
fn note(report: &mut Report, current: i32, desired: i32, statuses: Vec<MetricStatus>) {
    report.status.current_replicas = Some(current);
    report.status.desired_replicas = desired;
    report.status.current_metrics = Some(statuses).filter(|statuses| !statuses.is_empty());
}
