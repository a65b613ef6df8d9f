//! Evaluating expressions for a request, within a budget.

use serde_json::{Map as JsonMap, Value as Json, json};
use skiff_cel::{Activation, Authorization, Authorizer, Map, Value, limits};
use skiff_machinery::Object;
use skiff_ordered::Ordered as _;

use super::compile::Expression;
use super::variables::{Handle, Values, Variable};
use crate::attributes::Attributes;
use crate::rules::Matched;

/// What expressions of one request see.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) attributes: &'a Attributes,
    /// Of the kind that expressions are about.
    pub(crate) object: Option<&'a Object>,
    /// Of the same kind.
    pub(crate) old: Option<&'a Object>,
    /// From [`request_json`].
    pub(crate) request: &'a Json,
    pub(crate) params: Option<&'a Object>,
    pub(crate) namespace: Option<&'a Json>,
    pub(crate) authorizer: Option<&'a (dyn Authorizer + 'a)>,
}

/// The expressions cost more than all together may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfBudget;

impl OutOfBudget {
    /// As messages say it.
    pub(crate) const TEXT: &'static str =
        "validation failed due to running out of cost budget, no further validation rules will be run";
}

/// `request`: the AdmissionRequest without objects; what is empty is not there.
pub(crate) fn request_json(attributes: &Attributes, matched: &Matched) -> Json {
    let mut request = JsonMap::new();
    request.insert("kind".to_owned(), matched.kind.to_json());
    request.insert("resource".to_owned(), matched.resource.to_json());
    request.insert("requestKind".to_owned(), attributes.kind.to_json());
    request.insert("requestResource".to_owned(), attributes.resource.to_json());
    let texts = [
        ("subResource", &attributes.subresource),
        ("requestSubResource", &attributes.subresource),
        ("name", &attributes.name),
        ("namespace", &attributes.namespace),
    ];
    for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        request.insert(field.to_owned(), text.as_str().into());
    }
    request.insert("operation".to_owned(), attributes.operation.as_str().into());
    request.insert("userInfo".to_owned(), attributes.user.to_json());
    request.insert("dryRun".to_owned(), attributes.dry_run.into());
    request.insert("options".to_owned(), attributes.options.clone().unwrap_or_default());
    Json::Object(request)
}

impl Inputs<'_> {
    /// A Namespace as `namespaceObject`: without managed fields, owners and the like.
    pub(crate) fn namespace_json(namespace: &Object) -> Json {
        const METADATA: &[&str] = &[
            "name",
            "generateName",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "labels",
            "annotations",
            "finalizers",
        ];
        let metadata: JsonMap<String, Json> = METADATA
            .iter()
            .filter_map(|field| Some(((*field).to_owned(), namespace.get(&["metadata", field])?.clone())))
            .one_by_one();
        let part = |field: &str| namespace.get(&[field]).cloned().unwrap_or_else(|| json!({}));
        json!({"metadata": metadata, "spec": part("spec"), "status": part("status")})
    }
}

/// Evaluates expressions for one request; variables are computed once for all of them.
pub(crate) struct Evaluator<'a> {
    activation: &'a Activation<'a>,
    values: &'a Values<'a>,
    /// Cost that is left.
    pub(crate) budget: u64,
}

fn read(object: Option<&Object>) -> Value<'_> {
    object.map_or(Value::Null, |object| Value::of_object(object.as_map()))
}

/// Runs `evaluate` with an evaluator of these inputs and variables.
pub(crate) fn with_inputs<T>(
    inputs: &Inputs<'_>,
    variables: &[Variable],
    budget: u64,
    evaluate: impl FnOnce(&mut Evaluator<'_>) -> T,
) -> T {
    let values = Values::new(variables);
    let handle = Handle(&values);
    let mut activation = Activation::new()
        .with("object", read(inputs.object))
        .with("oldObject", read(inputs.old))
        .with("params", read(inputs.params))
        .with("request", Value::of_json(inputs.request))
        .with("namespaceObject", inputs.namespace.map_or(Value::Null, Value::of_json))
        .with("variables", Value::Map(Map::lazy(&handle)));
    if let Some(authorizer) = inputs.authorizer {
        let attributes = inputs.attributes;
        let authorization = Authorization::new(authorizer);
        let resource = authorization.resource(
            &attributes.resource.group,
            &attributes.resource.resource,
            &attributes.subresource,
            &attributes.namespace,
            &attributes.name,
        );
        activation = activation
            .with("authorizer", Value::Authorizer(authorization))
            .with("authorizer.requestResource", resource);
    }
    let activation = values.bind(activation);
    evaluate(&mut Evaluator { activation, values: &values, budget })
}

impl<'a> Evaluator<'a> {
    /// The value, or why there is none. Nothing more is to be evaluated once the budget is used up.
    pub(crate) fn evaluate<'e>(
        &mut self,
        expression: &'e Expression,
    ) -> Result<Result<Value<'e>, String>, OutOfBudget>
    where
        'a: 'e,
    {
        let program = match &expression.program {
            Ok(program) => program,
            Err(issue) => return Ok(Err(format!("compilation error: {issue}"))),
        };
        let evaluation = program.evaluate(self.activation, limits::PER_CALL);
        let cost = evaluation.cost.saturating_add(self.values.take_cost());
        self.budget = self.budget.checked_sub(cost).ok_or(OutOfBudget)?;
        let text = &expression.text;
        Ok(evaluation.result.map_err(|error| format!("expression '{text}' resulted in error: {error}")))
    }
}
