//! What both kinds of webhook configurations do.

use jiff::Timestamp;
use serde_json::Value;
use skiff_admission::Type;
use skiff_machinery::cells::{self, age, age_column, integer, name_column};
use skiff_machinery::{Column, Context, FieldErrors, MetadataChecks, Object, Row, Strategy};

use super::common::warn_of_name;

/// Columns of both.
pub(super) fn columns() -> Vec<Column> {
    vec![name_column(), integer("Webhooks", "How many webhooks it has."), age_column()]
}

pub(super) fn print(object: &Object, now: Timestamp) -> Row {
    let webhooks = object.get(&["webhooks"]).and_then(Value::as_array).map_or(0, Vec::len);
    cells::row([object.name().into(), webhooks.into(), age(object, now)])
}

/// What is special about webhook configurations.
pub(super) struct WebhooksStrategy(pub(super) Type);

impl Strategy for WebhooksStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Object
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Object) {
        skiff_admission::default_configuration(object, self.0);
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        skiff_admission::validate_configuration(object, self.0)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        skiff_admission::validate_configuration_update(new, old, self.0)
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        warn_of_name(new.name())
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    #[test]
    fn a_configuration_is_completed_and_checked_as_its_type_wants() {
        let check = |of: Type, reinvocation: Option<&str>| {
            let strategy = WebhooksStrategy(of);
            let hook = json!({
                "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": "https://example.com"}, "reinvocationPolicy": reinvocation,
            });
            let mut configuration =
                object(json!({"metadata": {"name": "a.static.k8s.io"}, "webhooks": [hook]}));
            strategy.default(&mut configuration);
            assert_eq!(configuration.get(&["webhooks"]).unwrap()[0]["timeoutSeconds"], 10);
            assert_eq!(strategy.warnings(&configuration, None).len(), 1);
            assert_eq!(print(&configuration, Timestamp::UNIX_EPOCH).cells[1], 1);
            texts(with_context(|cx| strategy.validate(cx, &configuration))).len()
        };
        assert_eq!(check(Type::Mutating, Some("Sometimes")), 1);
        assert_eq!(check(Type::Mutating, None), 0);
        // The other type has no such field.
        assert_eq!(check(Type::Validating, Some("Sometimes")), 0);
    }
}
