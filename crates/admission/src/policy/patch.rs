//! Mutations: what expressions of a policy make of an object.

use serde_json::{Map, Value as Json};
use skiff_cel::{EvalError, Value, limits};
use skiff_machinery::{Object, managed, patch};

use crate::attributes::GroupVersionKind;
use crate::expressions::{
    Environments, Expression, Inputs, OutOfBudget, Returns, Scope, Variable, with_inputs,
};
use crate::refusal::Refusal;
use crate::surroundings::{Kinds, Unknown, text};

/// One of a policy's mutations.
#[derive(Debug)]
pub(super) enum Mutation {
    /// `[JSONPatch{…}]`
    Patch(Expression),
    /// `Object{…}`, laid over the object.
    Configuration(Expression),
}

/// Why there is no changed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The failure policy decides.
    Policy(String),
    /// The request is refused, whatever the failure policy.
    Refused(Refusal),
}

impl Mutation {
    pub(super) fn compile(mutation: &Json, environments: &Environments) -> Option<Self> {
        let compile = |field: &str, returns| {
            let expression = text(mutation.get(field)?, "expression");
            Some(environments.compile(expression, Scope::Patches, returns))
        };
        match text(mutation, "patchType") {
            "JSONPatch" => compile("jsonPatch", Returns::Patches).map(Self::Patch),
            "ApplyConfiguration" => {
                compile("applyConfiguration", Returns::Configuration).map(Self::Configuration)
            }
            _ => None,
        }
    }

    /// The changed object, before defaults. There must be an object.
    pub(super) fn run(
        &self,
        inputs: &Inputs<'_>,
        variables: &[Variable],
        kind: &GroupVersionKind,
        kinds: &dyn Kinds,
    ) -> Result<Object, Failed> {
        let none = Object::default();
        let object = inputs.object.unwrap_or(&none);
        match self {
            Self::Patch(expression) => {
                let operations = evaluate(expression, inputs, variables, operations)?;
                apply_patch(object, operations, kind, kinds)
            }
            Self::Configuration(expression) => {
                let config = evaluate(expression, inputs, variables, configuration)?;
                apply_configuration(object, config, kind, kinds)
            }
        }
    }
}

fn evaluate<T>(
    expression: &Expression,
    inputs: &Inputs<'_>,
    variables: &[Variable],
    read: impl FnOnce(&Value<'_>) -> Result<T, String>,
) -> Result<T, Failed> {
    if let Err(issue) = &expression.program {
        return Err(Failed::Policy(issue.to_string()));
    }
    let value = with_inputs(inputs, variables, limits::RUNTIME_BUDGET, |evaluator| {
        Ok::<_, OutOfBudget>(evaluator.evaluate(expression)?.and_then(|value| read(&value)))
    });
    match value {
        Ok(value) => value.map_err(Failed::Policy),
        Err(OutOfBudget) => Err(Failed::Policy(OutOfBudget::TEXT.to_owned())),
    }
}

/// Objects that expressions make have types that are named like the path of fields to them.
fn check_names(value: &Value<'_>, path: &mut Vec<String>, errors: &mut Vec<String>) {
    match value {
        Value::Object(made) => {
            let expected = path.join(".");
            if *made.name != *expected {
                errors.push(format!(
                    "unexpected type name {:?}, expected {expected:?}, which matches field name path from root Object type",
                    made.name
                ));
            }
            for (field, value) in &made.fields {
                path.push(field.clone());
                check_names(value, path, errors);
                path.pop();
            }
        }
        Value::List(list) => {
            list.iter().flatten().for_each(|item| check_names(&item, path, errors));
        }
        Value::Map(map) => {
            let values = map.keys().into_iter().filter_map(|key| map.get(&key)?.ok());
            values.for_each(|value| check_names(&value, path, errors));
        }
        _ => {}
    }
}

fn check_object(value: &Value<'_>) -> Result<(), String> {
    let Value::Object(made) = value else { return Ok(()) };
    let mut errors = Vec::new();
    check_names(value, &mut vec![made.name.to_string()], &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(format!("type mismatch: {}", errors.join("\n"))) }
}

fn configuration(value: &Value<'_>) -> Result<Map<String, Json>, String> {
    check_object(value)?;
    match value.to_json() {
        Ok(Json::Object(config)) => Ok(config),
        Ok(_) => Err("unsupported return type from ApplyConfiguration expression".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn operations(value: &Value<'_>) -> Result<Vec<Json>, String> {
    let Value::List(list) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    let operation = |item: Result<Value<'_>, EvalError>| operation(&item.map_err(|error| error.to_string())?);
    list.iter().map(operation).collect()
}

fn operation(value: &Value<'_>) -> Result<Json, String> {
    let Value::Object(made) = value else {
        return Err(
            "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_owned()
        );
    };
    let mut operation = Map::new();
    for (field, value) in &made.fields {
        if field == "value" {
            check_object(value)?;
        }
        let json = value.to_json().map_err(|error| {
            format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}")
        })?;
        if !(field == "from" && json == "") {
            operation.insert(field.clone(), json);
        }
    }
    Ok(Json::Object(operation))
}

/// A patch whose test fails changes nothing.
fn apply_patch(
    object: &Object,
    operations: Vec<Json>,
    kind: &GroupVersionKind,
    kinds: &dyn Kinds,
) -> Result<Object, Failed> {
    let text = Json::Array(operations).to_string();
    match patch::json(object, text.as_bytes()) {
        Ok(patched) => {
            let decoded = kinds.decode(kind, patched, Unknown::Refused);
            decoded.map_err(|why| Failed::Refused(Refusal::internal(why)))
        }
        Err(error) if error.to_string().ends_with(": test failed") => Ok(object.clone()),
        Err(error) => Err(Failed::Policy(format!("JSON Patch: {error}"))),
    }
}

fn apply_configuration(
    object: &Object,
    config: Map<String, Json>,
    kind: &GroupVersionKind,
    kinds: &dyn Kinds,
) -> Result<Object, Failed> {
    let Some(root) = kinds.root(kind) else {
        return Err(Failed::Refused(Refusal::unavailable(format!(
            "Resource kind {kind} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available."
        ))));
    };
    let mut config = Object::from(config);
    config.set(&["apiVersion"], kind.api_version());
    config.set(&["kind"], kind.kind.as_str());
    let tree = Json::Object(config.as_map().clone());
    let refuse = |why: String| Err(Failed::Policy(format!("error applying patch: {why}")));
    if let Some(why) = managed::refuse_configuration(&root, &tree) {
        return refuse(format!("failed to convert patch object to typed object: {why}"));
    }
    let atomics = managed::atomics(&root, &tree);
    if !atomics.is_empty() {
        let why = format!("may not mutate atomic arrays, maps or structs: {}", atomics.join(", "));
        return refuse(format!("invalid ApplyConfiguration: {why}"));
    }
    Ok(managed::overlay(object, &config, &root))
}
