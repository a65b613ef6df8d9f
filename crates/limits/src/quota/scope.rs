//! Which objects a quota is about.

use serde_json::Value;

use super::usage::{Counted, has_deadline};
use crate::amounts::{Amounts, items, text};

/// Whether an object is in all scopes of a quota.
pub(super) fn has(quota: &Value, counted: Counted<'_>, object: &Value) -> bool {
    let expressions = items(&quota["spec"]["scopeSelector"]["matchExpressions"]);
    plain(quota).iter().all(|scope| is_in(text(scope), Selector::EXISTS, counted, object))
        && expressions.iter().all(|expression| selects(expression, counted, object))
}

/// Whether an object is in one of a quota's scopes with this name.
pub(super) fn covers(quota: &Value, name: &str, counted: Counted<'_>, object: &Value) -> bool {
    let expressions = items(&quota["spec"]["scopeSelector"]["matchExpressions"]);
    let is_plain = || plain(quota).iter().any(|scope| scope == name);
    (is_plain() && is_in(name, Selector::EXISTS, counted, object))
        || expressions
            .iter()
            .any(|expression| expression["scopeName"] == name && selects(expression, counted, object))
}

/// Whether an object is in the scope of an expression.
pub(super) fn selects(expression: &Value, counted: Counted<'_>, object: &Value) -> bool {
    let selector = Selector { operator: text(&expression["operator"]), values: items(&expression["values"]) };
    is_in(text(&expression["scopeName"]), selector, counted, object)
}

/// The scopes of which a quota says nothing more.
fn plain(quota: &Value) -> &[Value] {
    items(&quota["spec"]["scopes"])
}

/// What a scope's value must be, for scopes that have one.
#[derive(Clone, Copy)]
struct Selector<'a> {
    operator: &'a str,
    values: &'a [Value],
}

impl Selector<'_> {
    const EXISTS: Self = Self { operator: "Exists", values: &[] };

    /// Whether a name is selected; none is the empty name.
    fn selects(self, name: &str) -> bool {
        let is_listed = self.values.iter().any(|value| text(value) == name);
        match self.operator {
            "Exists" => !name.is_empty(),
            "DoesNotExist" => name.is_empty(),
            "In" => !name.is_empty() && is_listed,
            "NotIn" => name.is_empty() || !is_listed,
            _ => false,
        }
    }
}

fn is_in(scope: &str, selector: Selector<'_>, counted: Counted<'_>, object: &Value) -> bool {
    match (counted, scope) {
        (Counted::Pods, "Terminating") => has_deadline(object),
        (Counted::Pods, "NotTerminating") => !has_deadline(object),
        (Counted::Pods, "BestEffort") => is_best_effort(object),
        (Counted::Pods, "NotBestEffort") => !is_best_effort(object),
        (Counted::Pods, "PriorityClass") => selector.selects(text(&object["spec"]["priorityClassName"])),
        (Counted::Pods, "CrossNamespacePodAffinity") => has_affinity_across_namespaces(object),
        (Counted::Claims, "VolumeAttributesClass") => {
            let (spec, status) = (&object["spec"], &object["status"]);
            let names = [
                text(&spec["volumeAttributesClassName"]),
                text(&status["currentVolumeAttributesClassName"]),
                text(&status["modifyVolumeStatus"]["targetVolumeAttributesClassName"]),
            ];
            let mut set = names.into_iter().filter(|name| !name.is_empty()).peekable();
            if set.peek().is_none() { selector.selects("") } else { set.any(|name| selector.selects(name)) }
        }
        _ => false,
    }
}

/// Whether neither processor nor memory is asked for or limited.
fn is_best_effort(pod: &Value) -> bool {
    let class = text(&pod["status"]["qosClass"]);
    if !class.is_empty() {
        return class == "BestEffort";
    }
    let says_nothing = |resources: &Value| {
        ["requests", "limits"].iter().all(|list| {
            let amounts = Amounts::read(&resources[*list]);
            ["cpu", "memory"].iter().all(|name| amounts.get(name).is_none_or(|amount| amount.nanos() <= 0))
        })
    };
    let whole = &pod["spec"]["resources"];
    if !whole.is_null() {
        return says_nothing(whole);
    }
    let containers = ["containers", "initContainers"].iter().flat_map(|list| items(&pod["spec"][*list]));
    containers.into_iter().all(|container| says_nothing(&container["resources"]))
}

/// Whether a pod wants to be near to, or far from, pods of other namespaces.
fn has_affinity_across_namespaces(pod: &Value) -> bool {
    let across =
        |term: &Value| !items(&term["namespaces"]).is_empty() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let affinity = &pod["spec"]["affinity"][*kind];
        let required = items(&affinity["requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = items(&affinity["preferredDuringSchedulingIgnoredDuringExecution"]);
        required.iter().any(across) || preferred.iter().any(|term| across(&term["podAffinityTerm"]))
    })
}
