//! Node.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use std::sync::Arc;

use skiff_schema::Schema;

use super::resources;
use crate::groups::CORE;
use crate::row::stored;
use crate::shared::check::one_of;
use skiff_machinery::cells::{
    self, NONE, age, age_column, items, name_column, or_none, str_of, strings, text, wide,
};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Selectable,
    Strategy, Subresource, addresses,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Status", "Whether the node can run pods."),
            text("Roles", "Roles from the node's labels."),
            age_column(),
            text("Version", "Kubernetes version of the node agent."),
            wide("Internal-IP", "Address inside the cluster."),
            wide("External-IP", "Address outside the cluster."),
            wide("OS-Image", "Operating system of the node."),
            wide("Kernel-Version", "Kernel of the node."),
            wide("Container-Runtime", "Container runtime of the node."),
        ],
        print: Printer::Fixed(print),
        selectable: vec![Selectable::fixed("spec.unschedulable", |node| unschedulable(node).to_string())]
            .into(),
        ..stored(schema, CORE, "io.k8s.api.core.v1.Node", Scope::Cluster, NodeStrategy)
            .short(&["no"])
            .below(&[Subresource::Proxy, Subresource::Status])
    }
}

fn unschedulable(node: &Object) -> bool {
    node.get(&["spec", "unschedulable"]).and_then(Value::as_bool).unwrap_or(false)
}

fn print(node: &Object, now: Timestamp) -> Row {
    let info = |field: &str| or_unknown(node.str(&["status", "nodeInfo", field]).to_owned());
    let architecture = node.str(&["status", "nodeInfo", "architecture"]);
    let mut kernel = info("kernelVersion");
    if !architecture.is_empty() {
        kernel = format!("{kernel} ({architecture})");
    }
    cells::row([
        node.name().into(),
        status(node).into(),
        roles(node).into(),
        age(node, now),
        node.str(&["status", "nodeInfo", "kubeletVersion"]).into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        info("osImage").into(),
        kernel.into(),
        info("containerRuntimeVersion").into(),
    ])
}

fn or_unknown(text: String) -> String {
    if text.is_empty() { "<unknown>".to_owned() } else { text }
}

fn status(node: &Object) -> String {
    let conditions = items(node, &["status", "conditions"]);
    let ready = conditions.iter().find(|condition| str_of(condition, "type") == "Ready");
    let mut text = match ready {
        Some(condition) if str_of(condition, "status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if unschedulable(node) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Object) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (label, value) in node.labels() {
        match label.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.push(role),
            None if label == "kubernetes.io/role" && !value.is_empty() => roles.push(value),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    or_none(roles.join(","))
}

fn address(node: &Object, kind: &str) -> String {
    let addresses = items(node, &["status", "addresses"]);
    let found = addresses.iter().find(|address| str_of(address, "type") == kind);
    found.map_or(NONE, |address| str_of(address, "address")).to_owned()
}

/// What is special about nodes.
struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn folder(&self) -> Option<&'static str> {
        Some("minions")
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    /// `podCIDR` is the first of `podCIDRs`, and the only one where it is not; what is allocatable is the capacity unless the node says
    /// less.
    fn default(&self, object: &mut Object) {
        let first = strings(object, &["spec", "podCIDRs"]).first().map(|cidr| (*cidr).to_owned());
        match (object.str(&["spec", "podCIDR"]).to_owned(), first) {
            (single, Some(first)) if single.is_empty() => object.set(&["spec", "podCIDR"], first),
            (single, first) if !single.is_empty() && first.as_ref() != Some(&single) => {
                object.set(&["spec", "podCIDRs"], json!([single]));
            }
            _ => {}
        }
        if object.get(&["status", "allocatable"]).is_none()
            && let Some(capacity) = object.get(&["status", "capacity"]).cloned()
        {
            object.set(&["status", "allocatable"], capacity);
        }
    }

    /// A node registers with its status.
    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        drop_config_source(object);
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        if old.get(&CONFIG_SOURCE).is_none() {
            drop_config_source(new);
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_taints(items(object, &["spec", "taints"]));
        errors.extend(validate_resources(object));
        errors.extend(validate_pod_cidrs(object));
        errors
    }

    /// Kubernetes checks the whole node first, and then what a change concerns, some of it again.
    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        errors.extend(self.validate_status(cx, new, old));
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = validate_resources(new);
        errors.extend(validate_addresses(new));
        errors.extend(validate_change(new, old));
        errors.extend(validate_taints(items(new, &["spec", "taints"])));
        errors
    }
}

const CONFIG_SOURCE: [&str; 2] = ["spec", "configSource"];

/// Nodes do not take their kubelets' configuration from the API any more; what asks for it is only kept where it was before.
fn drop_config_source(node: &mut Object) {
    node.remove(&CONFIG_SOURCE);
}

/// Checks what a node has and offers.
fn validate_resources(node: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for list in ["capacity", "allocatable"] {
        for (name, amount) in resources::amounts(node.get(&["status", list])) {
            errors.extend(resources::check_amount(&format!("status.{list}.{name}"), name, &amount));
        }
    }
    errors
}

/// Checks taints, which Kubernetes says are in the metadata.
fn validate_taints(taints: &[Value]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let at = |field: &str| format!("metadata.taints[{index}].{field}");
        let (key, effect) = (str_of(taint, "key"), str_of(taint, "effect"));
        errors.extend(Form::QualifiedName.check(&at("key"), key));
        errors.extend(Form::LabelValue.check(&at("value"), str_of(taint, "value")));
        errors.extend(one_of(&at("effect"), Some(effect), &["NoSchedule", "PreferNoSchedule", "NoExecute"]));
        if !seen.insert((key, effect)) {
            let field = |name: &str| taint.get(name).cloned().unwrap_or_default();
            let text = |name: &str| Value::from(str_of(taint, name));
            // As Kubernetes' own type has it.
            let shown = format!(
                r#"{{"Key":{},"Value":{},"Effect":{},"TimeAdded":{}}}"#,
                text("key"),
                text("value"),
                text("effect"),
                field("timeAdded")
            );
            let mut error =
                FieldError::duplicate(format!("metadata.taints[{index}]"), Value::Null).showing(shown);
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
    errors
}

fn validate_pod_cidrs(node: &Object) -> FieldErrors {
    let cidrs = strings(node, &["spec", "podCIDRs"]);
    let mut errors = FieldErrors::new();
    let mut families = BTreeSet::new();
    for (index, text) in cidrs.iter().enumerate() {
        match addresses::cidr(text) {
            Ok(range) => drop(families.insert(addresses::family(range.addr()))),
            Err(detail) => {
                errors.push(FieldError::invalid(format!("spec.podCIDRs[{index}]"), *text, detail));
            }
        }
    }
    if errors.is_empty() && families.len() < cidrs.len() {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid("spec.podCIDRs", json!(cidrs), detail));
    }
    errors
}

fn validate_addresses(node: &Object) -> FieldErrors {
    let mut seen: Vec<&Value> = Vec::new();
    let mut errors = FieldErrors::new();
    for (index, address) in items(node, &["status", "addresses"]).iter().enumerate() {
        if seen.contains(&address) {
            errors.push(FieldError::duplicate(format!("status.addresses[{index}]"), address.clone()));
        }
        seen.push(address);
    }
    errors
}

/// Of the spec only taints and schedulability change freely; ranges and the provider are set once.
fn validate_change(new: &Object, old: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let cidrs = strings(old, &["spec", "podCIDRs"]);
    if !cidrs.is_empty() && strings(new, &["spec", "podCIDRs"]) != cidrs {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.podCIDRs", detail));
    }
    let provider = old.str(&["spec", "providerID"]);
    if !provider.is_empty() && new.str(&["spec", "providerID"]) != provider {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden("spec.providerID", detail));
    }
    let fixed = |node: &Object| -> Map<String, Value> {
        let mut spec = node.get(&["spec"]).and_then(Value::as_object).cloned().unwrap_or_default();
        let changeable = ["podCIDR", "podCIDRs", "providerID", "taints", "unschedulable", "configSource"];
        spec.retain(|field, value| !value.is_null() && !changeable.contains(&field.as_str()));
        spec
    };
    if fixed(new) != fixed(old) {
        let detail = "node updates may only change labels, taints, or capacity";
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    #[test]
    fn prints_status_and_roles() {
        let check = |value: Value, status: &str, roles: &str| {
            let row = print(&node(value), Timestamp::UNIX_EPOCH);
            assert_eq!([&row.cells[1], &row.cells[2]], [status, roles]);
        };
        let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        check(json!({"status": ready("True")}), "Ready", "<none>");
        check(json!({"status": ready("Unknown")}), "NotReady", "<none>");
        check(json!({"spec": {"unschedulable": true}}), "Unknown,SchedulingDisabled", "<none>");
        let labels =
            json!({"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""});
        check(
            json!({"metadata": {"labels": labels}, "status": ready("True")}),
            "Ready",
            "control-plane,worker",
        );
    }

    #[test]
    fn pod_cidrs_are_set_once() {
        let mut old = node(json!({"spec": {"podCIDR": "10.244.0.0/24"}}));
        NodeStrategy.default(&mut old);
        assert_eq!(old.get(&["spec", "podCIDRs"]), Some(&json!(["10.244.0.0/24"])));
        let mut new = old.clone();
        new.set(&["spec", "podCIDRs"], json!(["10.244.1.0/24"]));
        let errors = validate_change(&new, &old);
        assert_eq!(
            errors[0].to_string(),
            r#"spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid"#
        );
        assert_eq!(validate_change(&old, &node(json!({}))), []);
    }

    #[test]
    fn the_only_pod_cidr_is_the_one_that_is_named_alone() {
        let check = |spec: Value, expected: (&str, Value)| {
            let mut new = Object::from_value(json!({"spec": spec})).unwrap();
            NodeStrategy.default(&mut new);
            let found =
                (new.str(&["spec", "podCIDR"]), new.get(&["spec", "podCIDRs"]).cloned().unwrap_or_default());
            assert_eq!(found, expected, "{spec}");
        };
        let all = json!(["10.1.0.0/24", "fd00::/64"]);
        check(json!({"podCIDRs": all}), ("10.1.0.0/24", all.clone()));
        check(json!({"podCIDR": "10.1.0.0/24", "podCIDRs": all}), ("10.1.0.0/24", all.clone()));
        check(json!({"podCIDR": "10.2.0.0/24", "podCIDRs": all}), ("10.2.0.0/24", json!(["10.2.0.0/24"])));
        check(json!({"podCIDR": "10.2.0.0/24"}), ("10.2.0.0/24", json!(["10.2.0.0/24"])));
        check(json!({}), ("", Value::Null));
    }

    #[test]
    fn checks_taints() {
        let check = |taints: Value, expected: &[&str]| {
            let errors = validate_taints(taints.as_array().unwrap());
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]), &[]);
        check(
            json!([{"key": "a", "effect": "Never"}]),
            &[
                r#"metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#,
            ],
        );
        check(
            json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]),
            &[
                r#"metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair"#,
            ],
        );
    }
}
