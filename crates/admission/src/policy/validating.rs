//! ValidatingAdmissionPolicy: policies that refuse.

use skiff_audit::Level;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use skiff_machinery::Object;

use super::bindings::{Action, Binding};
use super::decide::{Annotation, Decision, Noted, Validation, Verdict, code_of, failure_note};
use super::hooks::{Bound, Common, Current, Hook, Policy, concerns};
use super::params::Params;
use crate::attributes::Attributes;
use crate::chain::Plugin;
use crate::expressions::{FailurePolicy, Inputs, Returns, Scope, request_json};
use crate::refusal::{Cause, Refusal};
use crate::selector;
use crate::surroundings::{Surroundings, items, text};
use crate::webhook::Versioned;

/// Bytes of an audit annotation that are written.
const NOTE: usize = 10 * 1024;

/// A ValidatingAdmissionPolicy, ready for requests.
#[derive(Debug)]
pub struct ValidatingPolicy {
    pub(super) common: Common,
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<Annotation>,
}

impl ValidatingPolicy {
    /// Compiles a policy as it is stored, with its defaults. What cannot be compiled fails the requests that it matches, as the
    /// failure policy says.
    pub fn compile(object: &Object) -> Self {
        let (common, environments) = Common::compile(object);
        let none = Value::Null;
        let spec = object.get(&["spec"]).unwrap_or(&none);
        let compile = |text: &str, scope, returns| environments.compile(text, scope, returns);
        let validation = |validation: &Value| Validation {
            expression: compile(text(validation, "expression"), Scope::Authorizer, Returns::Bool),
            message: text(validation, "message").to_owned(),
            message_expression: match text(validation, "messageExpression") {
                "" => None,
                expression => Some(compile(expression, Scope::Plain, Returns::Text)),
            },
            reason: text(validation, "reason").to_owned(),
        };
        let annotation = |annotation: &Value| Annotation {
            key: text(annotation, "key").to_owned(),
            value: compile(text(annotation, "valueExpression"), Scope::Authorizer, Returns::TextOrNull),
        };
        Self {
            validations: items(spec, "validations").iter().map(validation).collect(),
            annotations: items(spec, "auditAnnotations").iter().map(annotation).collect(),
            common,
        }
    }
}

impl Policy for ValidatingPolicy {
    fn common(&self) -> &Common {
        &self.common
    }
}

/// The plugin.
pub struct ValidatingPolicies {
    surroundings: Surroundings,
    params: Arc<dyn Params>,
    current: Current<ValidatingPolicy>,
}

/// Why a policy refuses.
struct Denied {
    /// Names the policy and says why.
    message: String,
    /// Empty for the usual one.
    reason: String,
}

/// Values of one policy's audit annotations, each once.
type Notes<'a> = BTreeMap<&'a str, Vec<String>>;

impl ValidatingPolicies {
    /// Without policies yet.
    pub fn new(surroundings: Surroundings, params: Arc<dyn Params>) -> Self {
        Self { surroundings, params, current: Current::default() }
    }

    /// Puts these in the place of all policies and bindings. Requests that have begun go on with those that they found.
    pub fn set(&self, policies: Vec<Arc<ValidatingPolicy>>, bindings: Vec<Arc<Binding>>) {
        self.current.set(policies, bindings);
    }

    /// Asks one policy with all its bindings.
    async fn ask(
        &self,
        hook: &Hook<ValidatingPolicy>,
        attributes: &Attributes,
        denied: &mut Vec<Denied>,
    ) -> Result<(), Refusal> {
        let policy = &*hook.policy;
        let name = &policy.common.name;
        let mut notes = Notes::new();
        for bound in hook.bound(attributes, &self.surroundings, &*self.params).await {
            let bound = match bound {
                Ok(bound) => bound,
                Err(_) if policy.common.failure_policy == FailurePolicy::Ignore => continue,
                Err(wrong) => {
                    denied.push(Denied::new(name, wrong.binding, &wrong.message, ""));
                    continue;
                }
            };
            let namespace = namespace_json(attributes, &self.surroundings).await?;
            if bound.params.is_empty() {
                continue;
            }
            match self.verdicts(policy, &bound, namespace.as_ref(), attributes) {
                Ok(verdicts) => {
                    for verdict in verdicts {
                        act(policy, bound.binding, verdict, attributes, denied, &mut notes);
                    }
                }
                Err(_) if policy.common.failure_policy == FailurePolicy::Ignore => {}
                Err(why) => {
                    let why = format!("failed to configure binding: failed to convert object version: {why}");
                    denied.push(Denied::new(name, Some(&bound.binding.name), &why, ""));
                }
            }
        }
        for (key, values) in notes {
            attributes.annotate(Level::Metadata, format!("{name}/{key}"), values.join(", "));
        }
        Ok(())
    }

    fn verdicts<'p>(
        &self,
        policy: &'p ValidatingPolicy,
        bound: &Bound<'_>,
        namespace: Option<&Value>,
        attributes: &Attributes,
    ) -> Result<Vec<Verdict<'p>>, String> {
        let versioned = Versioned::of(attributes, &bound.matched.kind, &*self.surroundings.kinds)?;
        let request = request_json(attributes, &bound.matched);
        let authorizer = self.surroundings.authorizers.of(attributes);
        let decide = |params: &Option<Arc<Object>>| {
            policy.decide(&Inputs {
                attributes,
                object: versioned.object.as_deref(),
                old: versioned.old.as_deref(),
                request: &request,
                params: params.as_deref(),
                namespace,
                authorizer: Some(&*authorizer),
            })
        };
        Ok(bound.params.iter().map(decide).collect())
    }
}

/// `namespaceObject` of a request; none for what is in no namespace.
pub(super) async fn namespace_json(
    attributes: &Attributes,
    surroundings: &Surroundings,
) -> Result<Option<Value>, Refusal> {
    match attributes.surrounding_namespace() {
        "" => Ok(None),
        name => {
            let namespace = selector::namespace(&*surroundings.namespaces, name).await?;
            Ok(Some(Inputs::namespace_json(&namespace)))
        }
    }
}

impl Denied {
    fn new(policy: &str, binding: Option<&str>, why: &str, reason: &str) -> Self {
        let message = match binding {
            Some(binding) => {
                format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}")
            }
            None => format!("ValidatingAdmissionPolicy '{policy}' denied request: {why}"),
        };
        Self { message, reason: reason.to_owned() }
    }

    fn refusal(&self, attributes: &Attributes) -> Refusal {
        let mut refusal = Refusal::forbidden(attributes, &self.message);
        let reason = if self.reason.is_empty() { "Invalid" } else { &self.reason };
        refusal.reason = reason.to_owned();
        refusal.code = code_of(reason);
        let cause = Cause { message: self.message.clone(), ..Cause::default() };
        refusal.details.get_or_insert_default().causes.push(cause);
        refusal
    }
}

/// Does what the binding wants done with a verdict.
fn act<'p>(
    policy: &'p ValidatingPolicy,
    binding: &Binding,
    verdict: Verdict<'p>,
    attributes: &Attributes,
    denied: &mut Vec<Denied>,
    notes: &mut Notes<'p>,
) {
    let name = &policy.common.name;
    for (index, decision) in verdict.decisions.into_iter().enumerate() {
        let Decision::Deny { message, reason } = decision else { continue };
        for action in &binding.actions {
            match action {
                Action::Deny => denied.push(Denied::new(name, Some(&binding.name), &message, &reason)),
                Action::Warn => attributes.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{}': {message}",
                    binding.name
                )),
                Action::Audit => {
                    let actions: Vec<&str> = binding.actions.iter().map(|action| action.as_str()).collect();
                    let note = failure_note(&binding.policy, &binding.name, &actions, index, &message);
                    let key = "validation.policy.admission.k8s.io/validation_failure";
                    attributes.annotate(Level::Metadata, key, note);
                }
            }
        }
    }
    for noted in verdict.annotations {
        match noted {
            Noted::Value { key, value } => {
                let values = notes.entry(key).or_default();
                let value = value.get(..value.floor_char_boundary(NOTE)).unwrap_or_default().to_owned();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            Noted::Failed(why) => denied.push(Denied::new(name, Some(&binding.name), &why, "")),
        }
    }
}

#[async_trait]
impl Plugin for ValidatingPolicies {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, attributes: &Attributes) -> bool {
        concerns(attributes)
    }

    /// Every policy is asked; the first that denies counts.
    async fn validate(&self, attributes: &Attributes) -> Result<(), Refusal> {
        let mut denied = Vec::new();
        for hook in self.current.get().iter() {
            self.ask(hook, attributes, &mut denied).await?;
        }
        denied.first().map_or(Ok(()), |denied| Err(denied.refusal(attributes)))
    }
}
