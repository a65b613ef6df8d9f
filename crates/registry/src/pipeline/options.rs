//! DeleteOptions: one way to read them, for deletions, deletions of collections and evictions.

use bytes::Bytes;
use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors, Object};

use super::call::Call;
use super::decode;
use crate::errors::{ApiError, Subject};
use crate::query;

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// How something is to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    /// Seconds.
    pub(crate) grace_period: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    /// Whether dependents shall go along by the field from before propagation policies: what cannot go at once is answered
    /// 202 then.
    pub(crate) cascades: bool,
    /// Nothing is to be written.
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// From a request: its body, or without one its query. As in Kubernetes the query means nothing beside a body.
    pub(crate) fn read(call: &Call, body: &Bytes) -> Result<Self, ApiError> {
        if !body.is_empty() {
            let options = decode::delete_options(call, &call.content_type, body)?;
            call.record.body(|| options.clone().into_value());
            return Self::of(&options, false);
        }
        let mut options = Object::default();
        if let Some(seconds) = call.query.number("gracePeriodSeconds")? {
            options.set(&["gracePeriodSeconds"], seconds);
        }
        if let Some(policy) = call.query.all("propagationPolicy").next() {
            options.set(&["propagationPolicy"], policy);
        }
        if call.query.all("orphanDependents").next().is_some() {
            options.set(&["orphanDependents"], call.query.flag("orphanDependents"));
        }
        for precondition in ["uid", "resourceVersion"] {
            if let Some(value) = call.query.all(precondition).next().filter(|value| !value.is_empty()) {
                options.set(&["preconditions", precondition], value);
            }
        }
        let dry_run: Vec<&str> = call.query.all("dryRun").collect();
        if !dry_run.is_empty() {
            options.set(&["dryRun"], dry_run);
        }
        Self::of(&options, false)
    }

    /// Options as an object of their kind, in a request that is a dry run by its query or not.
    pub(crate) fn of(options: &Object, dry_run: bool) -> Result<Self, ApiError> {
        let errors = what_is_wrong(options);
        if !errors.is_empty() {
            return Err(ApiError::invalid(query::options_subject("DeleteOptions"), errors));
        }
        let text = |path: &[&str]| options.get(path).and_then(Value::as_str).map(str::to_owned);
        let orphan = options.get(&["orphanDependents"]).and_then(Value::as_bool);
        let cascades = orphan == Some(false);
        let orphan = orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background });
        let grace = options.get(&["gracePeriodSeconds"]).and_then(Value::as_i64);
        Ok(Self {
            grace_period: grace.map(|seconds| if seconds < 0 { 1 } else { seconds }),
            propagation: propagation(options.str(&["propagationPolicy"])).or(orphan),
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            cascades,
            dry_run: dry_run || !dry_runs(options).is_empty(),
        })
    }
}

impl DeleteOptions {
    /// As the kind DeleteOptions.
    pub(crate) fn to_json(&self) -> Value {
        let mut options = Object::default();
        options.set(&["kind"], "DeleteOptions");
        options.set(&["apiVersion"], "meta.k8s.io/v1");
        if let Some(seconds) = self.grace_period {
            options.set(&["gracePeriodSeconds"], seconds);
        }
        for (field, value) in [("uid", &self.uid), ("resourceVersion", &self.resource_version)] {
            if let Some(value) = value {
                options.set(&["preconditions", field], value.as_str());
            }
        }
        match self.propagation {
            Some(Propagation::Orphan) => options.set(&["propagationPolicy"], "Orphan"),
            Some(Propagation::Background) => options.set(&["propagationPolicy"], "Background"),
            Some(Propagation::Foreground) => options.set(&["propagationPolicy"], "Foreground"),
            None => {}
        }
        if self.dry_run {
            options.set(&["dryRun"], vec!["All"]);
        }
        options.into_value()
    }
}

fn dry_runs(options: &Object) -> Vec<&str> {
    let list = options.get(&["dryRun"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn what_is_wrong(options: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Some(policy) = options.get(&["propagationPolicy"]) {
        if options.get(&["orphanDependents"]).is_some() {
            let text = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid("propagationPolicy", policy.clone(), text));
        } else if propagation(policy.as_str().unwrap_or_default()).is_none() {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            errors.push(FieldError::not_supported("propagationPolicy", policy.clone(), &supported));
        }
    }
    errors.extend(query::what_is_wrong_with_dry_run(&dry_runs(options)));
    errors
}

fn propagation(text: &str) -> Option<Propagation> {
    match text {
        "Orphan" => Some(Propagation::Orphan),
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        _ => None,
    }
}

/// The options inside an Eviction.
pub(crate) fn of_eviction(call: &Call, eviction: &Object) -> Result<DeleteOptions, ApiError> {
    let options = eviction.get(&["deleteOptions"]).filter(|options| !options.is_null()).cloned();
    let options = options.map(Object::from_value).transpose();
    let options = options.map_err(|error| ApiError::BadRequest(error.to_string()))?.unwrap_or_default();
    DeleteOptions::of(&options, call.dry_run)
}

/// What errors about a deletion's preconditions name: Kubernetes puts the kind where the resource belongs.
pub(crate) fn precondition_subject(call: &Call, name: &str) -> Subject {
    let kind = &call.kind;
    Subject { group: kind.gv.group.as_ref().into(), ..Subject::core(&kind.names.kind, name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(options: Value) -> Result<DeleteOptions, String> {
        let options = Object::from_value(options).unwrap();
        DeleteOptions::of(&options, false).map_err(|error| error.to_string())
    }

    #[test]
    fn takes_what_makes_sense() {
        let check = |options: Value, expected: DeleteOptions| assert_eq!(read(options), Ok(expected));
        let none = DeleteOptions::default;
        check(json!({}), none());
        check(json!({"dryRun": ["All"]}), DeleteOptions { dry_run: true, ..none() });
        // Without the gate AllowUnsafeMalformedObjectDeletion, which is off, it is dropped before anything looks at it.
        let unsafe_read =
            json!({"ignoreStoreReadErrorWithClusterBreakingPotential": true, "dryRun": ["All"]});
        check(unsafe_read, DeleteOptions { dry_run: true, ..none() });
        check(json!({"gracePeriodSeconds": -3}), DeleteOptions { grace_period: Some(1), ..none() });
        let orphan = Some(Propagation::Orphan);
        check(json!({"orphanDependents": true}), DeleteOptions { propagation: orphan, ..none() });
        check(json!({"propagationPolicy": "Orphan"}), DeleteOptions { propagation: orphan, ..none() });
        check(json!({"preconditions": {"uid": "u"}}), DeleteOptions { uid: Some("u".into()), ..none() });
    }

    #[test]
    fn refuses_the_rest_in_kubernetes_words() {
        let check = |options: Value, why: &str| {
            let expected = format!("DeleteOptions.meta.k8s.io \"\" is invalid: {why}");
            assert_eq!(read(options), Err(expected));
        };
        check(
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set",
        );
        check(
            json!({"propagationPolicy": "Sideways"}),
            "propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
        );
        check(
            json!({"dryRun": ["Some"]}),
            "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
        );
    }
}
