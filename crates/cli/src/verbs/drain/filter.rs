//! Which pods of a node are evicted, which stay, and which keep it from being drained.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::Error;
use crate::resources::Resource;
use crate::select::Item;

/// What the command line allows.
pub(super) struct Filter<'a> {
    pub(super) force: bool,
    pub(super) ignore_daemon_sets: bool,
    pub(super) delete_local_data: bool,
    /// All DaemonSets, as a list.
    pub(super) daemon_sets: &'a Value,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Goes(Option<String>),
    Stays(Option<String>),
    Refuses(String),
}

/// The pods of a node by what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pub(super) doomed: Vec<Item>,
    warnings: BTreeMap<String, Vec<String>>,
    refusals: BTreeMap<String, Vec<String>>,
}

/// `NAMESPACE/NAME`.
pub(super) fn full_name(pod: &Value) -> String {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

impl Filter<'_> {
    pub(super) fn sort(&self, resource: &Resource, pods: &[Value]) -> Pods {
        let mut sorted = Pods::default();
        for pod in pods {
            let mut pod = pod.clone();
            pod["apiVersion"] = "v1".into();
            pod["kind"] = "Pod".into();
            let name = full_name(&pod);
            let fate = self.fate(&pod);
            if let Fate::Goes(Some(warning)) | Fate::Stays(Some(warning)) = &fate {
                sorted.warnings.entry(warning.clone()).or_default().push(name.clone());
            }
            match fate {
                Fate::Goes(_) => {
                    let namespace = pod["metadata"]["namespace"].as_str().map(str::to_owned);
                    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    sorted.doomed.push(Item { resource: resource.clone(), namespace, name, object: pod });
                }
                Fate::Stays(_) => {}
                Fate::Refuses(why) => sorted.refusals.entry(why).or_default().push(name),
            }
        }
        sorted
    }

    /// One rule after the other; of warnings the last rule's counts.
    fn fate(&self, pod: &Value) -> Fate {
        let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let mut owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let owner = owners.find(|owner| owner["controller"] == true);
        if let Some(owner) =
            owner.filter(|owner| owner["kind"] == "DaemonSet" && owner["apiVersion"] == "apps/v1")
            && !ended
        {
            let fate = self.daemon_set(pod, owner);
            if !matches!(fate, Fate::Goes(_)) {
                return fate;
            }
        }
        if !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null() {
            return Fate::Stays(None);
        }
        let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        if !ended && !self.delete_local_data && volumes.any(|volume| !volume["emptyDir"].is_null()) {
            return Fate::Refuses(
                "Pods with local storage (use --delete-emptydir-data to override)".to_owned(),
            );
        }
        match (ended || owner.is_some(), self.force) {
            (true, _) => Fate::Goes(None),
            (false, true) => Fate::Goes(Some("deleting Pods that declare no controller".to_owned())),
            (false, false) => Fate::Refuses(
                "cannot delete Pods that declare no controller (use --force to override)".to_owned(),
            ),
        }
    }

    fn daemon_set(&self, pod: &Value, owner: &Value) -> Fate {
        let mut sets = self.daemon_sets["items"].as_array().into_iter().flatten();
        let namespace = &pod["metadata"]["namespace"];
        let there = sets.any(|set| {
            set["metadata"]["name"] == owner["name"] && set["metadata"]["namespace"] == *namespace
        });
        let missing =
            || format!("daemonsets.apps \"{}\" not found", owner["name"].as_str().unwrap_or_default());
        match there {
            false if self.force => Fate::Goes(None),
            false => Fate::Refuses(missing()),
            true if self.ignore_daemon_sets => {
                Fate::Stays(Some("ignoring DaemonSet-managed Pods".to_owned()))
            }
            true => Fate::Refuses("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)".to_owned()),
        }
    }
}

impl Pods {
    pub(super) fn warning(&self) -> Option<String> {
        let texts: Vec<String> =
            self.warnings.iter().map(|(warning, pods)| format!("{warning}: {}", pods.join(", "))).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    pub(super) fn refusals(&self) -> Vec<Error> {
        let text = |(why, pods): (&String, &Vec<String>)| {
            Error::Usage(format!("cannot delete {why}: {}", pods.join(", ")))
        };
        self.refusals.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fate(pod: Value, force: bool, ignore_daemon_sets: bool, delete_local_data: bool) -> Fate {
        let sets = json!({"items": [{"metadata": {"name": "agent", "namespace": "n"}}]});
        Filter { force, ignore_daemon_sets, delete_local_data, daemon_sets: &sets }.fate(&pod)
    }

    fn owned(kind: &str, name: &str) -> Value {
        json!({"metadata": {"namespace": "n", "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true}]}})
    }

    #[test]
    fn pods_that_nobody_replaces_refuse() {
        let text = |text: &str| Some(text.to_owned());
        let bare = json!({"metadata": {"namespace": "n"}});
        assert!(matches!(fate(bare.clone(), false, false, false), Fate::Refuses(_)));
        assert_eq!(
            fate(bare, true, false, false),
            Fate::Goes(text("deleting Pods that declare no controller"))
        );
        assert_eq!(fate(json!({"status": {"phase": "Failed"}}), false, false, false), Fate::Goes(None));
        assert_eq!(fate(owned("ReplicaSet", "web"), false, false, false), Fate::Goes(None));
    }

    #[test]
    fn pods_of_daemon_sets_stay() {
        let stays = Fate::Stays(Some("ignoring DaemonSet-managed Pods".to_owned()));
        assert_eq!(fate(owned("DaemonSet", "agent"), false, true, false), stays);
        assert!(matches!(fate(owned("DaemonSet", "agent"), true, false, false), Fate::Refuses(_)));
        assert!(matches!(fate(owned("DaemonSet", "gone"), false, true, false), Fate::Refuses(_)));
    }

    #[test]
    fn local_data_keeps_a_pod() {
        let mut pod = owned("ReplicaSet", "web");
        pod["spec"] = json!({"volumes": [{"emptyDir": {}}]});
        assert!(matches!(fate(pod.clone(), true, false, false), Fate::Refuses(_)));
        assert_eq!(fate(pod, false, false, true), Fate::Goes(None));
    }
}
