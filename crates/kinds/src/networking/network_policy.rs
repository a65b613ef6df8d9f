//! NetworkPolicy: which connections pods may have.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, items, name_column, str_of, strings, text};
use skiff_machinery::names::Form;
use skiff_machinery::selector::{self, Values};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy, addresses,
};
use skiff_schema::Schema;

use crate::groups::NETWORKING;
use crate::row::stored;
use crate::shared::check::port;
use crate::shared::defaults::{fill, list_mut, object_mut};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("Pod-Selector", "The pods that it is about."), age_column()],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(
            schema,
            NETWORKING,
            "io.k8s.api.networking.v1.NetworkPolicy",
            Scope::Namespaced,
            PolicyStrategy,
        )
        .short(&["netpol"])
        .plural("networkpolicies")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let selector = object.get(&["spec", "podSelector"]).map_or_else(|| Some(String::new()), selector::shown);
    let selector = selector.map_or_else(|| "<error>".to_owned(), cells::or_none);
    cells::row([object.name().into(), selector.into(), age(object, now)])
}

/// The two directions: the list of rules, and the list of peers in each.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// What is looked at closely. What was wrong before may stay wrong.
struct Strict<'o> {
    values: Values,
    ranges_before: Vec<&'o str>,
}

/// What is special about network policies.
struct PolicyStrategy;

impl Strategy for PolicyStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn default(&self, object: &mut Object) {
        let spec = object_mut(object.as_map_mut(), "spec");
        for (rules, _) in DIRECTIONS {
            for rule in list_mut(spec, rules) {
                list_mut(rule, "ports").for_each(|port| fill(port, "protocol", "TCP"));
            }
        }
        let is_empty = |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
        if is_empty(spec.get("policyTypes")) {
            let both = !is_empty(spec.get("egress"));
            let types = if both { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".to_owned(), types);
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        check(object, &Strict { values: Values::Checked, ranges_before: Vec::new() })
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let was_right = selector::validate("", pods(old), Values::Checked).is_empty();
        let values = if was_right { Values::Checked } else { Values::Tolerated };
        let ranges = peers(old).flat_map(|(_, peer)| ranges(peer).map(|(_, range)| range));
        check(new, &Strict { values, ranges_before: ranges.collect() })
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        let all = peers(new).flat_map(|(at, peer)| {
            ranges(peer).map(move |(field, range)| (format!("{at}.ipBlock.{field}"), range))
        });
        all.filter_map(|(at, range)| doubt(&at, range)).collect()
    }
}

fn pods(object: &Object) -> &Value {
    object.get(&["spec", "podSelector"]).unwrap_or(&Value::Null)
}

/// Every peer, with its path.
fn peers(object: &Object) -> impl Iterator<Item = (String, &Value)> {
    DIRECTIONS.into_iter().flat_map(move |(rules, peers)| {
        items(object, &["spec", rules]).iter().enumerate().flat_map(move |(index, rule)| {
            let list = rule.get(peers).and_then(Value::as_array).into_iter().flatten().enumerate();
            list.map(move |(place, peer)| (format!("spec.{rules}[{index}].{peers}[{place}]"), peer))
        })
    })
}

/// The ranges of a peer, with their fields below its block.
fn ranges(peer: &Value) -> impl Iterator<Item = (String, &str)> {
    let block = &peer["ipBlock"];
    let whole = block["cidr"].as_str().map(|range| ("cidr".to_owned(), range));
    let without = block["except"].as_array().into_iter().flatten().filter_map(Value::as_str).enumerate();
    whole.into_iter().chain(without.map(|(index, range)| (format!("except[{index}]"), range)))
}

/// What is said of a range that is right, but may mean something else, or is not written as it should be.
fn doubt(path: &str, range: &str) -> Option<String> {
    let parsed = addresses::cidr(range).ok()?;
    if addresses::has_host_bits(parsed) {
        let (network, length) = (parsed.trunc(), parsed.max_prefix_len());
        let one = format!("{}/{length}", parsed.addr());
        return Some(format!(
            "{path}: CIDR value {range:?} is ambiguous in this context (should be \"{network}\" or {one:?}?)"
        ));
    }
    let is_odd = parsed.addr().is_ipv6() && parsed.to_string() != range;
    is_odd.then(|| {
        format!("{path}: IPv6 CIDR value {range:?} should be in RFC 5952 canonical format (\"{parsed}\")")
    })
}

fn check(object: &Object, strict: &Strict<'_>) -> FieldErrors {
    let mut errors = selector::validate("spec.podSelector", pods(object), strict.values);
    for (rules, peers) in DIRECTIONS {
        for (index, rule) in items(object, &["spec", rules]).iter().enumerate() {
            let at = format!("spec.{rules}[{index}]");
            let list = |field: &str| rule.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (place, port) in list("ports").iter().enumerate() {
                errors.extend(check_port(&format!("{at}.ports[{place}]"), port));
            }
            for (place, peer) in list(peers).iter().enumerate() {
                errors.extend(check_peer(&format!("{at}.{peers}[{place}]"), peer, strict));
            }
        }
    }
    let types = strings(object, &["spec", "policyTypes"]);
    if types.len() > DIRECTIONS.len() {
        let detail = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid("spec.policyTypes", json!(types), detail));
        return errors;
    }
    for (index, one) in types.iter().enumerate().filter(|(_, one)| !["Ingress", "Egress"].contains(one)) {
        let path = format!("spec.policyTypes[{index}]");
        errors.push(FieldError::not_supported(path, *one, &["Ingress", "Egress"]));
    }
    errors
}

fn check_port(path: &str, one: &Value) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    let protocols = ["TCP", "UDP", "SCTP"];
    if let Some(protocol) = one["protocol"].as_str().filter(|protocol| !protocols.contains(protocol)) {
        errors.push(FieldError::not_supported(at("protocol"), protocol, &protocols));
    }
    match (&one["port"], one["endPort"].as_i64()) {
        (Value::Number(number), end) => {
            let number = number.as_i64().unwrap_or_default();
            errors.extend(port(&at("port"), number));
            if let Some(end) = end {
                if end < number {
                    let detail = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(at("endPort"), number, detail));
                }
                errors.extend(port(&at("endPort"), end));
            }
        }
        (Value::String(name), end) => {
            if let Some(end) = end {
                let detail = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::invalid(at("endPort"), end, detail));
            }
            errors.extend(Form::PortName.check(&at("port"), name));
        }
        (_, Some(end)) => {
            let detail = "may not be specified when `port` is not specified";
            errors.push(FieldError::invalid(at("endPort"), end, detail));
        }
        (_, None) => {}
    }
    errors
}

fn check_peer(path: &str, peer: &Value, strict: &Strict<'_>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let mut count = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if peer[field].is_object() {
            count += 1;
            errors.extend(selector::validate(&format!("{path}.{field}"), &peer[field], strict.values));
        }
    }
    if peer["ipBlock"].is_object() {
        errors.extend(check_block(&format!("{path}.ipBlock"), &peer["ipBlock"], strict));
        if count > 0 {
            let detail = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(path, detail));
        }
    } else if count == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    }
    errors
}

fn check_block(path: &str, block: &Value, strict: &Strict<'_>) -> FieldErrors {
    let whole = str_of(block, "cidr");
    if whole.is_empty() {
        return [FieldError::required(format!("{path}.cidr"), "")].into();
    }
    let mut errors = check_range(&format!("{path}.cidr"), whole, strict);
    let Ok(outer) = addresses::cidr(whole) else { return errors };
    let except = block["except"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for (index, part) in except.enumerate() {
        let at = format!("{path}.except[{index}]");
        errors.extend(check_range(&at, part, strict));
        let Ok(inner) = addresses::cidr(part) else { continue };
        if !outer.contains(&inner.network()) || outer.prefix_len() >= inner.prefix_len() {
            errors.push(FieldError::invalid(at, part, "must be a strict subset of `cidr`"));
        }
    }
    errors
}

fn check_range(path: &str, range: &str, strict: &Strict<'_>) -> FieldErrors {
    if strict.ranges_before.contains(&range) {
        return FieldErrors::new();
    }
    match addresses::cidr(range) {
        Ok(parsed) if addresses::has_host_bits(parsed) => {
            [FieldError::invalid(path, range, "must not have bits set beyond the prefix length")].into()
        }
        Ok(_) => FieldErrors::new(),
        Err(detail) => [FieldError::invalid(path, range, detail)].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn found(spec: Value) -> Vec<String> {
        let mut policy = object(json!({ "spec": spec }));
        PolicyStrategy.default(&mut policy);
        texts(with_context(|cx| PolicyStrategy.validate(cx, &policy)))
    }

    #[test]
    fn directions_are_those_that_have_rules() {
        let check = |spec: Value, expected: Value| {
            let mut policy = object(json!({ "spec": spec }));
            PolicyStrategy.default(&mut policy);
            assert_eq!(policy.get(&["spec", "policyTypes"]), Some(&expected));
        };
        check(json!({}), json!(["Ingress"]));
        check(json!({"egress": [{}]}), json!(["Ingress", "Egress"]));
        check(json!({"policyTypes": ["Egress"]}), json!(["Egress"]));
    }

    #[test]
    fn peers_are_pods_namespaces_or_ranges() {
        let check = |peer: Value, expected: &[&str]| {
            assert_eq!(found(json!({"ingress": [{"from": [peer]}]})), expected)
        };
        check(json!({"podSelector": {}, "namespaceSelector": {}}), &[]);
        check(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}), &[]);
        check(json!({}), &["spec.ingress[0].from[0]: Required value: must specify a peer"]);
        check(
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}, "podSelector": {}}),
            &[
                r#"spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`"#,
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            ],
        );
    }

    #[test]
    fn ports_are_numbers_ranges_or_names() {
        let check = |port: Value, expected: &[&str]| {
            assert_eq!(found(json!({"egress": [{"ports": [port]}]})), expected)
        };
        check(json!({"port": 80, "endPort": 90}), &[]);
        check(json!({"port": "http"}), &[]);
        check(
            json!({"port": 80, "endPort": 70}),
            &["spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"],
        );
        check(
            json!({"port": "http", "endPort": 70}),
            &[
                "spec.egress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is non-numeric",
            ],
        );
        check(
            json!({"port": 80, "protocol": "X"}),
            &[
                r#"spec.egress[0].ports[0].protocol: Unsupported value: "X": supported values: "TCP", "UDP", "SCTP""#,
            ],
        );
    }

    #[test]
    fn ranges_that_may_mean_something_else_are_doubted() {
        let check = |range: &str, expected: Option<&str>| assert_eq!(doubt("r", range).as_deref(), expected);
        check("10.0.0.0/8", None);
        check(
            "10.0.0.1/8",
            Some(
                r#"r: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)"#,
            ),
        );
        check(
            "FD00::/8",
            Some(r#"r: IPv6 CIDR value "FD00::/8" should be in RFC 5952 canonical format ("fd00::/8")"#),
        );
    }
}
