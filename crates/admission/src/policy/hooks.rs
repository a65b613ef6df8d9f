//! Policies with their bindings, and what of them concerns a request.

use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;
use skiff_machinery::Object;

use super::bindings::Binding;
use super::matching::Matching;
use super::params::{Params, collect, configuration_error};
use crate::attributes::{Attributes, GroupVersionKind};
use crate::expressions::{Conditions, Environments, FailurePolicy, Variable};
use crate::rules::Matched;
use crate::surroundings::{Surroundings, items, text};

/// What validating and mutating policies have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) name: String,
    pub(super) failure_policy: FailurePolicy,
    pub(super) param_kind: Option<GroupVersionKind>,
    matching: Option<Matching>,
    pub(super) conditions: Conditions,
    pub(super) variables: Vec<Variable>,
}

impl Common {
    /// Compiles a policy's `spec`; gives the environments for what is left of it.
    pub(super) fn compile(object: &Object) -> (Self, Environments) {
        let none = Value::Null;
        let spec = object.get(&["spec"]).unwrap_or(&none);
        let part = |field: &str| spec.get(field).filter(|part| !part.is_null());
        let param_kind = part("paramKind")
            .map(|kind| GroupVersionKind::parse(text(kind, "apiVersion"), text(kind, "kind")));
        let mut environments = Environments::new(param_kind.is_some(), true);
        let variables = compile_variables(spec, &mut environments);
        let failure_policy = FailurePolicy::of(spec);
        let common = Self {
            name: object.name().to_owned(),
            failure_policy,
            param_kind,
            matching: part("matchConstraints").map(Matching::compile),
            conditions: Conditions::compile(spec, failure_policy, &environments),
            variables,
        };
        (common, environments)
    }

    /// As what the request matches; `None` when it does not.
    async fn find(
        &self,
        attributes: &Attributes,
        surroundings: &Surroundings,
    ) -> Result<Option<Matched>, String> {
        match &self.matching {
            Some(matching) => matching.find(attributes, surroundings).await,
            None => Err("policy contained no match constraints, a required field".to_owned()),
        }
    }
}

/// Each may use those before it.
pub(super) fn compile_variables(spec: &Value, environments: &mut Environments) -> Vec<Variable> {
    let compile = |variable: &Value| {
        let name = text(variable, "name");
        let expression = environments.compile_variable(name, text(variable, "expression"));
        Variable { name: name.to_owned(), expression }
    };
    items(spec, "variables").iter().map(compile).collect()
}

/// A policy of either kind.
pub(super) trait Policy: Send + Sync {
    fn common(&self) -> &Common;
}

/// A policy and those who bind it.
#[derive(Debug)]
pub(super) struct Hook<P> {
    pub(super) policy: Arc<P>,
    pub(super) bindings: Vec<Arc<Binding>>,
}

/// The policies of now that are bound. Requests that have begun go on with those that they found.
#[derive(Debug)]
pub(super) struct Current<P>(RwLock<Arc<Vec<Hook<P>>>>);

impl<P> Default for Current<P> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<P: Policy> Current<P> {
    /// Puts others in their place. They are asked in the order of their names.
    pub(super) fn set(&self, mut policies: Vec<Arc<P>>, mut bindings: Vec<Arc<Binding>>) {
        skiff_ordered::sort_by(&mut policies, |one, another| one.common().name.cmp(&another.common().name));
        skiff_ordered::sort_by(&mut bindings, |one, another| one.name.cmp(&another.name));
        let of = |policy: &Arc<P>| {
            let own = bindings.iter().filter(|binding| binding.policy == policy.common().name);
            Hook { policy: policy.clone(), bindings: own.cloned().collect() }
        };
        let hooks = policies.iter().map(of).filter(|hook: &Hook<P>| !hook.bindings.is_empty()).collect();
        *self.0.write() = Arc::new(hooks);
    }

    pub(super) fn get(&self) -> Arc<Vec<Hook<P>>> {
        self.0.read().clone()
    }
}

/// A binding that concerns a request, with its parameters.
pub(super) struct Bound<'a> {
    pub(super) binding: &'a Binding,
    pub(super) matched: Matched,
    pub(super) params: Vec<Option<Arc<Object>>>,
}

/// A policy or one of its bindings cannot be used for a request that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misconfigured<'a> {
    /// `None` when the policy is at fault.
    pub(super) binding: Option<&'a str>,
    pub(super) message: String,
}

impl<P: Policy> Hook<P> {
    /// The bindings that concern the request.
    pub(super) async fn bound<'a>(
        &'a self,
        attributes: &Attributes,
        surroundings: &Surroundings,
        params: &dyn Params,
    ) -> Vec<Result<Bound<'a>, Misconfigured<'a>>> {
        let common = self.policy.common();
        let of_policy = |why: String| {
            let message = format!("failed to configure policy: {why}");
            vec![Err(Misconfigured { binding: None, message })]
        };
        let matched = match common.find(attributes, surroundings).await {
            Ok(Some(matched)) => matched,
            Ok(None) => return Vec::new(),
            Err(why) => return of_policy(why),
        };
        if let Some(kind) = &common.param_kind
            && params.scope(kind).is_none()
        {
            return of_policy(configuration_error(kind));
        }
        let mut bound = Vec::new();
        for binding in &self.bindings {
            let found = self.one(binding, &matched, attributes, surroundings, params).await;
            let failed = |why: String| Misconfigured {
                binding: Some(&binding.name),
                message: format!("failed to configure binding: {why}"),
            };
            bound.extend(found.map_err(failed).transpose());
        }
        bound
    }

    async fn one<'a>(
        &'a self,
        binding: &'a Binding,
        matched: &Matched,
        attributes: &Attributes,
        surroundings: &Surroundings,
        params: &dyn Params,
    ) -> Result<Option<Bound<'a>>, String> {
        if let Some(matching) = &binding.matching
            && matching.find(attributes, surroundings).await?.is_none()
        {
            return Ok(None);
        }
        let kind = self.policy.common().param_kind.as_ref();
        let params = collect(kind, binding.params.as_ref(), &attributes.namespace, params).await?;
        Ok(Some(Bound { binding, matched: matched.clone(), params }))
    }
}

/// Whether policies are asked about such requests: not about their own kinds, and not about reviews, without which nothing works.
pub(super) fn concerns(attributes: &Attributes) -> bool {
    const EXCLUDED: &[(&str, &[&str])] = &[
        (
            "admissionregistration.k8s.io",
            &[
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
            ],
        ),
        ("authentication.k8s.io", &["selfsubjectreviews", "tokenreviews"]),
        (
            "authorization.k8s.io",
            &[
                "localsubjectaccessreviews",
                "selfsubjectaccessreviews",
                "selfsubjectrulesreviews",
                "subjectaccessreviews",
            ],
        ),
    ];
    let resource = &attributes.resource;
    !EXCLUDED
        .iter()
        .any(|(group, resources)| *group == resource.group && resources.contains(&resource.resource.as_str()))
}
