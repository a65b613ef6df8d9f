//! Selectors of namespaces and objects by their labels.

use serde_json::Value;
use skiff_machinery::Object;
use skiff_machinery::selector::LabelSelector;
pub(crate) use skiff_machinery::selector::{Values, validate};

use crate::attributes::{Attributes, Operation};
use crate::refusal::Refusal;
use crate::surroundings::Namespaces;

/// A selector as objects have it, or why it cannot be used.
pub(crate) type Selector = Result<LabelSelector, String>;

/// Reads a `metav1.LabelSelector`.
pub(crate) fn compile(selector: &Value) -> Selector {
    LabelSelector::try_from(selector).map_err(|error| error.to_string())
}

/// Whether the object, as it is or as it will be, is selected.
pub(crate) fn selects_object(selector: &Selector, attributes: &Attributes) -> Result<bool, Refusal> {
    let selector = selector.as_ref().map_err(Refusal::internal)?;
    if selector.is_everything() {
        return Ok(true);
    }
    let selects = |object: &Object| object.get(&["metadata"]).is_some() && selector.matches(&object.labels());
    let both = [attributes.object.as_ref(), attributes.old.as_deref()];
    Ok(both.into_iter().flatten().any(selects))
}

/// Whether the namespace of the object is selected. What is in none is selected always.
pub(crate) async fn selects_namespace(
    selector: &Selector,
    attributes: &Attributes,
    namespaces: &dyn Namespaces,
) -> Result<bool, Refusal> {
    let is_namespace = attributes.resource.resource == "namespaces";
    if attributes.namespace.is_empty() && !is_namespace {
        return Ok(true);
    }
    let selector = selector.as_ref().map_err(Refusal::internal)?;
    if selector.is_everything() {
        return Ok(true);
    }
    let written = matches!(attributes.operation, Operation::Create | Operation::Update);
    if is_namespace && attributes.subresource.is_empty() && written {
        let object = attributes.object.as_ref();
        return Ok(selector.matches(&object.map(Object::labels).unwrap_or_default()));
    }
    let namespace = namespace(namespaces, &attributes.namespace).await?;
    Ok(selector.matches(&namespace.labels()))
}

/// The Namespace, which must be there.
pub(crate) async fn namespace(
    namespaces: &dyn Namespaces,
    name: &str,
) -> Result<std::sync::Arc<Object>, Refusal> {
    let found = namespaces.get(name).await.map_err(Refusal::internal)?;
    found.ok_or_else(|| {
        let resource = crate::attributes::GroupVersionResource::new("", "v1", "namespaces");
        Refusal::not_found(&resource, name)
    })
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use serde_json::json;

    use super::*;
    use crate::testing::{Named, request};

    #[test]
    fn objects_are_selected_as_they_were_or_will_be() {
        let check = |selector: Value, expected: bool| {
            let mut attributes = request();
            let labelled = |label: &str| {
                Object::from_value(json!({"metadata": {"labels": {"app": label, label: "x"}}})).unwrap()
            };
            attributes.object = Some(labelled("new"));
            attributes.old = Some(labelled("old").into());
            let found = selects_object(&compile(&selector), &attributes).unwrap();
            assert_eq!(found, expected, "{selector}");
        };
        let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        check(json!({}), true);
        check(Value::Null, true);
        check(json!({"matchLabels": {"app": "new"}}), true);
        check(json!({"matchLabels": {"app": "old"}}), true);
        check(json!({"matchLabels": {"app": "other"}}), false);
        check(json!({"matchLabels": {"new": "x", "old": "x"}}), false);
        check(expression("In", json!(["a", "new"])), true);
        check(expression("NotIn", json!(["new", "old"])), false);
        check(expression("Exists", json!([])), true);
        check(expression("DoesNotExist", json!([])), false);
    }

    #[test]
    fn what_has_no_metadata_is_not_selected() {
        let mut attributes = request();
        attributes.object = Some(Object::from_value(json!({"command": ["sh"]})).unwrap());
        let absent = compile(&json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}));
        assert!(!selects_object(&absent, &attributes).unwrap());
        let broken = compile(&json!({"matchExpressions": [{"key": "app", "operator": "Like"}]}));
        let refusal = selects_object(&broken, &attributes).unwrap_err();
        assert_eq!(
            refusal.message,
            "Internal error occurred: \"Like\" is not a valid label selector operator"
        );
    }

    #[test]
    fn namespaces_are_selected_by_the_labels_that_they_will_have() {
        let namespaces = Named::new([json!({"metadata": {"name": "default", "labels": {"env": "dev"}}})]);
        let check = |selector: Value, change: fn(&mut Attributes), expected: Result<bool, &str>| {
            let mut attributes = request();
            change(&mut attributes);
            let compiled = compile(&selector);
            let found = block_on(selects_namespace(&compiled, &attributes, &namespaces));
            assert_eq!(
                found.map_err(|refusal| refusal.message),
                expected.map_err(str::to_owned),
                "{selector}"
            );
        };
        let dev = || json!({"matchLabels": {"env": "dev"}});
        let prod = || json!({"matchLabels": {"env": "prod"}});
        check(dev(), |_| {}, Ok(true));
        check(prod(), |_| {}, Ok(false));
        check(prod(), |attributes| attributes.namespace.clear(), Ok(true));
        check(
            dev(),
            |attributes| attributes.namespace = "none".to_owned(),
            Err("namespaces \"none\" not found"),
        );
        let own = |attributes: &mut Attributes| {
            attributes.resource.resource = "namespaces".to_owned();
            let object = json!({"metadata": {"name": "default", "labels": {"env": "prod"}}});
            attributes.object = Some(Object::from_value(object).unwrap());
        };
        check(prod(), own, Ok(true));
        check(dev(), own, Ok(false));
    }

    #[test]
    fn selectors_are_checked() {
        let check = |selector: Value, values: Values, expected: &[&str]| {
            let errors = validate("s", &selector, values);
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts.len(), expected.len(), "{texts:?}");
            for (text, start) in texts.iter().zip(expected) {
                assert!(text.starts_with(start), "{text}");
            }
        };
        let expression = |expression: Value| json!({"matchExpressions": [expression]});
        let bad_value = expression(json!({"key": "a", "operator": "In", "values": ["-"]}));
        let value_error = "s.matchExpressions[0].values[0]: Invalid value: \"-\": a valid label must be";
        check(bad_value.clone(), Values::Checked, &[value_error]);
        check(bad_value, Values::Tolerated, &[]);
        check(
            expression(json!({"key": "a", "operator": "In"})),
            Values::Checked,
            &[
                "s.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ],
        );
        check(
            expression(json!({"key": "", "operator": "Exists", "values": ["a"]})),
            Values::Checked,
            &[
                "s.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "s.matchExpressions[0].key: Invalid value: \"\": name part must be non-empty",
                "s.matchExpressions[0].key: Invalid value: \"\": name part must consist of",
            ],
        );
        check(
            expression(json!({"key": "a", "operator": "Like"})),
            Values::Checked,
            &["s.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator"],
        );
        check(
            json!({"matchLabels": {"/": "ok"}}),
            Values::Checked,
            &[
                "s.matchLabels: Invalid value: \"/\": prefix part",
                "s.matchLabels: Invalid value: \"/\": name part must be non-empty",
                "s.matchLabels: Invalid value: \"/\": name part must consist",
            ],
        );
    }
}
