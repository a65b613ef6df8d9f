//! Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use std::sync::Arc;

use skiff_schema::Schema;

use super::data::{MOST_BYTES, decoded_len, entries, validate_keys, validate_sealed};
use crate::groups::CORE;
use crate::row::stored;
use crate::shared::defaults::{fill_text, object_mut};
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Selectable, Strategy, go,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Type", "What the secret is for; decides which keys it must have."),
            text("Data", "Number of keys."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        selectable: vec![Selectable::fixed("type", |object| object.str(&["type"]).to_owned())].into(),
        ..stored(schema, CORE, "io.k8s.api.core.v1.Secret", Scope::Namespaced, SecretStrategy)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let keys = entries(object, "data").count();
    cells::row([object.name().into(), object.str(&["type"]).into(), keys.into(), age(object, now)])
}

/// What is special about Secrets.
struct SecretStrategy;

impl Strategy for SecretStrategy {
    fn is_confidential(&self) -> bool {
        true
    }

    /// Folds `stringData`, which is for writing only, into `data`.
    fn default(&self, object: &mut Object) {
        fill_text(object.as_map_mut(), "type", "Opaque");
        let Some(Value::Object(texts)) = object.remove(&["stringData"]) else { return };
        let data = object_mut(object.as_map_mut(), "data");
        for (key, text) in texts {
            let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_keys(object, "data");
        errors.extend(validate_encoding(object));
        let lengths = entries(object, "data").filter_map(|(_, value)| value.as_str()).map(decoded_len);
        if lengths.sum::<usize>() > MOST_BYTES {
            errors.push(FieldError::too_long("data", MOST_BYTES));
        }
        errors.extend(validate_type(object));
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = crate::shared::check::immutable("type", new.get(&["type"]), old.get(&["type"]));
        errors.extend(validate_sealed(new, old, &["data"]));
        errors.extend(self.validate(cx, new));
        errors
    }
}

fn validate_encoding(object: &Object) -> FieldErrors {
    let broken = entries(object, "data").filter(|(_, value)| {
        let text = value.as_str().unwrap_or_default();
        STANDARD.decode(text).is_err()
    });
    let error = |key| FieldError::invalid(format!("data[{key}]"), REDACTED, "illegal base64 data");
    broken.map(|(key, _)| error(key)).collect()
}

const REDACTED: &str = "<secret contents redacted>";
const SERVICE_ACCOUNT: &str = "kubernetes.io/service-account.name";

/// The keys that a type demands.
fn validate_type(object: &Object) -> FieldErrors {
    let has = |key: &str| object.get(&["data", key]).is_some_and(|value| !value.is_null());
    let missing = |keys: &[&str]| -> FieldErrors {
        let missing = keys.iter().filter(|key| !has(key));
        missing.map(|key| FieldError::required(format!("data[{key}]"), "")).collect()
    };
    match object.str(&["type"]) {
        "kubernetes.io/service-account-token" => {
            let annotations = object.annotations();
            let account = annotations.get(SERVICE_ACCOUNT).copied().unwrap_or("");
            let path = format!("metadata.annotations[{SERVICE_ACCOUNT}]");
            if account.is_empty() { [FieldError::required(path, "")].into() } else { FieldErrors::new() }
        }
        "kubernetes.io/dockercfg" => json_key(object, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_key(object, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            missing(&["username", "password"])
        }
        "kubernetes.io/ssh-auth" => missing(&["ssh-privatekey"]),
        "kubernetes.io/tls" => missing(&["tls.crt", "tls.key"]),
        _ => FieldErrors::new(),
    }
}

/// A key that must hold JSON.
fn json_key(object: &Object, key: &str) -> FieldErrors {
    let path = format!("data[{key}]");
    let Some(text) = object.get(&["data", key]).and_then(Value::as_str) else {
        return [FieldError::required(path, "")].into();
    };
    let decoded = STANDARD.decode(text).unwrap_or_default();
    let why = match serde_json::from_slice::<Value>(&decoded) {
        Ok(Value::Object(_) | Value::Null) => return FieldErrors::new(),
        Ok(other) => {
            let found = go::json_type(&other);
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
        }
        Err(error) => go::syntax_error(&decoded).unwrap_or_else(|| error.to_string()),
    };
    [FieldError::invalid(path, REDACTED, why)].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};
    use serde_json::json;

    #[test]
    fn texts_become_data() {
        let mut secret = object(json!({"data": {"a": "eA==", "b": "eA=="}, "stringData": {"a": "y"}}));
        SecretStrategy.default(&mut secret);
        let expected = json!({"type": "Opaque", "data": {"a": "eQ==", "b": "eA=="}});
        assert_eq!(secret.into_value(), expected);
    }

    #[test]
    fn types_demand_keys() {
        let check = |value: Value, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| SecretStrategy.validate(cx, &object(value)))), expected);
        };
        check(json!({"type": "Opaque", "data": {"a": "eA=="}}), &[]);
        check(
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
            &["data[tls.key]: Required value"],
        );
        check(json!({"type": "kubernetes.io/basic-auth", "data": {"username": "eA=="}}), &[]);
        check(
            json!({"type": "kubernetes.io/basic-auth"}),
            &["data[username]: Required value", "data[password]: Required value"],
        );
        check(
            json!({"type": "kubernetes.io/service-account-token"}),
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        );
        check(json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}), &[]);
    }

    #[test]
    fn the_type_stays() {
        let (new, old) = (object(json!({"type": "a"})), object(json!({"type": "b"})));
        let errors = with_context(|cx| SecretStrategy.validate_update(cx, &new, &old));
        assert_eq!(texts(errors), [r#"type: Invalid value: "a": field is immutable"#]);
    }
}
