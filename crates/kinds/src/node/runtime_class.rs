//! RuntimeClass: a kind of container that nodes can run.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::{Value, json};
use skiff_machinery::cells::string_map;
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::names::Form;
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy};
use skiff_schema::Schema;

use crate::core::pod;
use crate::groups::NODE;
use crate::row::stored;
use crate::shared::check::{self, immutable, typed};
use crate::shared::node_labels;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("Handler", "What nodes call it."), age_column()],
        print: Printer::Fixed(print),
        ..stored(schema, NODE, "io.k8s.api.node.v1.RuntimeClass", Scope::Cluster, ClassStrategy)
            .plural("runtimeclasses")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), object.str(&["handler"]).into(), age(object, now)])
}

/// What is special about runtime classes.
struct ClassStrategy;

impl Strategy for ClassStrategy {
    fn creates_on_update(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let class: RuntimeClass = match typed(object) {
            Ok(class) => class,
            Err(errors) => return errors,
        };
        let mut errors = match class.handler.as_str() {
            "" => [FieldError::required("handler", "")].into(),
            handler => Form::DnsLabel.check("handler", handler),
        };
        if let Some(fixed) = class.overhead.map(|overhead| overhead.pod_fixed) {
            let limits = ResourceRequirements { limits: fixed, ..ResourceRequirements::default() };
            errors.extend(pod::requirements("overhead", &limits));
        }
        let scheduling = class.scheduling.unwrap_or_default();
        errors.extend(check::labels(
            "scheduling.nodeSelector",
            check::pairs(scheduling.node_selector.as_ref()),
        ));
        errors.extend(tolerations("scheduling.tolerations", &scheduling.tolerations.unwrap_or_default()));
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        errors.extend(immutable("handler", new.get(&["handler"]), old.get(&["handler"])));
        errors
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        let labels = string_map(new, &["scheduling", "nodeSelector"]);
        let old = labels.keys().filter_map(|key| node_labels::deprecation(key));
        old.map(|text| format!("scheduling.nodeSelector: {text}")).collect()
    }
}

/// Tolerations that are right each, and differ.
fn tolerations(path: &str, list: &[Toleration]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (index, one) in list.iter().enumerate() {
        errors.extend(pod::toleration(&format!("{path}[{index}]"), one));
    }
    let key =
        |one: &Toleration| (one.key.clone(), one.operator.clone(), one.value.clone(), one.effect.clone());
    for (index, one) in list.iter().enumerate() {
        if list[..index].iter().any(|other| key(other) == key(one)) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), Value::Null).showing(shown(one)));
        }
    }
    errors
}

/// A toleration as Kubernetes' own type has it.
fn shown(one: &Toleration) -> String {
    let text = |text: &Option<String>| json!(text.as_deref().unwrap_or_default());
    let (key, operator) = (text(&one.key), text(&one.operator));
    let (value, effect, seconds) = (text(&one.value), text(&one.effect), json!(one.toleration_seconds));
    format!(
        r#"{{"Key":{key},"Operator":{operator},"Value":{value},"Effect":{effect},"TolerationSeconds":{seconds}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    #[test]
    fn classes_have_a_handler_that_stays() {
        let class = |handler: &str| object(json!({"handler": handler}));
        let check = |new: &Object, expected: &[&str]| {
            let old = class("runc");
            assert_eq!(texts(with_context(|cx| ClassStrategy.validate_update(cx, new, &old))), expected);
        };
        check(&class("runc"), &[]);
        check(&class(""), &["handler: Required value", r#"handler: Invalid value: "": field is immutable"#]);
    }

    #[test]
    fn overhead_and_scheduling_are_checked() {
        let check = |field: &str, value: Value, expected: &[&str]| {
            let class = object(json!({"handler": "runc", field: value}));
            assert_eq!(texts(with_context(|cx| ClassStrategy.validate(cx, &class))), expected);
        };
        check("overhead", json!({"podFixed": {"cpu": "100m"}}), &[]);
        check(
            "overhead",
            json!({"podFixed": {"cpu": "-1"}}),
            &[r#"overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0"#],
        );
        let one = json!({"key": "a", "operator": "Exists"});
        check(
            "scheduling",
            json!({"tolerations": [one, one]}),
            &[concat!(
                r#"scheduling.tolerations[1]: Duplicate value: {"Key":"a","Operator":"Exists","Value":"","#,
                r#""Effect":"","TolerationSeconds":null}"#,
            )],
        );
    }
}
