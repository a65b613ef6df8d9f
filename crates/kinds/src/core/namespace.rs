//! Namespace.

use jiff::Timestamp;

use std::sync::Arc;

use serde_json::Value;

use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;
use skiff_machinery::cells::{self, age, age_column, name_column, strings, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Selectable, Strategy, Subresource,
    Verb,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("Status", "Whether the namespace is in use."), age_column()],
        print: Printer::Fixed(print),
        // There is no way to delete them all.
        verbs: &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch],
        selectable: vec![Selectable::fixed("status.phase", |object| phase(object).to_owned())].into(),
        ..stored(schema, CORE, "io.k8s.api.core.v1.Namespace", Scope::Cluster, NamespaceStrategy)
            .short(&["ns"])
            .below(&[Subresource::Finalize, Subresource::Status])
    }
}

fn phase(object: &Object) -> &str {
    object.str(&["status", "phase"])
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), phase(object).into(), age(object, now)])
}

/// The finalizer that the namespace controller removes when a namespace is empty.
const OWN_FINALIZER: &str = "kubernetes";

/// What is special about namespaces.
struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    fn mark_deletion(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status", "phase"], "Terminating");
    }

    fn deletes_in_two_steps(&self) -> bool {
        true
    }

    /// By a second list of finalizers, that of the namespace's content.
    fn is_held(&self, object: &Object) -> bool {
        let finalizers = object.get(&["spec", "finalizers"]).and_then(Value::as_array);
        finalizers.is_some_and(|list| !list.is_empty())
    }

    /// Every namespace carries its name as a label, so that selectors can name it.
    fn default(&self, object: &mut Object) {
        let name = object.name().to_owned();
        if !name.is_empty() {
            object.set(&["metadata", "labels", "kubernetes.io/metadata.name"], name);
        }
        if phase(object).is_empty() && object.get(&["status"]).is_some() {
            object.set(&["status", "phase"], "Active");
        }
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        let mut finalizers: Vec<String> =
            strings(object, &["spec", "finalizers"]).into_iter().map(str::to_owned).collect();
        if !finalizers.iter().any(|finalizer| finalizer == OWN_FINALIZER) {
            finalizers.push(OWN_FINALIZER.to_owned());
        }
        object.set(&["spec", "finalizers"], finalizers);
        object.set(&["status"], serde_json::json!({"phase": "Active"}));
    }

    /// Finalizers change through the subresource only.
    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        match old.get(&["spec", "finalizers"]) {
            Some(finalizers) => new.set(&["spec", "finalizers"], finalizers.clone()),
            None => drop(new.remove(&["spec", "finalizers"])),
        }
    }

    /// Of a new one Kubernetes does not say which finalizer it is.
    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let finalizers = strings(object, &["spec", "finalizers"]).into_iter();
        finalizers.flat_map(|name| validate_finalizer("spec.finalizers", name)).collect()
    }

    fn validate_part(&self, _: Context<'_>, _: Subresource, new: &Object, _: &Object) -> FieldErrors {
        let finalizers = strings(new, &["spec", "finalizers"]).into_iter().enumerate();
        finalizers
            .flat_map(|(index, name)| validate_finalizer(&format!("spec.finalizers[{index}]"), name))
            .collect()
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        let detail = match (new.is_terminating(), phase(new)) {
            (true, "Terminating") | (false, "Active") => return FieldErrors::new(),
            (true, _) => "may only be 'Terminating' if `deletionTimestamp` is not empty",
            (false, _) => "may only be 'Active' if `deletionTimestamp` is empty",
        };
        [FieldError::invalid("status.Phase", phase(new), detail)].into()
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::DnsLabel.check("metadata.name", name)
    }
}

fn validate_finalizer(path: &str, name: &str) -> FieldErrors {
    let errors = Form::QualifiedName.check(path, name);
    if errors.is_empty() && !name.contains('/') && name != OWN_FINALIZER {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        return [FieldError::invalid(path, name, detail)].into();
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::with_context;
    use serde_json::json;

    #[test]
    fn starts_active_with_its_label_and_finalizer() {
        let mut object = Object::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        NamespaceStrategy.default(&mut object);
        with_context(|cx| NamespaceStrategy.prepare_create(cx, &mut object));
        let expected = json!({
            "metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        assert_eq!(object.clone().into_value(), expected);
        assert_eq!(with_context(|cx| NamespaceStrategy.validate(cx, &object)), []);
    }

    #[test]
    fn phase_follows_deletion() {
        let check = |deleted: bool, phase: &str, fine: bool| {
            let mut object = Object::from_value(json!({"status": {"phase": phase}})).unwrap();
            if deleted {
                object.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
            }
            let errors = with_context(|cx| NamespaceStrategy.validate_status(cx, &object, &object));
            assert_eq!(errors.is_empty(), fine, "{deleted} {phase}");
        };
        check(false, "Active", true);
        check(true, "Terminating", true);
        check(true, "Active", false);
        check(false, "Terminating", false);
    }
}
