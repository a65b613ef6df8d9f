//! What bodies say in vain: what becomes of unknown and repeated fields.

use serde_json::{Map, Value};
use skiff_machinery::Object;

use super::call::Call;
use super::yaml;
use crate::errors::ApiError;
use crate::query::FieldValidation;

/// What precedes that YAML has a key twice; warnings go without.
pub(super) const YAML_PROBLEMS: &str = "yaml: unmarshal errors:\n  ";

/// Tells of the fields of a custom object of a version that there is not: no schema knows them.
pub(super) fn report_foreign(call: &Call, json: &[u8], kind: &str) -> Result<(), ApiError> {
    let tree: Value = serde_json::from_slice(json).unwrap_or_default();
    let version = tree["apiVersion"].as_str().unwrap_or_default();
    if call.catalogue.iter().any(|kind| kind.gv.to_string() == version) {
        return Ok(());
    }
    let known = |name: &&String| matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
    let fields = tree.as_object().into_iter().flat_map(Map::keys).filter(|name| !known(name));
    let problems = fields.map(|name| format!("unknown field {name:?}")).collect();
    let number = version.rsplit('/').next().unwrap_or_default();
    report(call, problems, |problems| {
        ApiError::BadRequest(format!(
            "{kind} in version {number:?} cannot be handled as a {kind}: strict decoding error: {problems}"
        ))
    })
}

/// Tells of the fields of an object that is read without its version.
pub(crate) fn report_unknown(call: &Call, object: &Object) -> Result<(), ApiError> {
    let fields = object.as_map().keys().filter(|name| !matches!(name.as_str(), "apiVersion" | "kind"));
    let problems = fields.map(|name| format!("unknown field {name:?}")).collect();
    report(call, problems, |problems| ApiError::BadRequest(format!("strict decoding error: {problems}")))
}

/// Does with unknown and duplicate fields what the request wants.
pub(super) fn report(
    call: &Call,
    problems: Vec<String>,
    refuse: impl Fn(&str) -> ApiError,
) -> Result<(), ApiError> {
    match call.query.field_validation() {
        FieldValidation::Strict if !problems.is_empty() => Err(refuse(&problems.join(", "))),
        FieldValidation::Warn => {
            let told = |problem: &String| {
                let told = problem.rsplit(YAML_PROBLEMS).next().unwrap_or_default().to_owned();
                // Each line of these is a problem of its own.
                let is_yaml = problem.contains(YAML_PROBLEMS);
                told.split(if is_yaml { yaml::NEXT } else { "\0" }).map(str::to_owned).collect::<Vec<_>>()
            };
            problems.iter().flat_map(told).for_each(|problem| call.warn(problem));
            Ok(())
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(()),
    }
}
