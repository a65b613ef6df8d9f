//! MutatingAdmissionPolicy: policies that change objects.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use skiff_machinery::Object;

use super::bindings::Binding;
use super::hooks::{Bound, Common, Current, Hook, Misconfigured, Policy, concerns};
use super::params::Params;
use super::patch::{Failed, Mutation};
use super::validating::namespace_json;
use crate::attributes::{Attributes, Operation};
use crate::chain::Plugin;
use crate::expressions::{FailurePolicy, Inputs, Match, request_json};
use crate::refusal::{Cause, Refusal};
use crate::surroundings::{Surroundings, items, text};
use crate::webhook::Versioned;

const NAME: &str = "MutatingAdmissionPolicy";

/// A MutatingAdmissionPolicy, ready for requests.
#[derive(Debug)]
pub struct MutatingPolicy {
    pub(super) common: Common,
    mutations: Vec<Mutation>,
    /// Whether it wants to see an object again that others changed after it.
    reinvoked: bool,
}

impl MutatingPolicy {
    /// Compiles a policy as it is stored, with its defaults. What cannot be compiled fails the requests that it matches, as the
    /// failure policy says.
    pub fn compile(object: &Object) -> Self {
        let (common, environments) = Common::compile(object);
        let none = Value::Null;
        let spec = object.get(&["spec"]).unwrap_or(&none);
        let mutations = items(spec, "mutations");
        Self {
            mutations: mutations
                .iter()
                .filter_map(|mutation| Mutation::compile(mutation, &environments))
                .collect(),
            reinvoked: text(spec, "reinvocationPolicy") == "IfNeeded",
            common,
        }
    }
}

impl Policy for MutatingPolicy {
    fn common(&self) -> &Common {
        &self.common
    }
}

/// The plugin.
pub struct MutatingPolicies {
    surroundings: Surroundings,
    params: Arc<dyn Params>,
    current: Current<MutatingPolicy>,
}

/// Why a policy could not do its work.
struct Problem {
    message: String,
    /// For programs; empty for the usual one.
    reason: &'static str,
}

impl Problem {
    fn new(policy: &str, binding: Option<&str>, why: &str, reason: &'static str) -> Self {
        let message = match binding {
            Some(binding) => format!("policy '{policy}' with binding '{binding}' denied request: {why}"),
            None => format!("policy {policy:?} denied request: {why}"),
        };
        Self { message, reason }
    }

    fn of(policy: &str, wrong: &Misconfigured<'_>) -> Self {
        Self::new(policy, wrong.binding, &wrong.message, "")
    }
}

/// One policy with one binding and one parameter.
struct Invocation<'a> {
    policy: &'a MutatingPolicy,
    binding: &'a Binding,
    bound: &'a Bound<'a>,
    params: Option<&'a Object>,
}

impl MutatingPolicies {
    /// Without policies yet.
    pub fn new(surroundings: Surroundings, params: Arc<dyn Params>) -> Self {
        Self { surroundings, params, current: Current::default() }
    }

    /// Puts these in the place of all policies and bindings. Requests that have begun go on with those that they found.
    pub fn set(&self, policies: Vec<Arc<MutatingPolicy>>, bindings: Vec<Arc<Binding>>) {
        self.current.set(policies, bindings);
    }

    async fn run(&self, attributes: &mut Attributes) -> Result<(), Refusal> {
        let hooks = self.current.get();
        let (mut bound, mut problems) = (Vec::new(), Vec::new());
        for hook in hooks.iter() {
            self.bind(hook, attributes, &mut bound, &mut problems).await;
        }
        if !bound.is_empty() {
            let namespace = namespace_json(attributes, &self.surroundings).await?;
            let mut patched = false;
            for (policy, bound) in &bound {
                for params in &bound.params {
                    let params = params.as_deref();
                    let invocation = Invocation { policy, binding: bound.binding, bound, params };
                    patched |= self.invoke(&invocation, namespace.as_ref(), attributes, &mut problems)?;
                }
            }
            if patched {
                attributes.reinvocation.of(NAME).changed();
                attributes.reinvocation.want();
            }
        }
        refuse(attributes, problems)
    }

    /// Finds out which bindings of a policy concern the request.
    async fn bind<'a>(
        &self,
        hook: &'a Hook<MutatingPolicy>,
        attributes: &Attributes,
        bound: &mut Vec<(&'a MutatingPolicy, Bound<'a>)>,
        problems: &mut Vec<Problem>,
    ) {
        let policy = &*hook.policy;
        for found in hook.bound(attributes, &self.surroundings, &*self.params).await {
            match found {
                Ok(found) if found.params.is_empty() => {}
                Ok(found) => bound.push((policy, found)),
                Err(wrong) if policy.common.failure_policy == FailurePolicy::Fail => {
                    problems.push(Problem::of(&policy.common.name, &wrong));
                }
                Err(_) => {}
            }
        }
    }

    /// Lets a policy change the object; tells whether it did something.
    fn invoke(
        &self,
        invocation: &Invocation<'_>,
        namespace: Option<&Value>,
        attributes: &mut Attributes,
        problems: &mut Vec<Problem>,
    ) -> Result<bool, Refusal> {
        let policy = invocation.policy;
        let mut fail = |why: &str| {
            if policy.common.failure_policy == FailurePolicy::Fail {
                let binding = Some(invocation.binding.name.as_str());
                problems.push(Problem::new(&policy.common.name, binding, why, "Invalid"));
            }
        };
        match self.check(invocation, attributes)? {
            Match::Yes => {}
            Match::No => return Ok(false),
            Match::Failed(why) => {
                fail(&why);
                return Ok(false);
            }
        }
        let key = invocation.key();
        let second = attributes.reinvocation.is_second();
        if second && !attributes.reinvocation.of(NAME).is_due(&key) {
            return Ok(false);
        }
        let before = attributes.object.clone();
        let mut patched = false;
        for mutation in &policy.mutations {
            if attributes.object.is_none() {
                continue;
            }
            match self.mutate(invocation, mutation, namespace, attributes) {
                Ok(object) => {
                    attributes.object = Some(object);
                    patched = true;
                }
                Err(Failed::Refused(refusal)) => return Err(refusal),
                Err(Failed::Policy(why)) => fail(&why),
            }
        }
        let changed = before != attributes.object;
        let invoked = attributes.reinvocation.of(NAME);
        if changed {
            invoked.changed();
        }
        if policy.reinvoked {
            invoked.waits(key);
        }
        if changed {
            attributes.reinvocation.want();
        }
        Ok(patched)
    }

    fn check(&self, invocation: &Invocation<'_>, attributes: &Attributes) -> Result<Match, Refusal> {
        let common = &invocation.policy.common;
        if common.conditions.is_empty() {
            return Ok(Match::Yes);
        }
        let check = |inputs: &Inputs<'_>| common.conditions.check(inputs, &common.variables);
        self.with(invocation, None, attributes, check).map_err(Refusal::internal)
    }

    fn mutate(
        &self,
        invocation: &Invocation<'_>,
        mutation: &Mutation,
        namespace: Option<&Value>,
        attributes: &Attributes,
    ) -> Result<Object, Failed> {
        let kinds = &*self.surroundings.kinds;
        let kind = &invocation.bound.matched.kind;
        let variables = &invocation.policy.common.variables;
        let mutate = |inputs: &Inputs<'_>| mutation.run(inputs, variables, kind, kinds);
        let internal = |why: String| Failed::Refused(Refusal::internal(why));
        let mut object = self.with(invocation, namespace, attributes, mutate).map_err(internal)??;
        kinds.fill(kind, &mut object);
        if *kind == attributes.kind {
            return Ok(object);
        }
        let converted = kinds.convert(&object, &attributes.kind);
        converted.map_err(|why| internal(format!("failed to convert object: {why}")))
    }

    /// Evaluates something for an invocation.
    fn with<T>(
        &self,
        invocation: &Invocation<'_>,
        namespace: Option<&Value>,
        attributes: &Attributes,
        evaluate: impl FnOnce(&Inputs<'_>) -> T,
    ) -> Result<T, String> {
        let matched = &invocation.bound.matched;
        let versioned = Versioned::of(attributes, &matched.kind, &*self.surroundings.kinds)?;
        let request = request_json(attributes, matched);
        let authorizer = self.surroundings.authorizers.of(attributes);
        Ok(evaluate(&Inputs {
            attributes,
            object: versioned.object.as_deref(),
            old: versioned.old.as_deref(),
            request: &request,
            params: invocation.params,
            namespace,
            authorizer: Some(&*authorizer),
        }))
    }
}

impl Invocation<'_> {
    /// Tells it from all others; names have no line ends.
    fn key(&self) -> String {
        let params = self.params.map(|params| (params.namespace(), params.name())).unwrap_or_default();
        [&self.policy.common.name, &self.binding.name, params.0, params.1].join("\n")
    }
}

/// The first problem is the message, all are causes.
fn refuse(attributes: &Attributes, problems: Vec<Problem>) -> Result<(), Refusal> {
    let Some(first) = problems.first() else { return Ok(()) };
    let mut refusal = Refusal::forbidden(attributes, "admission request denied by policy");
    refusal.message.clone_from(&first.message);
    if !first.reason.is_empty() {
        refusal.reason = first.reason.to_owned();
    }
    let cause = |problem: Problem| Cause { message: problem.message, ..Cause::default() };
    refusal.details.get_or_insert_default().causes.extend(problems.into_iter().map(cause));
    Err(refusal)
}

#[async_trait]
impl Plugin for MutatingPolicies {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Of a deletion there is nothing to change.
    fn handles(&self, attributes: &Attributes) -> bool {
        attributes.operation != Operation::Delete && concerns(attributes)
    }

    async fn admit(&self, attributes: &mut Attributes) -> Result<(), Refusal> {
        attributes.reinvocation.enter(NAME, attributes.object.as_ref());
        let outcome = self.run(attributes).await;
        attributes.reinvocation.leave(NAME, attributes.object.as_ref());
        outcome
    }
}
