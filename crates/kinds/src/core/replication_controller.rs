//! ReplicationController.

use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::{Value, json};

use std::sync::Arc;

use skiff_schema::Schema;

use super::pod;
use crate::groups::CORE;
use crate::row::stored;
use crate::shared::check::{self, not_negative};
use crate::shared::defaults::{fill, object_mut};
use crate::shared::template::TEMPLATE;
use crate::shared::{replicated, workload};
use skiff_machinery::cells::{self, string_map};
use skiff_machinery::{
    Context, Dependents, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Scope, Selectable,
    Strategy, Subresource,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: replicated::columns(),
        print: Printer::Fixed(|object, now| {
            let selector = cells::labels(&string_map(object, &["spec", "selector"]));
            replicated::print(object, now, selector.into())
        }),
        counts_generations: true,
        selectable: vec![Selectable::fixed("status.replicas", |object| {
            object.int(&["status", "replicas"]).unwrap_or(0).to_string()
        })]
        .into(),
        ..stored(
            schema,
            CORE,
            "io.k8s.api.core.v1.ReplicationController",
            Scope::Namespaced,
            ControllerStrategy,
        )
        .short(&["rc"])
        .in_all()
        .below(&[Subresource::Scale, Subresource::Status])
    }
}

/// What is special about replication controllers.
struct ControllerStrategy;

impl Strategy for ControllerStrategy {
    fn folder(&self) -> Option<&'static str> {
        Some("controllers")
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn dependents(&self) -> Dependents {
        Dependents::Orphaned
    }

    /// The template's labels are the selector, and the controller's labels, unless those are given.
    fn default(&self, object: &mut Object) {
        let labels = object.get(&["spec", "template", "metadata", "labels"]).cloned();
        let labels = labels.filter(|labels| labels.as_object().is_some_and(|map| !map.is_empty()));
        let absent = |object: &Object, path: &[&str]| {
            object.get(path).and_then(Value::as_object).is_none_or(|map| map.is_empty())
        };
        if let Some(labels) = labels {
            for path in [&["spec", "selector"], &["metadata", "labels"]] {
                if absent(object, path) {
                    object.set(path, labels.clone());
                }
            }
        }
        let spec = object_mut(object.as_map_mut(), "spec");
        fill(spec, "replicas", 1);
        TEMPLATE.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        TEMPLATE.drop_disabled(object, None);
        object.set(&["status"], json!({"replicas": 0}));
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        check::long_name("metadata.name", name)
    }

    fn checks_generate_name(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some_and(|old| TEMPLATE.get(old)["spec"] == TEMPLATE.get(new)["spec"]) {
            return Vec::new();
        }
        // As Kubernetes says it, without the spec.
        pod::template_warnings("template", TEMPLATE.get(new))
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate(object)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        replicated::check_counts(new, &[])
    }
}

fn validate(object: &Object) -> FieldErrors {
    let controller: ReplicationController = match check::typed(object) {
        Ok(controller) => controller,
        Err(errors) => return errors,
    };
    let spec = controller.spec.unwrap_or_default();
    let selector = spec.selector.unwrap_or_default();
    let mut errors = not_negative("spec.minReadySeconds", spec.min_ready_seconds.unwrap_or(0).into());
    if selector.is_empty() {
        errors.push(FieldError::required("spec.selector", ""));
    }
    errors.extend(check::labels("spec.selector", check::pairs(Some(&selector))));
    errors.extend(not_negative("spec.replicas", spec.replicas.unwrap_or(0).into()));
    let Some(template) = spec.template else {
        errors.push(FieldError::required("spec.template", ""));
        return errors;
    };
    let labels = template.metadata.and_then(|metadata| metadata.labels).unwrap_or_default();
    if !selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
        errors.push(workload::missed(object, TEMPLATE));
    }
    errors.extend(TEMPLATE.validate(object));
    errors.extend(workload::never_end(object, TEMPLATE, "ReplicationController"));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubia() -> Value {
        json!({
            "metadata": {"name": "kubia"},
            "spec": {"template": {
                "metadata": {"labels": {"app": "kubia"}},
                "spec": {"containers": [{"name": "kubia", "image": "luksa/kubia"}]},
            }},
        })
    }

    fn defaulted(object: Value) -> Object {
        let mut object = Object::from_value(object).unwrap();
        ControllerStrategy.default(&mut object);
        object
    }

    #[test]
    fn labels_come_from_the_template() {
        let object = defaulted(kubia());
        assert_eq!(object.get(&["spec", "selector"]), Some(&json!({"app": "kubia"})));
        assert_eq!(object.get(&["metadata", "labels"]), Some(&json!({"app": "kubia"})));
        assert_eq!(object.get(&["spec", "replicas"]), Some(&json!(1)));
        assert_eq!(object.str(&["spec", "template", "spec", "restartPolicy"]), "Always");
        assert_eq!(validate(&object), []);
    }

    #[test]
    fn refuses_what_can_not_work() {
        let check = |path: &str, value: Value, text: &str| {
            let mut object = kubia();
            let (parent, field) = path.rsplit_once('/').unwrap();
            object.pointer_mut(parent).unwrap()[field] = value;
            let errors = validate(&defaulted(object));
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        };
        check(
            "/spec/replicas",
            json!(-1),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        );
        check(
            "/spec/selector",
            json!({"app": "other"}),
            r#"spec.template.metadata.labels: Invalid value: {"app":"kubia"}: `selector` does not match template `labels`"#,
        );
        check(
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#,
        );
        check("/spec/template/metadata", json!({}), "spec.selector: Required value");
        check("/spec/template/spec/containers", json!([]), "spec.template.spec.containers: Required value");
    }
}
