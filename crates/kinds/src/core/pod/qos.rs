//! The quality-of-service class of a pod, from its containers' requests and limits.

use std::collections::BTreeMap;

use serde_json::Value;

use skiff_machinery::Object;
use skiff_machinery::cells::items;
use skiff_machinery::quantity::Quantity;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn class(pod: &Object) -> &'static str {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let whole = pod.get(&["spec", "resources"]).filter(|resources| is_set(resources));
    let containers = || {
        let lists = ["containers", "initContainers"].map(|list| items(pod, &["spec", list]));
        lists.into_iter().flatten().map(|container| container.get("resources").unwrap_or(&Value::Null))
    };
    let holders: Vec<&Value> = whole.map_or_else(|| containers().collect(), |resources| vec![resources]);

    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    let mut all_limited = true;
    for resources in holders {
        for name in COUNTED {
            add(&mut requests, name, resources.get("requests"));
            all_limited &= add(&mut limits, name, resources.get("limits"));
        }
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if all_limited && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Sums by resource, in units of 10⁻⁹.
type Amounts = BTreeMap<&'static str, i128>;

/// Adds one amount of a list; tells whether it was there and above zero.
fn add(sums: &mut Amounts, name: &'static str, amounts: Option<&Value>) -> bool {
    let text = amounts.and_then(|amounts| amounts.get(name));
    let amount = match text {
        Some(Value::String(text)) => text.parse::<Quantity>().ok(),
        Some(Value::Number(number)) => number.to_string().parse().ok(),
        _ => None,
    };
    let Some(amount) = amount.map(Quantity::nanos).filter(|nanos| *nanos > 0) else { return false };
    *sums.entry(name).or_default() += amount;
    true
}

fn is_set(resources: &Value) -> bool {
    ["requests", "limits"].iter().any(|name| resources.get(name).is_some_and(Value::is_object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn classes() {
        let check = |resources: &[Value], expected: &str| {
            let containers: Vec<Value> = resources.iter().map(|r| json!({"resources": r})).collect();
            let pod = Object::from_value(json!({"spec": {"containers": containers}})).unwrap();
            assert_eq!(class(&pod), expected, "{resources:?}");
        };
        let full =
            json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}});
        check(&[json!({})], "BestEffort");
        check(&[json!({"requests": {"cpu": "0"}})], "BestEffort");
        check(std::slice::from_ref(&full), "Guaranteed");
        check(&[full.clone(), json!({})], "Burstable");
        check(&[json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})], "Burstable");
        check(
            &[json!({"requests": {"cpu": "1", "memory": "1"}, "limits": {"cpu": "2", "memory": "1"}})],
            "Burstable",
        );
        check(&[json!({"requests": {"memory": "1Mi"}})], "Burstable");
    }
}
