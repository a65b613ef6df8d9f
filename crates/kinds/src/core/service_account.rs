//! ServiceAccount.

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;
use skiff_machinery::{Kind, Object, Scope, Strategy, Subresource};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    stored(schema, CORE, "io.k8s.api.core.v1.ServiceAccount", Scope::Namespaced, AccountStrategy)
        .short(&["sa"])
        .below(&[Subresource::Token])
}

/// What is special about service accounts.
struct AccountStrategy;

/// Says which Secrets the account's pods may use.
const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";

impl Strategy for AccountStrategy {
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let has = |account: &Object| account.get(&["metadata", "annotations", ENFORCED]).is_some();
        if !has(new) || old.is_some_and(has) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCED}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }

    fn answers_deleted(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::object;

    #[test]
    fn an_annotation_is_warned_of_when_it_comes() {
        let (plain, strict) =
            (object(json!({})), object(json!({"metadata": {"annotations": {ENFORCED: "true"}}})));
        let count = |new: &Object, old: Option<&Object>| AccountStrategy.warnings(new, old).len();
        let counts = [
            count(&plain, None),
            count(&strict, None),
            count(&strict, Some(&plain)),
            count(&strict, Some(&strict)),
        ];
        assert_eq!(counts, [0, 1, 1, 0]);
    }
}
