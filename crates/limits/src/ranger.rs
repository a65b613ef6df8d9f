//! LimitRanger: defaults for containers, bounds for containers, pods and claims.

use std::collections::HashSet;

use serde_json::{Map, Value};
use skiff_machinery::{MOST_ERRORS, Object};
use skiff_ordered::Ordered as _;
use skiff_quantity::Quantity;

use crate::amounts::{Amounts, items, text};
use crate::pod::{Which, in_spec};

/// The annotation that tells what the plugin set.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Whether the plugin looks at a request: pods that are made or resized, claims that are made or updated; nothing
/// that is being deleted. `old` is the object as it is, of one that is there.
pub fn applies(group: &str, resource: &str, subresource: Option<&str>, old: Option<&Object>) -> bool {
    let (is_update, deleting) = (old.is_some(), old.is_some_and(Object::is_terminating));
    let looks = match (group, resource, subresource) {
        ("", "pods", None) => !is_update,
        ("", "pods", Some("resize")) => is_update,
        ("", "persistentvolumeclaims", None) => true,
        _ => false,
    };
    looks && !deleting
}

/// Gives a pod's containers the requests and limits that they leave out and LimitRanges have. To be called before
/// the plugins and webhooks that validate; it changes nothing the second time.
pub fn set_defaults<'a>(ranges: impl IntoIterator<Item = &'a Value>, pod: &mut Value) {
    for range in ranges {
        let defaults = Defaults::of(range);
        let mut told = Vec::new();
        for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
            for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                defaults.give(container, what, &mut told);
            }
        }
        if !told.is_empty() {
            let text = format!("LimitRanger plugin set: {}", told.join("; "));
            pod["metadata"]["annotations"][ANNOTATION] = text.into();
        }
    }
}

/// Defaults of one LimitRange; of several for one resource the last.
struct Defaults {
    requests: Map<String, Value>,
    limits: Map<String, Value>,
}

impl Defaults {
    fn of(range: &Value) -> Self {
        let of = |field: &str| {
            let limits = limits_of(range, "Container").filter_map(|limit| limit[field].as_object());
            limits.flatten().map(|(name, amount)| (name.clone(), amount.clone())).one_by_one()
        };
        Self { requests: of("defaultRequest"), limits: of("default") }
    }

    fn give(&self, container: &mut Value, what: &str, told: &mut Vec<String>) {
        let name = text(&container["name"]).to_owned();
        let lists = [("requests", "request", &self.requests), ("limits", "limit", &self.limits)];
        for (field, noun, defaults) in lists {
            let had = container["resources"][field].as_object();
            let missing = defaults.iter().filter(|(name, _)| !had.is_some_and(|had| had.contains_key(*name)));
            let missing: Vec<(String, Value)> = missing.map(|(name, v)| (name.clone(), v.clone())).collect();
            let mut names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            if !names.is_empty() {
                told.push(format!("{} {noun} for {what} {name}", names.join(", ")));
            }
            for (name, amount) in missing {
                container["resources"][field][name] = amount;
            }
        }
    }
}

/// Why a pod is refused, after `pods "name" is forbidden: `: what the first LimitRange that it breaks says.
pub fn pod_violation<'a>(ranges: impl IntoIterator<Item = &'a Value>, pod: &Value) -> Option<String> {
    ranges.into_iter().find_map(|range| {
        let mut errors = Texts::default();
        for limit in items(&range["spec"]["limits"]) {
            match text(&limit["type"]) {
                "Container" => {
                    for container in
                        ["containers", "initContainers"].iter().flat_map(|l| items(&pod["spec"][*l]))
                    {
                        if errors.is_full() {
                            break;
                        }
                        let resources = &container["resources"];
                        let of = |field: &str| Amounts::read(&resources[field]);
                        Use { per: "Container", requests: of("requests"), limits: of("limits") }
                            .check(limit, &mut errors);
                    }
                }
                "Pod" => {
                    let (requests, limits) = (in_spec(pod, Which::Requests), in_spec(pod, Which::Limits));
                    Use { per: "Pod", requests, limits }.check(limit, &mut errors);
                }
                _ => {}
            }
        }
        errors.joined()
    })
}

/// Why a PersistentVolumeClaim is refused, after `persistentvolumeclaims "name" is forbidden: `. Only what it
/// requests counts.
pub fn claim_violation<'a>(ranges: impl IntoIterator<Item = &'a Value>, claim: &Value) -> Option<String> {
    let requests = Amounts::read(&claim["spec"]["resources"]["requests"]);
    let usage = Use { per: "PersistentVolumeClaim", requests, limits: Amounts::default() };
    ranges.into_iter().find_map(|range| {
        let mut errors = Texts::default();
        for limit in limits_of(range, usage.per) {
            errors.extend(bounds(limit, "min").filter_map(|(name, bound)| usage.below(&name, bound)));
            errors
                .extend(bounds(limit, "max").filter_map(|(name, bound)| usage.requests_above(&name, bound)));
        }
        errors.joined()
    })
}

fn limits_of<'a>(range: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    items(&range["spec"]["limits"]).iter().filter(move |limit| limit["type"] == kind)
}

/// The bounds of a limit by resource, sorted by name.
fn bounds(limit: &Value, field: &str) -> impl Iterator<Item = (String, Quantity)> {
    let bounds = Amounts::read(&limit[field]);
    bounds.iter().map(|(name, bound)| (name.to_owned(), bound)).collect::<Vec<_>>().into_iter()
}

/// What is wrong, each text once: as many as are told of an object's fields, and one that says that there are more.
#[derive(Default)]
struct Texts {
    seen: HashSet<String>,
    told: Vec<String>,
}

impl Texts {
    fn is_full(&self) -> bool {
        self.told.len() > MOST_ERRORS
    }

    /// Takes what is new, as long as there is room.
    fn extend(&mut self, found: impl Iterator<Item = String>) {
        for text in found {
            if self.is_full() {
                return;
            }
            if self.seen.insert(text.clone()) {
                self.told.push(text);
            }
        }
    }

    /// One text, or several in brackets.
    fn joined(mut self) -> Option<String> {
        if self.is_full() {
            self.told.truncate(MOST_ERRORS);
            self.told.push(format!("errors: Too many: must have at most {MOST_ERRORS} items"));
        }
        match self.told.len() {
            0 => None,
            1 => self.told.pop(),
            _ => Some(format!("[{}]", self.told.join(", "))),
        }
    }
}

/// What something requests, and what it is limited to.
struct Use {
    /// `Container`, `Pod` or `PersistentVolumeClaim`.
    per: &'static str,
    requests: Amounts,
    limits: Amounts,
}

impl Use {
    fn check(&self, limit: &Value, errors: &mut Texts) {
        errors.extend(bounds(limit, "min").filter_map(|(name, bound)| self.below(&name, bound)));
        errors.extend(bounds(limit, "max").filter_map(|(name, bound)| self.above(&name, bound)));
        let ratios = bounds(limit, "maxLimitRequestRatio");
        errors.extend(ratios.filter_map(|(name, bound)| self.out_of_ratio(&name, bound)));
    }

    fn below(&self, name: &str, bound: Quantity) -> Option<String> {
        let (request, limit) = (self.requests.get(name), self.limits.get(name));
        let [asked, limited, least] = comparable([request, limit, Some(bound)]);
        let told = format!("minimum {name} usage per {} is {bound}", self.per);
        match (request, limit) {
            (None, _) => Some(format!("{told}.  No request is specified")),
            (Some(request), _) if asked < least => Some(format!("{told}, but request is {request}")),
            (_, Some(limit)) if limited < least => Some(format!("{told}, but limit is {limit}")),
            _ => None,
        }
    }

    fn above(&self, name: &str, bound: Quantity) -> Option<String> {
        let (request, limit) = (self.requests.get(name), self.limits.get(name));
        let [asked, limited, most] = comparable([request, limit, Some(bound)]);
        let told = format!("maximum {name} usage per {} is {bound}", self.per);
        match (limit, request) {
            (None, _) => Some(format!("{told}.  No limit is specified")),
            (Some(limit), _) if limited > most => Some(format!("{told}, but limit is {limit}")),
            (_, Some(request)) if asked > most => Some(format!("{told}, but request is {request}")),
            _ => None,
        }
    }

    /// For what has no limits.
    fn requests_above(&self, name: &str, bound: Quantity) -> Option<String> {
        let request = self.requests.get(name);
        let [asked, most] = comparable([request, Some(bound)]);
        let told = format!("maximum {name} usage per {} is {bound}", self.per);
        match request {
            None => Some(format!("{told}.  No request is specified")),
            Some(request) if asked > most => Some(format!("{told}, but request is {request}")),
            Some(_) => None,
        }
    }

    fn out_of_ratio(&self, name: &str, bound: Quantity) -> Option<String> {
        let [asked, limited, _] = comparable([self.requests.get(name), self.limits.get(name), Some(bound)]);
        let told = format!("{name} max limit to request ratio per {} is {bound}, but", self.per);
        if asked == 0 {
            return Some(format!("{told} no request is specified or request is 0"));
        }
        if limited == 0 {
            return Some(format!("{told} no limit is specified or limit is 0"));
        }
        let ratio = as_float(limited) / as_float(asked);
        let is_above = if bound.units() <= MOST_MILLIS {
            ratio * 1000.0 > as_float(bound.millis())
        } else {
            ratio > as_float(bound.units())
        };
        is_above.then(|| format!("{told} provided ratio is {ratio:.6}"))
    }
}

/// The most units whose thousandths can be counted in 64 bits.
const MOST_MILLIS: i64 = i64::MAX / 1000;

/// Amounts in thousandths, or in whole units if one of them is too great; what is missing is 0.
fn comparable<const N: usize>(amounts: [Option<Quantity>; N]) -> [i64; N] {
    let amounts = amounts.map(|amount| amount.unwrap_or(Quantity::from(0)));
    if amounts.iter().all(|amount| amount.units() <= MOST_MILLIS) {
        amounts.map(Quantity::millis)
    } else {
        amounts.map(Quantity::units)
    }
}

/// Ratios are computed in floating point, as Kubernetes does.
#[expect(clippy::cast_precision_loss, reason = "53 bits are what Kubernetes compares")]
fn as_float(amount: i64) -> f64 {
    amount as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_many_texts_the_first_are_told() {
        let range = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}});
        let check = |containers: usize, told: usize, last: &str| {
            let limit = |n: usize| json!({"resources": {"limits": {"cpu": (n + 2).to_string()}}});
            let pod = json!({"spec": {"containers": (0..containers).map(limit).collect::<Vec<_>>()}});
            let text = pod_violation([&range], &pod).unwrap();
            assert_eq!(text.split(", ").filter(|part| !part.starts_with("but ")).count(), told, "{text}");
            assert!(text.ends_with(last), "{text}");
        };
        check(2, 2, "maximum cpu usage per Container is 1, but limit is 3]");
        check(MOST_ERRORS, MOST_ERRORS, "maximum cpu usage per Container is 1, but limit is 1001]");
        check(5000, MOST_ERRORS + 1, "errors: Too many: must have at most 1000 items]");
    }
}
