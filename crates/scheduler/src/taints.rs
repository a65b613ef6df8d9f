//! Taints and the pods that accept them.

use k8s_openapi::api::core::v1::{Taint, Toleration};

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether one of `tolerations` accepts `taint`.
pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| accepts(toleration, taint))
}

fn accepts(toleration: &Toleration, taint: &Taint) -> bool {
    let any = |field: &Option<String>| field.as_deref().unwrap_or("").is_empty();
    let effect = any(&toleration.effect) || toleration.effect.as_deref() == Some(&taint.effect);
    let key = any(&toleration.key) || toleration.key.as_deref() == Some(&taint.key);
    let (mine, theirs) = (toleration.value.as_deref().unwrap_or(""), taint.value.as_deref().unwrap_or(""));
    let value = match toleration.operator.as_deref().unwrap_or("") {
        "" | "Equal" => mine == theirs,
        "Exists" => true,
        _ => false,
    };
    effect && key && value
}

/// Whether a taint keeps the pod off the node.
pub(crate) fn refused(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let strict = taints.iter().filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    strict.into_iter().any(|taint| !tolerated(tolerations, taint))
}

/// The number of taints that would rather not have the pod.
pub(crate) fn disliked(tolerations: &[Toleration], taints: &[Taint]) -> i64 {
    let soft = taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    soft.filter(|taint| !tolerated(tolerations, taint)).map(|_| 1).sum()
}

/// Whether the pod may go to a cordoned node.
pub(crate) fn ignores_cordon(tolerations: &[Toleration]) -> bool {
    let taint = Taint { key: UNSCHEDULABLE.into(), effect: "NoSchedule".into(), ..Taint::default() };
    tolerated(tolerations, &taint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(toleration: Value) -> bool {
        let taint =
            Taint { key: "k".into(), value: Some("v".into()), effect: "NoSchedule".into(), time_added: None };
        tolerated(&[serde_json::from_value(toleration).unwrap()], &taint)
    }

    #[test]
    fn tolerations_match_key_value_and_effect() {
        assert!(check(json!({"key": "k", "value": "v", "effect": "NoSchedule"})));
        assert!(check(json!({"key": "k", "operator": "Exists"})));
        assert!(check(json!({"operator": "Exists"})));
        assert!(!check(json!({"key": "k", "value": "x"})));
        assert!(!check(json!({"key": "other", "operator": "Exists"})));
        assert!(!check(json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})));
    }

    #[test]
    fn soft_taints_do_not_refuse() {
        let taint = |effect: &str| Taint { key: "k".into(), effect: effect.into(), ..Taint::default() };
        assert!(refused(&[], &[taint("NoExecute")]));
        assert!(!refused(&[], &[taint("PreferNoSchedule")]));
        assert_eq!(disliked(&[], &[taint("PreferNoSchedule"), taint("NoSchedule")]), 1);
    }
}
