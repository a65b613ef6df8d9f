//! PriorityLevelConfiguration: a share of what the server does at the same time, and what becomes of requests beyond it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, NONE, age, age_column, name_column, str_of, text};
use skiff_machinery::{Cell, FieldError, FieldErrors, Kind, Object, Printer, Row};
use skiff_schema::Schema;

use super::bootstrap::{self, EXEMPT, Which};
use super::common::{Rules, base, number, part, spec};
use super::go;
use crate::shared::defaults::{existing_mut, fill, fill_number};

const TYPES: &[&str] = &["Exempt", "Limited"];
const RESPONSES: &[&str] = &["Queue", "Reject"];
const MOST_QUEUES: i64 = 10_000_000;
/// How much of a flow's hash choosing its queues may use up: the last choice would not be even otherwise.
const MOST_ENTROPY: f64 = 60.0;

pub(super) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Type", "Exempt or Limited."),
            text(
                "NominalConcurrencyShares",
                "The level's part of the server's seats, beside those of others.",
            ),
            text("Queues", "How many queues there are."),
            text("HandSize", "How many of them a flow uses."),
            text("QueueLengthLimit", "How many requests wait in a queue."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..base(schema, "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration", Levels)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let limited = part(spec(object), "limited");
    let queuing = limited.and_then(|limited| part(limited, "limitResponse"));
    let queuing = queuing.and_then(|response| part(response, "queuing"));
    let cell = |of: Option<&Value>, field| -> Cell {
        of.map_or_else(|| NONE.into(), |value| number(value, field).into())
    };
    cells::row([
        object.name().into(),
        object.str(&["spec", "type"]).into(),
        cell(limited, "nominalConcurrencyShares"),
        cell(queuing, "queues"),
        cell(queuing, "handSize"),
        cell(queuing, "queueLengthLimit"),
        age(object, now),
    ])
}

/// What is special about PriorityLevelConfigurations.
struct Levels;

impl Rules for Levels {
    fn default(&self, object: &mut Object) {
        let Some(spec) = existing_mut(object.as_map_mut(), "spec") else { return };
        if let Some(exempt) = existing_mut(spec, "exempt") {
            fill(exempt, "nominalConcurrencyShares", 0);
            fill(exempt, "lendablePercent", 0);
        }
        let Some(limited) = existing_mut(spec, "limited") else { return };
        fill(limited, "nominalConcurrencyShares", 30);
        fill(limited, "lendablePercent", 0);
        let response = existing_mut(limited, "limitResponse");
        if let Some(queuing) = response.and_then(|response| existing_mut(response, "queuing")) {
            for (field, value) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                fill_number(queuing, field, value);
            }
        }
    }

    fn check(&self, object: &Object) -> FieldErrors {
        let (spec, name) = (spec(object), object.name());
        let kind = str_of(spec, "type");
        let mut errors = FieldErrors::new();
        if (name == EXEMPT) != (kind == "Exempt") {
            let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
            errors.push(FieldError::invalid("spec.type", kind, detail));
        }
        let (limited, exempt) = (part(spec, "limited"), part(spec, "exempt"));
        match kind {
            "Exempt" => {
                if limited.is_some() {
                    let detail = "must be nil if the type is not Limited";
                    errors.push(FieldError::forbidden("spec.limited", detail));
                }
                errors.extend(exempt.into_iter().flat_map(check_exempt));
            }
            "Limited" => {
                if exempt.is_some() {
                    errors.push(FieldError::forbidden("spec.exempt", "must be nil if the type is Limited"));
                }
                match limited {
                    None => errors
                        .push(FieldError::required("spec.limited", "must not be empty when type is Limited")),
                    Some(limited) => errors.extend(check_limited(limited)),
                }
            }
            "" => errors.push(FieldError::required("spec.type", "")),
            _ => errors.push(FieldError::not_supported("spec.type", kind, TYPES)),
        }
        errors.extend(check_mandatory(name, spec));
        errors
    }
}

/// A mandatory level has its own spec; that without a limit may have another share.
fn check_mandatory(name: &str, spec: &Value) -> Option<FieldError> {
    let given = bootstrap::mandatory(Which::Level, name)?;
    let mut compared = (given.spec, spec.clone());
    let but = if name == EXEMPT {
        for spec in [&mut compared.0, &mut compared.1] {
            spec.as_object_mut().map(|spec| spec.remove("exempt"));
        }
        " except the 'spec.exempt' field"
    } else {
        ""
    };
    let detail = format!("spec of '{name}'{but} must equal the fixed value");
    let error = || FieldError::invalid("spec", Value::Null, detail).showing(go::priority_level(spec));
    (compared.0 != compared.1).then(error)
}

fn check_exempt(exempt: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let shares = number(exempt, "nominalConcurrencyShares");
    if shares < 0 {
        let detail = "must be a non-negative integer";
        errors.push(FieldError::invalid("spec.exempt.nominalConcurrencyShares", shares, detail));
    }
    errors.extend(check_lendable("spec.exempt", exempt));
    errors
}

fn check_lendable(path: &str, value: &Value) -> Option<FieldError> {
    let percent = number(value, "lendablePercent");
    let detail = "must be between 0 and 100, inclusive";
    let error = || FieldError::invalid(format!("{path}.lendablePercent"), percent, detail);
    (!(0..=100).contains(&percent)).then(error)
}

fn check_limited(limited: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let shares = number(limited, "nominalConcurrencyShares");
    if shares < 0 {
        let detail = "must be a non-negative integer";
        errors.push(FieldError::invalid("spec.limited.nominalConcurrencyShares", shares, detail));
    }
    errors.extend(check_response(part(limited, "limitResponse").unwrap_or(&Value::Null)));
    errors.extend(check_lendable("spec.limited", limited));
    let borrowed = number(limited, "borrowingLimitPercent");
    if borrowed < 0 {
        let detail = "if specified, must be a non-negative integer";
        errors.push(FieldError::invalid("spec.limited.borrowingLimitPercent", borrowed, detail));
    }
    errors
}

fn check_response(response: &Value) -> FieldErrors {
    const QUEUING: &str = "spec.limited.limitResponse.queuing";
    let queuing = part(response, "queuing");
    match (str_of(response, "type"), queuing) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            [FieldError::forbidden(QUEUING, detail)].into()
        }
        ("Reject", None) => FieldErrors::new(),
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            [FieldError::required(QUEUING, detail)].into()
        }
        ("Queue", Some(queuing)) => check_queuing(QUEUING, queuing),
        ("", _) => [FieldError::required("spec.limited.limitResponse.type", "")].into(),
        (other, _) => [FieldError::not_supported("spec.limited.limitResponse.type", other, RESPONSES)].into(),
    }
}

fn check_queuing(path: &str, queuing: &Value) -> FieldErrors {
    let of = |field| number(queuing, field);
    let (length, queues, hand) = (of("queueLengthLimit"), of("queues"), of("handSize"));
    let mut errors = FieldErrors::new();
    let mut refuse = |field: &str, value: i64, detail: String| {
        errors.push(FieldError::invalid(format!("{path}.{field}"), value, detail));
    };
    let positive = || "must be positive".to_owned();
    if length <= 0 {
        refuse("queueLengthLimit", length, positive());
    }
    if queues <= 0 {
        refuse("queues", queues, positive());
    } else if queues > MOST_QUEUES {
        refuse("queues", queues, format!("must not be greater than {MOST_QUEUES}"));
    }
    if hand <= 0 {
        refuse("handSize", hand, positive());
    } else if hand > queues {
        refuse("handSize", hand, format!("should not be greater than queues ({queues})"));
    } else if entropy(queues, hand) > MOST_ENTROPY {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MOST_ENTROPY}"
        );
        refuse("handSize", hand, detail);
    }
    errors
}

/// How many bits of a hash it takes to choose a hand of queues, rounded up.
#[allow(clippy::cast_precision_loss, reason = "both are whole numbers of 32 bits")]
fn entropy(queues: i64, hand: i64) -> f64 {
    ((queues as f64).log2() * hand as f64).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts};
    use serde_json::json;

    fn check(name: &str, spec: Value, expected: &[&str]) {
        let mut level = object(json!({"metadata": {"name": name}, "spec": spec}));
        Levels.default(&mut level);
        assert_eq!(texts(Levels.check(&level)), expected, "{spec}");
    }

    #[test]
    fn has_one_part_of_its_type() {
        let reject = json!({"limitResponse": {"type": "Reject"}});
        check("l", json!({"type": "Limited", "limited": reject}), &[]);
        check("l", json!({"type": ""}), &["spec.type: Required value"]);
        check(
            "l",
            json!({"type": "X"}),
            &[r#"spec.type: Unsupported value: "X": supported values: "Exempt", "Limited""#],
        );
        check(
            "l",
            json!({"type": "Limited"}),
            &["spec.limited: Required value: must not be empty when type is Limited"],
        );
        check(
            "l",
            json!({"type": "Limited", "limited": reject, "exempt": {}}),
            &["spec.exempt: Forbidden: must be nil if the type is Limited"],
        );
        check(
            "l",
            json!({"type": "Exempt"}),
            &["spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'"],
        );
        check(
            "exempt",
            json!({"type": "Exempt", "limited": reject}),
            &[
                "spec.limited: Forbidden: must be nil if the type is not Limited",
                concat!(
                    r#"spec: Invalid value: {"Type":"Exempt","Limited":{"NominalConcurrencyShares":30,"#,
                    r#""LimitResponse":{"Type":"Reject","Queuing":null},"LendablePercent":0,"BorrowingLimitPercent":null},"#,
                    r#""Exempt":null}: spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"#,
                ),
            ],
        );
    }

    #[test]
    fn mandatory_ones_stay_as_they_are() {
        check("exempt", json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 10}}), &[]);
        check(
            "exempt",
            json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": -1, "lendablePercent": 101}}),
            &[
                "spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            ],
        );
        let limited =
            |shares: i64| json!({"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}});
        check("catch-all", json!({"type": "Limited", "limited": limited(5)}), &[]);
        let other = object(json!({
            "metadata": {"name": "catch-all"}, "spec": {"type": "Limited", "limited": limited(6)},
        }));
        let errors = texts(Levels.check(&other));
        assert!(errors[0].ends_with("spec of 'catch-all' must equal the fixed value"), "{errors:?}");
    }

    #[test]
    fn checks_limits_and_queues() {
        let check = |limited: Value, expected: &[&str]| {
            check("l", json!({"type": "Limited", "limited": limited}), expected);
        };
        let queue = |queuing: Value| json!({"limitResponse": {"type": "Queue", "queuing": queuing}});
        check(queue(json!({})), &[]);
        check(queue(json!({"queues": 10_000_000, "handSize": 2})), &[]);
        check(
            queue(json!({"queues": 2, "handSize": 3})),
            &[
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)",
            ],
        );
        check(
            queue(json!({"queues": 512, "handSize": 8})),
            &[
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60",
            ],
        );
        check(
            queue(json!({"queues": 10_000_001, "handSize": -1, "queueLengthLimit": -1})),
            &[
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
                "spec.limited.limitResponse.queuing.queues: Invalid value: 10000001: must not be greater than 10000000",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: -1: must be positive",
            ],
        );
        check(
            json!({"limitResponse": {"type": "Reject", "queuing": {}}, "lendablePercent": 101, "borrowingLimitPercent": -1, "nominalConcurrencyShares": -1}),
            &[
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
            ],
        );
        check(
            json!({"limitResponse": {"type": "Queue"}}),
            &[
                "spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is Limited",
            ],
        );
    }

    #[test]
    fn fills_defaults() {
        let mut level = object(json!({"spec": {"limited": {"limitResponse": {"queuing": {"queues": 9}}}}}));
        Levels.default(&mut level);
        assert_eq!(
            level.get(&["spec", "limited"]),
            Some(&json!({
                "nominalConcurrencyShares": 30, "lendablePercent": 0,
                "limitResponse": {"queuing": {"queues": 9, "handSize": 8, "queueLengthLimit": 50}},
            }))
        );
    }
}
