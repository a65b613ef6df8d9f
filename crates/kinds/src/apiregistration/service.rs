//! What an APIService says, and the APIServices of what this server serves itself.

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::discovery::Priority;
use skiff_machinery::{GroupVersion, Object};

use super::priorities;
use crate::groups::API_REGISTRATION;

/// The condition that says whether a group version can be used.
pub const AVAILABLE: &str = "Available";

/// The label of what Kubernetes registers by itself.
pub const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Who keeps an APIService as it should be: the value of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Management {
    /// Made at the start; what users do with it afterwards stays until the next.
    OnStart,
    /// Always as it should be.
    Always,
}

impl Management {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnStart => "onstart",
            Self::Always => "true",
        }
    }

    /// What an APIService says of itself; none is a user's.
    pub fn of(service: &Object) -> Option<Self> {
        [Self::OnStart, Self::Always]
            .into_iter()
            .find(|one| service.labels().get(MANAGED) == Some(&one.as_str()))
    }
}

/// The name of the APIService of a group version.
pub fn name(gv: &GroupVersion) -> String {
    format!("{}.{}", gv.version, gv.group)
}

/// The group version that an APIService is for.
pub fn group_version(service: &Object) -> GroupVersion {
    let part = |field: &str| service.str(&["spec", field]).to_owned().into();
    GroupVersion { group: part("group"), version: part("version") }
}

/// Where the group version comes in discovery.
pub fn priority(service: &Object) -> Priority {
    let number = |field: &str| {
        let number = service.get(&["spec", field]).and_then(Value::as_i64).unwrap_or_default();
        i32::try_from(number).unwrap_or_default()
    };
    Priority { group: number("groupPriorityMinimum"), version: number("versionPriority") }
}

/// A state of the condition [`AVAILABLE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Availability {
    /// That of what this server serves itself.
    pub fn local() -> Self {
        let message = "Local APIServices are always available".to_owned();
        Self { status: "True", reason: "Local", message }
    }

    /// Whether the condition of an APIService says this.
    pub fn is_told_by(&self, service: &Object) -> bool {
        let told = condition(service);
        told.is_some_and(|told| {
            told["status"] == self.status && told["reason"] == self.reason && told["message"] == *self.message
        })
    }

    /// The conditions of an APIService with this one among them. Its time is that of the last change of its status.
    pub fn among(&self, service: &Object, now: Timestamp) -> Vec<Value> {
        let all = service.get(&["status", "conditions"]).and_then(Value::as_array);
        let mut all = all.cloned().unwrap_or_default();
        let now = format!("{now:.0}");
        let since = condition(service).filter(|told| told["status"] == self.status);
        let since = since.and_then(|told| told["lastTransitionTime"].as_str()).unwrap_or(&now);
        let this = json!({
            "type": AVAILABLE, "status": self.status, "lastTransitionTime": since,
            "reason": self.reason, "message": self.message,
        });
        match all.iter_mut().find(|one| one["type"] == AVAILABLE) {
            Some(known) => *known = this,
            None => all.push(this),
        }
        all
    }
}

/// The condition [`AVAILABLE`] of an APIService.
pub fn condition(service: &Object) -> Option<&Value> {
    let all = service.get(&["status", "conditions"]).and_then(Value::as_array);
    all.into_iter().flatten().find(|one| one["type"] == AVAILABLE)
}

/// What the APIService of a group version that this server serves says, without what every object has; none for the group of
/// APIServices itself. Custom kinds come far behind, and their versions by name.
pub fn local(gv: &GroupVersion, management: Management) -> Option<Object> {
    let priority = match management {
        Management::OnStart => priorities::built_in(&gv.group, &gv.version)?,
        Management::Always => Priority { group: 1000, version: 100 },
    };
    let mut spec = json!({
        "version": gv.version, "groupPriorityMinimum": priority.group, "versionPriority": priority.version,
    });
    if !gv.group.is_empty() {
        spec["group"] = json!(gv.group);
    }
    let object = json!({
        "apiVersion": API_REGISTRATION.to_string(), "kind": "APIService",
        "metadata": {"name": name(gv), "labels": {MANAGED: management.as_str()}},
        "spec": spec,
    });
    Object::from_value(object).ok()
}

/// Whether APIServices for this group can be served by somebody else.
pub fn is_ours(group: &str) -> bool {
    group == API_REGISTRATION.group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::object;

    #[test]
    fn local_services_say_who_keeps_them() {
        let custom = GroupVersion::fixed("example.com", "v1");
        let service = local(&custom, Management::Always).unwrap();
        assert_eq!(service.name(), "v1.example.com");
        assert_eq!(Management::of(&service), Some(Management::Always));
        assert_eq!(priority(&service), Priority { group: 1000, version: 100 });
        assert_eq!(group_version(&service), custom);
        let core = local(&GroupVersion::fixed("", "v1"), Management::OnStart).unwrap();
        assert_eq!((core.name(), core.get(&["spec", "group"])), ("v1.", None));
        assert_eq!(priority(&core).group, 18000);
        assert_eq!(local(&API_REGISTRATION, Management::OnStart), None);
    }

    #[test]
    fn a_condition_changes_its_time_with_its_status() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let bad = |message: &str| Availability {
            status: "False",
            reason: "ServiceNotFound",
            message: message.to_owned(),
        };
        let mut service = object(json!({"status": {"conditions": [{"type": "Other", "status": "True"}]}}));
        let mut time = |state: &Availability, now: i64| {
            let all = state.among(&service, at(now));
            service.set(&["status", "conditions"], all.clone());
            assert!(state.is_told_by(&service));
            assert_eq!((all.len(), &all[0]["type"]), (2, &json!("Other")));
            all[1]["lastTransitionTime"].as_str().unwrap().to_owned()
        };
        assert_eq!(time(&bad("a"), 60), "1970-01-01T00:01:00Z");
        assert_eq!(time(&bad("b"), 120), "1970-01-01T00:01:00Z");
        assert_eq!(time(&Availability::local(), 180), "1970-01-01T00:03:00Z");
        assert!(!bad("b").is_told_by(&service));
    }
}
