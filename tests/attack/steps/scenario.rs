//! What is done while somebody is killed, and what must have come of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::round::Round;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A Deployment is made, rolled out anew, and deleted.
    Rollout,
    /// A Job of indexes and a Job without are made, end, and are deleted.
    Jobs,
    /// A StatefulSet with a claim for each pod, and a claim that lives as long as its pod, is made, rolled out anew, and deleted.
    Claims,
}

/// One thing to do.
pub(crate) enum Act {
    /// Applies a manifest.
    Apply(String),
    /// Runs kubectl until it is accepted, or until what it waits for has come.
    Ask(&'static str),
    /// Waits until nothing of these kinds is left.
    Gone(&'static str),
    /// Looks.
    Check(fn(&Round<'_>)),
}

const DEPLOYMENT: &str = "
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3, selector: {matchLabels: {app: web}},
 template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 1, containers: [
  {name: c, image: luksa/kubia, env: [{name: ROUND, value: '0'}]}]}}}}";

/// Each pod notes on the node's disk that it ran.
const JOBS: &str = "
{apiVersion: batch/v1, kind: Job, metadata: {name: indexed}, spec: {completions: 3, parallelism: 2, completionMode: Indexed,
 template: {spec: {restartPolicy: Never, containers: [{name: c, image: luksa/kubia,
  command: [bash, -c, 'echo $JOB_COMPLETION_INDEX $HOSTNAME >>/notes/ran'], volumeMounts: [{name: notes, mountPath: /notes}]}],
  volumes: [{name: notes, hostPath: {path: NOTES, type: DirectoryOrCreate}}]}}}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: plain}, spec: {completions: 3, parallelism: 2,
 template: {spec: {restartPolicy: Never, containers: [{name: c, image: luksa/kubia,
  command: [bash, -c, 'echo one $HOSTNAME >>/notes/ran'], volumeMounts: [{name: notes, mountPath: /notes}]}],
  volumes: [{name: notes, hostPath: {path: NOTES, type: DirectoryOrCreate}}]}}}}";

/// Each pod notes in its volume that it ran.
const DATABASE: &str = "
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}, spec: {replicas: 2, serviceName: db,
 selector: {matchLabels: {app: db}}, persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain},
 template: {metadata: {labels: {app: db}}, spec: {terminationGracePeriodSeconds: 1, containers: [
  {name: c, image: luksa/kubia, env: [{name: ROUND, value: '0'}],
   command: [bash, -c, 'echo $HOSTNAME $ROUND | tee -a /data/ran >/scratch/ran; trap exit TERM; sleep 1000 & wait'],
   volumeMounts: [{name: data, mountPath: /data}, {name: scratch, mountPath: /scratch}]}],
  volumes: [{name: scratch, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce],
   resources: {requests: {storage: 16Mi}}}}}}]}},
 volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce],
  resources: {requests: {storage: 16Mi}}}}]}}";

impl Scenario {
    /// What is watched; `{}` stands for the namespace.
    pub(crate) fn watched(self) -> &'static [&'static str] {
        match self {
            Self::Rollout => {
                &["/apis/apps/v1/{}/deployments", "/apis/apps/v1/{}/replicasets", "/api/v1/{}/pods"]
            }
            Self::Jobs => &["/apis/batch/v1/{}/jobs", "/api/v1/{}/pods"],
            Self::Claims => &[
                "/apis/apps/v1/{}/statefulsets",
                "/api/v1/{}/pods",
                "/api/v1/{}/persistentvolumeclaims",
                "/api/v1/persistentvolumes",
            ],
        }
    }

    /// About how many steps it has.
    pub(crate) fn steps(self) -> u64 {
        match self {
            Self::Rollout => 80,
            Self::Jobs => 60,
            Self::Claims => 80,
        }
    }

    pub(crate) fn acts(self, round: &Round<'_>) -> Vec<Act> {
        match self {
            Self::Rollout => vec![
                Act::Apply(DEPLOYMENT.to_owned()),
                Act::Ask("rollout status deployment/web --timeout=5s"),
                Act::Ask("set env deployment/web ROUND=1"),
                Act::Ask("rollout status deployment/web --timeout=5s"),
                Act::Check(rolled_out),
                Act::Ask("delete deployment web --cascade=foreground --ignore-not-found --wait=false"),
                Act::Gone("deployments,replicasets,pods"),
            ],
            Self::Jobs => vec![
                Act::Apply(JOBS.replace("NOTES", &round.notes().display().to_string())),
                Act::Ask("wait job/indexed job/plain --for=condition=Complete --timeout=5s"),
                Act::Check(counted_once),
                Act::Ask("delete job indexed plain --cascade=foreground --ignore-not-found --wait=false"),
                Act::Gone("jobs,pods"),
            ],
            Self::Claims => vec![
                Act::Apply(DATABASE.to_owned()),
                Act::Ask("rollout status statefulset/db --timeout=5s"),
                Act::Ask("set env statefulset/db ROUND=1"),
                Act::Ask("rollout status statefulset/db --timeout=5s"),
                Act::Check(kept),
                Act::Ask("delete statefulset db --cascade=foreground --ignore-not-found --wait=false"),
                Act::Gone("statefulsets,pods,persistentvolumeclaims"),
            ],
        }
    }
}

/// The Deployment has the pods that it asks for, of the newest template, and no more; none was made twice.
fn rolled_out(round: &Round<'_>) {
    let sets = round.list("replicasets");
    let mut replicas: Vec<(u64, u64)> = sets
        .iter()
        .map(|set| (number(&set["spec"]["replicas"]), number(&set["status"]["replicas"])))
        .collect();
    replicas.sort_unstable();
    assert_eq!(replicas, [(0, 0), (3, 3)], "{sets:#?}");
    let new = sets.iter().find(|set| number(&set["spec"]["replicas"]) == 3).unwrap();
    let uid = &new["metadata"]["uid"];
    let pods = round.list("pods");
    let staying: Vec<&Value> =
        pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect();
    let of_new = staying.iter().filter(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == *uid);
    assert_eq!((of_new.count(), staying.len()), (3, 3), "{pods:#?}");
    let made = count_by(&round.watch.all("Pod"), |pod| text(&pod["metadata"]["labels"]["pod-template-hash"]));
    assert!(made.len() == 2 && made.values().all(|made| *made == 3), "pods made of each template: {made:?}");
}

/// Every pod of the Jobs was made once, ran once, and is counted once. How a program ended while its pod had no supervisor nobody
/// can say, so that its pod has failed and there is another.
fn counted_once(round: &Round<'_>) {
    let mut failed = 0;
    for job in round.list("jobs") {
        let status = &job["status"];
        assert_eq!(status["succeeded"], 3, "{job:#}");
        if job["metadata"]["name"] == "indexed" {
            assert_eq!(status["completedIndexes"], "0-2", "{job:#}");
        }
        let uncounted = status["uncountedTerminatedPods"].as_object();
        assert!(uncounted.is_none_or(serde_json::Map::is_empty), "{job:#}");
        failed += usize::try_from(number(&status["failed"])).unwrap();
    }
    assert!(failed <= usize::from(round.supervisor_dies()), "{failed} pods failed");
    let pods = round.watch.all("Pod");
    let label =
        |pod: &Value, name: &str| text(&pod["metadata"]["labels"][format!("batch.kubernetes.io/{name}")]);
    let made = count_by(&pods, |pod| (label(pod, "job-name"), label(pod, "job-completion-index")));
    assert_eq!((made.len(), pods.len()), (4, 6 + failed), "pods made of each Job and index: {made:?}");
    let notes = std::fs::read_to_string(round.notes().join("ran")).unwrap_or_default();
    let (ran, times) = (notes.lines().collect::<BTreeSet<&str>>().len(), notes.lines().count());
    assert!(ran >= 6 && times <= 6 + failed, "each pod ran once: {notes}");
}

/// What the first pods have written is there, and nothing was made twice.
fn kept(round: &Round<'_>) {
    for pod in ["db-0", "db-1"] {
        let ran =
            round.machine.insist(&format!("exec -n {} {pod} -- cat /data/ran /scratch/ran", round.namespace));
        assert_eq!(ran, format!("{pod} 0\n{pod} 1\n{pod} 1\n"));
    }
    let wanted = [("PersistentVolumeClaim", 2 + 4), ("PersistentVolume", 2 + 4), ("Pod", 2 * 2)];
    for (kind, wanted) in wanted {
        let made = round.watch.all(kind);
        assert_eq!(made.len(), wanted, "{kind}s were made: {made:#?}");
    }
    let pods = round.list("pods");
    assert_eq!(pods.len(), 2, "{pods:#?}");
}

fn count_by<K: Ord>(objects: &[Value], key: impl Fn(&Value) -> K) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for object in objects {
        *counts.entry(key(object)).or_default() += 1;
    }
    counts
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
