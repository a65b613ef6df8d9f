//! ResourceClaimTemplate: claims that are made for each pod.

use std::sync::Arc;

use serde_json::Value;
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Scope, Strategy};
use skiff_schema::Schema;

use super::devices;
use crate::groups::RESOURCE;
use crate::row::stored;
use crate::shared::check;
use crate::shared::defaults::object_mut;
use crate::shared::go;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    stored(
        schema,
        RESOURCE,
        "io.k8s.api.resource.v1.ResourceClaimTemplate",
        Scope::Namespaced,
        TemplateStrategy,
    )
}

/// What is special about templates of claims.
struct TemplateStrategy;

impl Strategy for TemplateStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Both
    }

    fn default(&self, object: &mut Object) {
        devices::default(object_mut(object_mut(object.as_map_mut(), "spec"), "spec"));
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let members = |field: &str| object.get(&["spec", "metadata", field]).and_then(Value::as_object);
        let texts = |field| {
            let members = members(field).into_iter().flatten();
            members.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        };
        let mut errors = check::annotations("spec.metadata.annotations", texts("annotations"));
        errors.extend(check::labels("spec.metadata.labels", texts("labels")));
        errors.extend(devices::check("spec.spec", object.get(&["spec", "spec"]).unwrap_or(&Value::Null)));
        errors
    }

    /// A template is what it was.
    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let spec = |object: &Object| object.get(&["spec"]).cloned().unwrap_or_default();
        if spec(new) == spec(old) {
            return FieldErrors::new();
        }
        let shown = go::object(&[("Spec", devices::shown(&spec(new)["spec"]))]);
        [FieldError::invalid("spec", Value::Null, "field is immutable").showing(shown)].into()
    }
}
