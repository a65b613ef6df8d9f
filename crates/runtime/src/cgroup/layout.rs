//! Names of the groups below the parent group, as in a tree of the kubelet:
//!
//! ```text
//! skiff/<pod UID>/<container ID>               pods whose limits are their requests
//! skiff/burstable/<pod UID>/<container ID>     pods that ask for something
//! skiff/besteffort/<pod UID>/<container ID>    pods that ask for nothing
//! skiff/…/<pod UID>/pause                      the process that holds a pod's shared process namespace
//! skiff/supervisors/<pod UID>                  the pod's supervisor: its memory is not the pod's
//! ```

use crate::ids::PodUid;
use crate::spec::ServiceClass;

/// Leaf of the process that holds a shared process namespace.
const PAUSE: &str = "pause";

/// The groups of one pod, absolute in each tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodGroups {
    /// Holds the pod's limits; only its children hold processes.
    pub(crate) pod: String,
    pub(crate) supervisor: String,
}

impl PodGroups {
    pub(crate) fn new(parent: &str, class: ServiceClass, uid: &PodUid) -> Self {
        Self {
            pod: format!("{}/{uid}", class_group(parent, class)),
            supervisor: format!("{}/supervisors/{uid}", root(parent)),
        }
    }

    /// Every place where groups of the pod may be, for whoever does not know its class.
    pub(crate) fn possible(parent: &str, uid: &PodUid) -> Vec<Self> {
        let classes = [ServiceClass::Guaranteed, ServiceClass::Burstable, ServiceClass::BestEffort];
        classes.map(|class| Self::new(parent, class, uid)).to_vec()
    }

    /// The pod's and the supervisor's, with everything of the pod in them.
    pub(crate) fn both(&self) -> [&str; 2] {
        [&self.pod, &self.supervisor]
    }

    pub(crate) fn pause(&self) -> String {
        format!("{}/{PAUSE}", self.pod)
    }
}

/// The parent group, absolute in each tree.
pub(crate) fn root(parent: &str) -> String {
    format!("/{}", parent.trim_matches('/'))
}

/// The group that a class of pods shares; guaranteed pods lie in the parent itself.
pub(super) fn class_group(parent: &str, class: ServiceClass) -> String {
    let root = root(parent);
    match class {
        ServiceClass::Guaranteed => root,
        ServiceClass::Burstable => format!("{root}/burstable"),
        ServiceClass::BestEffort => format!("{root}/besteffort"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_lie_where_the_kubelet_puts_them() {
        let uid = PodUid::new("u").unwrap();
        let pod = |class| PodGroups::new("skiff", class, &uid).pod;
        assert_eq!(pod(ServiceClass::Guaranteed), "/skiff/u");
        assert_eq!(pod(ServiceClass::Burstable), "/skiff/burstable/u");
        assert_eq!(pod(ServiceClass::BestEffort), "/skiff/besteffort/u");
        assert!(PodGroups::possible("/skiff/", &uid).iter().all(|g| g.supervisor == "/skiff/supervisors/u"));
    }
}
