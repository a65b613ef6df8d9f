//! What is written down (`Event` of `audit.k8s.io/v1`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use skiff_identity::UserInfo;

use crate::level::{Level, Stage};
use crate::policy::Extent;
use crate::record::{Noted, without_managed_fields};

/// A user agent is written up to here.
const AGENT: usize = 1024;

/// What is known of a request when it has arrived, and what becomes of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    level: Level,
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: Stage,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: Person,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<Person>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<Value>,
    #[serde(serialize_with = "micro")]
    request_received_timestamp: Timestamp,
    #[serde(serialize_with = "micro")]
    stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Told {
    /// Names the request in events, and in the answer's `Audit-ID`.
    pub id: String,
    /// Path and query.
    pub uri: String,
    /// As authorisation names it.
    pub verb: String,
    /// Who asks.
    pub user: UserInfo,
    /// From where: what proxies say, then the connection's other end.
    pub source_ips: Vec<String>,
    /// `User-Agent`.
    pub agent: String,
    /// What for, if for a resource.
    pub object: Option<ObjectReference>,
    /// When it arrived.
    pub received: Timestamp,
}

/// A user.
#[derive(Clone, Debug, Serialize)]
pub struct Person {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
}

impl From<UserInfo> for Person {
    fn from(user: UserInfo) -> Self {
        Self { username: user.name, uid: user.uid, groups: user.groups, extra: user.extra }
    }
}

/// What a request is for; unused parts are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the parts of an object's place")]
pub struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

impl Event {
    /// The event of a request that has arrived.
    pub fn new(told: Told, level: Level) -> Self {
        let mut agent = told.agent;
        if agent.len() > AGENT {
            agent.truncate(agent.floor_char_boundary(AGENT));
            agent.push_str("...TRUNCATED");
        }
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            audit_id: told.id,
            stage: Stage::RequestReceived,
            request_uri: told.uri,
            verb: told.verb,
            user: told.user.into(),
            impersonated_user: None,
            source_ips: told.source_ips,
            user_agent: agent,
            object_ref: told.object,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: told.received,
            stage_timestamp: told.received,
            annotations: BTreeMap::new(),
        }
    }

    /// Says as whom its user acts.
    pub fn impersonates(&mut self, user: UserInfo) {
        self.impersonated_user = Some(user.into());
    }

    /// Takes over what the pipeline has noted.
    pub fn note(&mut self, noted: Noted) {
        if let Some(reference) = &mut self.object_ref {
            let object = noted.object;
            for (part, value) in [
                (&mut reference.namespace, object.namespace),
                (&mut reference.name, object.name),
                (&mut reference.uid, object.uid),
                (&mut reference.resource_version, object.resource_version),
            ] {
                if part.is_empty() {
                    *part = value;
                }
            }
        }
        self.request_object = noted.request.or(self.request_object.take());
        self.annotations.extend(noted.annotations);
    }

    /// Says how the answer begins, unless more is known.
    pub fn answered(&mut self, code: u16) {
        let status = self.response_status.get_or_insert_with(|| json!({"metadata": {}}));
        status["code"] = code.into();
    }

    /// Says why there is none.
    pub fn failed(&mut self, message: &str) {
        self.response_status = Some(json!({"metadata": {}, "message": message}));
    }

    /// Whether what is answered when all is well may be a Status.
    pub fn may_answer_status(&self) -> bool {
        let is_part = |object: &ObjectReference| matches!(&*object.subresource, "eviction" | "binding");
        matches!(&*self.verb, "delete" | "deletecollection") || self.object_ref.as_ref().is_some_and(is_part)
    }

    /// Takes over what was answered: of a Status what it says, of others all where that is written down.
    pub fn answer(&mut self, mut object: Value, extent: Extent) {
        if object["kind"] == "Status" && object["apiVersion"] == "v1" {
            let parts = ["status", "message", "reason", "details", "code"];
            let told =
                parts.into_iter().filter_map(|part| Some((part.to_owned(), object.get(part)?.clone())));
            let mut status = Map::from_iter([("metadata".to_owned(), json!({}))]);
            status.extend(told);
            // Of success it says none.
            if let Some(code) = self.response_status.as_ref().and_then(|before| before.get("code")) {
                status.entry("code").or_insert_with(|| code.clone());
            }
            self.response_status = Some(Value::Object(status));
        }
        if extent.level >= Level::RequestResponse {
            if extent.omits_managed_fields {
                without_managed_fields(&mut object);
            }
            self.response_object = Some(object);
        }
    }

    /// Says which stage has been reached, and when.
    pub fn reaches(&mut self, stage: Stage, now: Timestamp) {
        (self.stage, self.stage_timestamp) = (stage, now);
    }

    /// In one line.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("an event is a tree of texts")
    }
}

fn micro<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Identified;

    fn told() -> Told {
        Told {
            id: "id".to_owned(),
            uri: "/api/v1/namespaces/ns/pods?limit=500".to_owned(),
            verb: "list".to_owned(),
            user: UserInfo::authenticated("ann", []),
            source_ips: vec!["10.0.0.1".to_owned()],
            agent: "kubectl/v1".to_owned(),
            object: Some(ObjectReference {
                resource: "pods".to_owned(),
                namespace: "ns".to_owned(),
                api_version: "v1".to_owned(),
                ..ObjectReference::default()
            }),
            received: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_line_is_as_kubernetes_writes_it() {
        let mut event = Event::new(told(), Level::Metadata);
        event.answered(200);
        event.note(Noted {
            annotations: BTreeMap::from([("authorization.k8s.io/decision".to_owned(), "allow".to_owned())]),
            ..Noted::default()
        });
        event.reaches(Stage::ResponseComplete, "2026-01-02T03:04:06Z".parse().unwrap());
        let expected = concat!(
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id","stage":"ResponseComplete","#,
            r#""requestURI":"/api/v1/namespaces/ns/pods?limit=500","verb":"list","#,
            r#""user":{"username":"ann","groups":["system:authenticated"]},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1","#,
            r#""objectRef":{"resource":"pods","namespace":"ns","apiVersion":"v1"},"responseStatus":{"code":200,"metadata":{}},"#,
            r#""requestReceivedTimestamp":"2026-01-02T03:04:05.678000Z","stageTimestamp":"2026-01-02T03:04:06.000000Z","#,
            r#""annotations":{"authorization.k8s.io/decision":"allow"}}"#,
        );
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parse(&event.line()), parse(expected));
        assert!(event.line().starts_with(
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id""#
        ));
    }

    #[test]
    fn a_status_tells_why_and_objects_are_for_those_who_want_them() {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "no", "reason": "NotFound", "details": {"name": "a"}, "code": 404});
        let mut event = Event::new(told(), Level::Metadata);
        event.answer(status.clone(), Extent { level: Level::Metadata, ..Extent::default() });
        event.answered(404);
        let told_of = event.response_status.clone().unwrap();
        assert_eq!((&told_of["reason"], &told_of["code"]), (&json!("NotFound"), &json!(404)));
        assert_eq!((told_of.get("kind"), &event.response_object), (None, &None));
        let all = Extent { level: Level::RequestResponse, omits_managed_fields: true, ..Extent::default() };
        event.answer(json!({"kind": "Pod", "metadata": {"name": "a", "managedFields": []}}), all);
        assert_eq!(event.response_object, Some(json!({"kind": "Pod", "metadata": {"name": "a"}})));
    }

    #[test]
    fn what_was_sent_completes_the_reference() {
        let mut event = Event::new(told(), Level::Request);
        let object =
            Identified { name: "a".to_owned(), namespace: "other".to_owned(), ..Identified::default() };
        event.note(Noted { object, request: Some(json!(1)), ..Noted::default() });
        let reference = event.object_ref.unwrap();
        assert_eq!((reference.name.as_str(), reference.namespace.as_str()), ("a", "ns"));
        assert_eq!(event.request_object, Some(json!(1)));
    }

    #[test]
    fn a_long_agent_is_cut() {
        let event = Event::new(Told { agent: "é".repeat(AGENT), ..told() }, Level::Metadata);
        assert_eq!(event.user_agent.len(), AGENT + "...TRUNCATED".len());
    }
}
