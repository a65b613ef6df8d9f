//! Small readings of object metadata that many controllers share.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

/// A label or annotation map.
pub(crate) type Strings = BTreeMap<String, String>;

/// Labels that are kept and compared, in as little memory as they need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    pub(crate) fn of(labels: &Strings) -> Self {
        Self(labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
    }

    /// The value of a label.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let place = self.0.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        Some(&self.0[place].1)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether all of these are among them.
    pub(crate) fn include(&self, others: &Strings) -> bool {
        others.iter().all(|(key, value)| self.get(key) == Some(value))
    }
}

/// Whether an equality selector selects `labels`. An empty selector selects nothing, as controllers need it.
pub(crate) fn selects(selector: &Strings, labels: &Labels) -> bool {
    !selector.is_empty() && labels.include(selector)
}

/// The owner that controls the object.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// A reference that makes `owner` the controller of another object, which delays its foreground deletion.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The API group of an `apiVersion`; empty for core.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The UID of the object, empty when it has none yet.
pub(crate) fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or("")
}

/// A selector as Go prints the one of an object, for messages.
pub(crate) fn shown_selector(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".into() };
    let labels = selector.match_labels.iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.iter().flatten();
    let expressions: String = expressions
        .map(|one| {
            let values = one.values.as_deref().unwrap_or_default().join(" ");
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},",
                one.key, one.operator
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_selector_selects_nothing() {
        let labels = Labels::of(&Strings::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
        assert!(selects(&Strings::from([("a".into(), "1".into())]), &labels));
        assert!(!selects(&Strings::from([("a".into(), "2".into())]), &labels));
        assert!(!selects(&Strings::new(), &labels));
    }

    #[test]
    fn selectors_are_shown_as_go_prints_them() {
        let selector = serde_json::json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["x", "y"]}]});
        assert_eq!(
            shown_selector(Some(&serde_json::from_value(selector).unwrap())),
            "&LabelSelector{MatchLabels:map[string]string{a: 1,},MatchExpressions:[]LabelSelectorRequirement{\
             LabelSelectorRequirement{Key:b,Operator:In,Values:[x y],},},}"
        );
        assert_eq!(shown_selector(None), "nil");
    }
}
