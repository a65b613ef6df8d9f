//! Checks of fields that several kinds have.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::de::DeserializeOwned;
use serde_json::Value;

use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrorKind, FieldErrors, Object};

/// Decodes an object for validation; an object that does not fit its type is one error.
pub(crate) fn typed<T: DeserializeOwned>(object: &Object) -> Result<T, FieldErrors> {
    object.decode().map_err(|error| {
        [FieldError::new(FieldErrorKind::TypeInvalid, "", Value::Null, error.to_string())].into()
    })
}

/// A port number.
pub(crate) fn port(field: &str, number: i64) -> FieldErrors {
    if (1..=65535).contains(&number) {
        return FieldErrors::new();
    }
    [FieldError::invalid(field, number, "must be between 1 and 65535, inclusive")].into()
}

/// A port number or the name of a container port.
pub(crate) fn port_or_name(field: &str, value: &IntOrString) -> FieldErrors {
    match value {
        IntOrString::Int(number) => port(field, i64::from(*number)),
        IntOrString::String(name) => Form::PortName.check(field, name),
    }
}

/// One of a set of words; empty means that it is missing.
pub(crate) fn one_of(field: &str, value: Option<&str>, supported: &[&str]) -> FieldErrors {
    match value {
        None | Some("") => [FieldError::required(field, "")].into(),
        some => one_of_optional(field, some, supported),
    }
}

/// One of a set of words, or absent.
pub(crate) fn one_of_optional(field: &str, value: Option<&str>, supported: &[&str]) -> FieldErrors {
    match value {
        Some(value) if !supported.contains(&value) => {
            [FieldError::not_supported(field, value, supported)].into()
        }
        _ => FieldErrors::new(),
    }
}

/// A number that may not be negative.
pub(crate) fn not_negative(field: &str, number: i64) -> FieldErrors {
    if number >= 0 {
        return FieldErrors::new();
    }
    [FieldError::invalid(field, number, "must be greater than or equal to 0")].into()
}

/// Numbers of a part of an object, none of which may be negative; some may be absent.
pub(crate) fn none_negative(object: &Object, below: &str, fields: &[&str]) -> FieldErrors {
    let there = fields.iter().filter_map(|field| Some((field, object.int(&[below, field])?)));
    there.flat_map(|(field, number)| not_negative(&format!("{below}.{field}"), number)).collect()
}

/// Keys and values of labels.
pub(crate) fn labels<'a>(field: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for (key, value) in labels {
        errors.extend(Form::QualifiedName.check(field, key));
        errors.extend(Form::LabelValue.check(field, value));
    }
    errors
}

/// Keys of annotations, and how much they hold in all.
pub(crate) fn annotations<'a>(
    field: &str,
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> FieldErrors {
    const MOST: usize = 256 * 1024;
    let (mut errors, mut size) = (FieldErrors::new(), 0);
    for (key, value) in annotations {
        // Their form is that of labels in lower case; what is shown is what was sent.
        let wrong = Form::QualifiedName.check(field, &key.to_lowercase());
        errors.extend(wrong.into_iter().map(|error| FieldError { value: key.into(), ..error }));
        size += key.len() + value.len();
    }
    if size > MOST {
        errors.push(FieldError::too_long(field, MOST));
    }
    errors
}

/// An owned map as pairs of texts.
pub(crate) fn pairs(map: Option<&BTreeMap<String, String>>) -> impl Iterator<Item = (&str, &str)> {
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()))
}

/// A value that may not change.
pub(crate) fn immutable(field: &str, new: Option<&Value>, old: Option<&Value>) -> FieldErrors {
    if new == old {
        return FieldErrors::new();
    }
    [FieldError::invalid(field, new.cloned().unwrap_or_default(), "field is immutable")].into()
}

/// The name of an object whose length is counted in bytes, as Kubernetes says where a kind declares its checks.
pub(crate) fn long_name(field: &str, name: &str) -> FieldErrors {
    let problems = Form::Subdomain.check(field, name).into_iter();
    let in_bytes = |detail: String| match detail.starts_with("must be no more than ") {
        true => detail.replace(" characters", " bytes"),
        false => detail,
    };
    problems.map(|error| FieldError { detail: in_bytes(error.detail), ..error }).collect()
}

/// A domain of at least two labels, perhaps with the dot of the root.
pub(crate) fn domain_name(field: &str, name: &str) -> FieldErrors {
    if name.is_empty() {
        return [FieldError::required(field, "")].into();
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let problems = Form::Subdomain.problems(name);
    if !problems.is_empty() {
        return [FieldError::invalid(field, name, problems.join(","))].into();
    }
    if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        return [FieldError::invalid(field, name, detail)].into();
    }
    let wrong = name.split('.').map(|label| (label, Form::DnsLabel.problems(label)));
    let wrong = wrong.into_iter().find(|(_, problems)| !problems.is_empty());
    wrong.map(|(label, problems)| FieldError::invalid(field, label, problems.join(","))).into_iter().collect()
}

/// The name of a driver of volumes, in a field.
pub(crate) fn driver_name(field: &str, name: &str) -> FieldErrors {
    if name.is_empty() {
        return [FieldError::required(field, "")].into();
    }
    let mut errors = FieldErrors::new();
    if name.len() > 63 {
        errors.push(FieldError::too_long(field, 63));
    }
    let problems = Form::Subdomain.problems(&name.to_lowercase());
    errors.extend(problems.into_iter().map(|problem| FieldError::invalid(field, name, problem)));
    errors
}

/// A path that stays below where it starts.
pub(crate) fn inside(field: &str, path: &str) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if path.starts_with('/') {
        errors.push(FieldError::invalid(field, path, "must be a relative path"));
    }
    if path.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field, path, "must not contain '..'"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_have_two_labels() {
        let check = |name: &str, expected: Option<&str>| {
            let errors = domain_name("d", name);
            let told: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
            assert_eq!(told.first().map(|told| &told[..12]), expected, "{name}");
        };
        check("a.example", None);
        check("a.example.", None);
        check("a", Some("should be a "));
        check("A.example", Some("a lowercase "));
        check(&format!("{}.b", "a".repeat(64)), Some("must be no m"));
    }

    #[test]
    fn drivers_have_names_of_domains_in_any_case() {
        let check = |name: &str, count: usize| assert_eq!(driver_name("d", name).len(), count, "{name}");
        check("csi.Example.com", 0);
        check("", 1);
        check("a_b", 1);
        check(&"a".repeat(64), 1);
        let errors = driver_name("d", &"a".repeat(64));
        assert_eq!(errors[0].to_string(), "d: Too long: may not be more than 63 bytes");
    }
}
