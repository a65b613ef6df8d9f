//! What volumes and claims of them have in common.

use serde_json::Value;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::{FieldError, FieldErrors, Object};

use crate::shared::check::one_of_optional;

/// The annotation that named the class before there was a field for it.
pub(super) const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The modes in the order in which they are told, and how they are told.
const MODES: &[(&str, &str)] = &[
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];

/// How a volume may be mounted, in short, e.g. `RWO,ROX`.
pub(super) fn modes(of: &[&str]) -> String {
    let told = MODES.iter().filter(|(mode, _)| of.contains(mode)).map(|(_, short)| *short);
    told.collect::<Vec<_>>().join(",")
}

/// The phase, as long as the object is not about to go.
pub(super) fn phase(object: &Object) -> &str {
    if object.is_terminating() { "Terminating" } else { object.str(&["status", "phase"]) }
}

/// The name of the class; an annotation goes before the field.
pub(super) fn class(object: &Object) -> &str {
    object.annotations().get(CLASS).copied().unwrap_or_else(|| object.str(&["spec", "storageClassName"]))
}

/// An amount, zero when it is not given.
pub(super) fn amount(object: &Object, path: &[&str]) -> String {
    match object.str(path) {
        "" => "0".to_owned(),
        amount => amount.to_owned(),
    }
}

/// A text, or that it is not set.
pub(super) fn or_unset<'a>(object: &'a Object, path: &[&str]) -> &'a str {
    object.get(path).and_then(|value| value.as_str()).unwrap_or("<unset>")
}

const ALL_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Checks how a volume may be mounted, or is to be, at `path`.
pub(super) fn check_modes(path: &str, modes: &[&str]) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for mode in modes {
        errors.extend(one_of_optional(path, Some(mode), &ALL_MODES));
    }
    let known = || modes.iter().filter(|mode| ALL_MODES.contains(mode));
    if known().any(|mode| *mode == "ReadWriteOncePod") && known().any(|mode| *mode != "ReadWriteOncePod") {
        errors.push(FieldError::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
    errors
}

/// Checks whether a volume is one of the two kinds that there are.
pub(super) fn check_kind(path: &str, kind: &Value) -> FieldErrors {
    one_of_optional(path, kind.as_str(), &["Block", "Filesystem"])
}

/// An amount that was read before, when the object was.
pub(super) fn parsed(amount: &Value) -> Option<Quantity> {
    match amount {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// An amount of storage has to be more than nothing.
pub(super) fn positive(path: &str, amount: Quantity) -> FieldErrors {
    if amount.nanos() > 0 {
        return FieldErrors::new();
    }
    [FieldError::invalid(path, amount.to_string(), "must be greater than zero")].into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shared::testing::{object, texts};

    #[test]
    fn modes_are_told_in_short_and_in_one_order() {
        let check = |of: &[&str], expected: &str| assert_eq!(modes(of), expected);
        check(&["ReadWriteMany", "ReadWriteOnce"], "RWO,RWX");
        check(&["ReadWriteOncePod"], "RWOP");
        check(&[], "");
        let errors = check_modes("m", &["ReadWriteOncePod", "ReadOnlyMany", "Odd"]);
        assert_eq!(
            texts(errors),
            [
                concat!(
                    r#"m: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", "#,
                    r#""ReadWriteOnce", "ReadWriteOncePod""#,
                ),
                "m: Forbidden: may not use ReadWriteOncePod with other access modes",
            ]
        );
    }

    #[test]
    fn the_class_of_old_goes_before_the_field() {
        let volume = |annotations: Value| {
            object(json!({"metadata": {"annotations": annotations}, "spec": {"storageClassName": "new"}}))
        };
        assert_eq!(class(&volume(json!({}))), "new");
        assert_eq!(class(&volume(json!({CLASS: "old"}))), "old");
    }
}
