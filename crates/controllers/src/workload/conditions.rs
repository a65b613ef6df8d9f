//! Conditions in a status: found, set and removed as Kubernetes' controllers do.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSetCondition};
use k8s_openapi::api::core::v1::ReplicationControllerCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// One condition of whatever kind.
pub(crate) trait Condition {
    /// Its type.
    fn kind(&self) -> &str;
    /// `True`, `False` or `Unknown`.
    fn status(&self) -> &str;
    /// In one word.
    fn reason(&self) -> Option<&str>;
    /// Since when it has this status.
    fn since(&mut self) -> &mut Option<Time>;
    /// One that holds since now.
    fn holds(kind: &str, reason: &str, message: &str, now: Timestamp) -> Self;
}

/// Implements [`Condition`] for types that have the usual fields, as all of Kubernetes' have.
macro_rules! conditions {
    ($($kind:ty),* $(,)?) => {$(
        impl Condition for $kind {
            fn kind(&self) -> &str {
                &self.type_
            }

            fn status(&self) -> &str {
                &self.status
            }

            fn reason(&self) -> Option<&str> {
                self.reason.as_deref()
            }

            fn since(&mut self) -> &mut Option<Time> {
                &mut self.last_transition_time
            }

            #[allow(clippy::needless_update, reason = "some kinds of conditions have more fields")]
            fn holds(kind: &str, reason: &str, message: &str, now: Timestamp) -> Self {
                Self {
                    type_: kind.to_owned(),
                    status: "True".to_owned(),
                    reason: Some(reason.to_owned()),
                    message: Some(message.to_owned()),
                    last_transition_time: Some(Time(now)),
                    ..Self::default()
                }
            }
        }
    )*};
}
conditions!(DeploymentCondition, ReplicaSetCondition, ReplicationControllerCondition);

/// The condition of that type.
pub(crate) fn find<'a, C: Condition>(conditions: &'a [C], kind: &str) -> Option<&'a C> {
    conditions.iter().find(|condition| condition.kind() == kind)
}

/// Puts `new` in the place of the one of its type, at the end. One of the same status and reason stays as it is; one of the same
/// status keeps its time.
pub(crate) fn set<C: Condition>(conditions: &mut Vec<C>, mut new: C) {
    if let Some(old) = conditions.iter_mut().find(|condition| condition.kind() == new.kind())
        && old.status() == new.status()
    {
        if old.reason() == new.reason() {
            return;
        }
        *new.since() = old.since().clone();
    }
    remove(conditions, new.kind());
    conditions.push(new);
}

/// Removes the condition of that type.
pub(crate) fn remove<C: Condition>(conditions: &mut Vec<C>, kind: &str) {
    conditions.retain(|condition| condition.kind() != kind);
}

/// The list as an object holds it: absent when empty.
pub(crate) fn listed<C>(conditions: Vec<C>) -> Option<Vec<C>> {
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: &str, reason: &str, second: i64) -> ReplicaSetCondition {
        ReplicaSetCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: None,
            last_transition_time: Some(Time(jiff::Timestamp::from_second(second).unwrap())),
        }
    }

    #[test]
    fn times_change_with_the_status_and_what_is_the_same_stays() {
        let check = |status: &str, reason: &str, expected: (&str, i64)| {
            let mut conditions = vec![condition("A", "True", "One", 1), condition("B", "True", "One", 1)];
            set(&mut conditions, condition("A", status, reason, 9));
            let found = find(&conditions, "A").unwrap();
            let since = found.last_transition_time.as_ref().unwrap().0.as_second();
            assert_eq!((found.reason().unwrap(), since), expected);
            assert_eq!(conditions.len(), 2);
        };
        check("True", "One", ("One", 1));
        check("True", "Two", ("Two", 1));
        check("False", "One", ("One", 9));
    }
}
