//! A server that decides what users may do: SubjectAccessReview.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use skiff_auth::{Attributes, Authorize, Decision};
use skiff_machinery::selector::{
    FieldOperator, FieldRequirement, FieldSelector, LabelOperator, LabelRequirement, LabelSelector,
};
use skiff_ordered::Ordered as _;
use skiff_recent::Recent;
use tokio::time::Instant;

use super::authorization::Webhook;
use crate::webhooks::kubeconfig::Server;

/// So many decisions are kept.
const KEPT: usize = 8192;
/// The longest question whose answer is kept, in bytes.
const LONGEST: usize = 10_000;

/// A server that decides, and what it has decided.
pub(super) struct WebhookAuthorizer {
    server: Server,
    webhook: Webhook,
    known: Recent<String, (Decision, Instant)>,
}

impl WebhookAuthorizer {
    pub(super) fn new(server: Server, webhook: Webhook) -> Self {
        Self { server, webhook, known: Recent::new(KEPT) }
    }

    fn remembered(&self, question: &str) -> Option<Decision> {
        self.known.get(question).filter(|(_, until)| *until > Instant::now()).map(|(decision, _)| decision)
    }

    fn remember(&self, question: String, decision: &Decision) {
        let holds = match decision {
            Decision::Failed { .. } => return,
            Decision::Allow(_) => self.webhook.authorized,
            Decision::Deny(_) | Decision::NoOpinion(_) => self.webhook.unauthorized,
        };
        if holds.is_zero() || question.len() > LONGEST {
            return;
        }
        self.known.insert(question, (decision.clone(), Instant::now() + holds));
    }

    fn failed(&self, error: String) -> Decision {
        Decision::Failed { denied: self.webhook.denies, reason: String::new(), error }
    }

    async fn ask(&self, spec: Value) -> Decision {
        let version = format!("authorization.k8s.io/{}", self.webhook.version);
        let review = json!({
            "kind": "SubjectAccessReview", "apiVersion": version, "metadata": {},
            "spec": spec_in(spec, &self.webhook.version), "status": {"allowed": false},
        });
        let timeout: Duration = self.webhook.timeout;
        let answer = match self.server.ask(&review.to_string(), timeout).await {
            Ok(answer) => answer,
            Err(why) => {
                tracing::warn!(why, "the webhook that authorizes does not answer");
                return self.failed(why);
            }
        };
        match serde_json::from_slice::<Value>(&answer) {
            Ok(answer) => told(&answer, &version).unwrap_or_else(|why| self.failed(why)),
            Err(error) => self.failed(error.to_string()),
        }
    }
}

#[async_trait]
impl Authorize for WebhookAuthorizer {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let spec = spec(attributes);
        match self.webhook.conditions.check(&spec) {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion(String::new()),
            Err(why) => return self.failed(why),
        }
        let question = spec.to_string();
        if let Some(decision) = self.remembered(&question) {
            return decision;
        }
        let decision = self.ask(spec).await;
        self.remember(question, &decision);
        decision
    }

    fn without_rules(&self) -> &'static str {
        "webhook authorizer does not support user rule resolution"
    }
}

/// A review's `spec`, in version `v1`.
fn spec(attributes: &Attributes<'_>) -> Value {
    let user = attributes.user;
    let mut spec = json!({"user": user.name});
    if !user.groups.is_empty() {
        spec["groups"] = user.groups.clone().into();
    }
    if !user.uid.is_empty() {
        spec["uid"] = user.uid.clone().into();
    }
    if !user.extra.is_empty() {
        spec["extra"] = json!(user.extra);
    }
    if !attributes.is_resource() {
        spec["nonResourceAttributes"] = json!({"path": attributes.path, "verb": attributes.verb});
        return spec;
    }
    let fields = [
        ("namespace", attributes.namespace),
        ("verb", attributes.verb),
        ("group", attributes.group),
        ("version", attributes.version),
        ("resource", attributes.resource),
        ("subresource", attributes.subresource),
        ("name", attributes.name),
    ];
    let given = fields.into_iter().filter(|(_, text)| !text.is_empty());
    let mut resource: Map<String, Value> =
        given.map(|(name, text)| (name.to_owned(), text.into())).one_by_one();
    let selectors = [
        ("fieldSelector", attributes.fields.map(of_fields).unwrap_or_default()),
        ("labelSelector", attributes.labels.map(of_labels).unwrap_or_default()),
    ];
    for (name, requirements) in selectors.into_iter().filter(|(_, list)| !list.is_empty()) {
        resource.insert(name.to_owned(), json!({"requirements": requirements}));
    }
    spec["resourceAttributes"] = resource.into();
    spec
}

fn of_fields(selector: &FieldSelector) -> Vec<Value> {
    let one = |one: &FieldRequirement| {
        let operator = if one.operator == FieldOperator::Equals { "In" } else { "NotIn" };
        json!({"key": one.label, "operator": operator, "values": [one.value]})
    };
    selector.requirements().iter().map(one).collect()
}

/// Comparisons of numbers have no words in reviews, and are left out.
fn of_labels(selector: &LabelSelector) -> Vec<Value> {
    let one = |LabelRequirement { key, operator }: &LabelRequirement| {
        Some(match operator {
            LabelOperator::In(values) => json!({"key": key, "operator": "In", "values": values}),
            LabelOperator::NotIn(values) => json!({"key": key, "operator": "NotIn", "values": values}),
            LabelOperator::Exists => json!({"key": key, "operator": "Exists"}),
            LabelOperator::DoesNotExist => json!({"key": key, "operator": "DoesNotExist"}),
            LabelOperator::GreaterThan(_) | LabelOperator::LessThan(_) => return None,
        })
    };
    selector.requirements().iter().filter_map(one).collect()
}

/// The same in a version: in `v1beta1` groups have another name.
fn spec_in(mut spec: Value, version: &str) -> Value {
    if version == "v1beta1"
        && let Some(groups) = spec.as_object_mut().and_then(|spec| spec.remove("groups"))
    {
        spec["group"] = groups;
    }
    spec
}

/// What a review comes to.
fn told(review: &Value, version: &str) -> Result<Decision, String> {
    if review["kind"] != "SubjectAccessReview" || review["apiVersion"] != version {
        return Err(format!("the answer is no SubjectAccessReview of {version}"));
    }
    let status = &review["status"];
    let reason = status["reason"].as_str().unwrap_or_default().to_owned();
    Ok(match (status["allowed"] == true, status["denied"] == true) {
        (true, true) => Decision::Failed {
            denied: true,
            reason,
            error: "webhook subject access review returned both allow and deny response".to_owned(),
        },
        (true, false) => Decision::Allow(reason),
        (false, true) => Decision::Deny(reason),
        (false, false) => Decision::NoOpinion(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_identity::UserInfo;

    #[test]
    fn a_question_is_as_kubernetes_asks_it() {
        let user = UserInfo::authenticated("bob", []);
        let fields = FieldSelector::parse("spec.nodeName=n").unwrap();
        let labels = LabelSelector::parse("a in (x,y),b!=z,c,!d,e>5").unwrap();
        let pods = Attributes {
            version: "v1",
            namespace: "ns",
            fields: Some(&fields),
            labels: Some(&labels),
            ..Attributes::resource(&user, "list", "", "pods")
        };
        let requirement = json!({"key": "spec.nodeName", "operator": "In", "values": ["n"]});
        assert_eq!(
            spec(&pods),
            json!({
                "user": "bob", "groups": ["system:authenticated"],
                "resourceAttributes": {
                    "namespace": "ns", "verb": "list", "version": "v1", "resource": "pods",
                    "fieldSelector": {"requirements": [requirement]},
                    "labelSelector": {"requirements": [
                        {"key": "a", "operator": "In", "values": ["x", "y"]},
                        {"key": "b", "operator": "NotIn", "values": ["z"]},
                        {"key": "c", "operator": "Exists"},
                        {"key": "d", "operator": "DoesNotExist"},
                    ]},
                },
            })
        );
        let path = spec(&Attributes::non_resource(&user, "get", "/metrics"));
        assert_eq!(path["nonResourceAttributes"], json!({"path": "/metrics", "verb": "get"}));
        assert_eq!(spec_in(path, "v1beta1")["group"], json!(["system:authenticated"]));
    }

    #[test]
    fn an_answer_decides() {
        let version = "authorization.k8s.io/v1";
        let told = |status: Value| {
            told(&json!({"kind": "SubjectAccessReview", "apiVersion": version, "status": status}), version)
                .unwrap()
        };
        assert_eq!(told(json!({"allowed": true, "reason": "r"})), Decision::Allow("r".to_owned()));
        assert_eq!(told(json!({"allowed": false})), Decision::NoOpinion(String::new()));
        assert_eq!(told(json!({"allowed": false, "denied": true})), Decision::Deny(String::new()));
        assert!(told(json!({"allowed": true, "denied": true})).is_denied());
    }
}
