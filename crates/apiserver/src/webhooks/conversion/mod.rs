//! ConversionReview: webhooks that make objects of one version into those of another.

mod metadata;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use skiff_admission::{ClientConfig, GroupVersionKind};
use skiff_machinery::{Convert, ConvertError, Converting, GroupVersion, Object};

use super::outgoing::{MAX_ANSWER, Outgoing, Peer};
use super::user::Shown;

/// A call may take as long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The version of ConversionReview that a webhook speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Review {
    V1,
    V1Beta1,
}

impl Review {
    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "apiextensions.k8s.io/v1",
            Self::V1Beta1 => "apiextensions.k8s.io/v1beta1",
        }
    }
}

/// The conversion webhook of a definition.
pub(crate) struct Converter {
    outgoing: Arc<Outgoing>,
    client: ClientConfig,
    /// `None` when it speaks none that is spoken here.
    review: Option<Review>,
}

impl Converter {
    /// Reads `spec.conversion.webhook`.
    pub(crate) fn new(outgoing: Arc<Outgoing>, webhook: &Value) -> Self {
        let versions = webhook["conversionReviewVersions"].as_array().into_iter().flatten();
        let review = versions.filter_map(Value::as_str).find_map(|version| match version {
            "v1" => Some(Review::V1),
            "v1beta1" => Some(Review::V1Beta1),
            _ => None,
        });
        Self { outgoing, client: ClientConfig::of(&webhook["clientConfig"]), review }
    }

    async fn run(&self, objects: Vec<Object>, to: &GroupVersion) -> Result<Vec<Object>, String> {
        let review = self.review.ok_or("no supported conversion review versions")?;
        let wanted = to.to_string();
        let (asked, places): (Vec<&Object>, Vec<usize>) = objects
            .iter()
            .enumerate()
            .filter(|(_, object)| object.api_version() != wanted)
            .map(|(place, object)| (object, place))
            .unzip();
        let Some(subject) = Subject::of(&asked, objects.len()) else { return Ok(objects) };
        let answered = self.ask(review, &asked, &wanted).await;
        let answered = answered.map_err(|why| format!("{subject} failed: {why}"))?;
        if answered.len() != asked.len() {
            let (got, expected) = (answered.len(), asked.len());
            return Err(format!("{subject} returned {got} objects, expected {expected}"));
        }
        let converted: Vec<Object> = answered
            .into_iter()
            .zip(&asked)
            .enumerate()
            .map(|(index, (answer, asked))| converted(&subject, index, answer, asked, &wanted))
            .collect::<Result<_, _>>()?;
        let mut objects = objects;
        for (place, object) in places.into_iter().zip(converted) {
            objects[place] = object;
        }
        Ok(objects)
    }

    /// What the webhook answers in the place of these objects.
    async fn ask(&self, review: Review, objects: &[&Object], wanted: &str) -> Result<Vec<Value>, String> {
        let uid = skiff_registry::made_id().to_string();
        let objects: Vec<_> = objects.iter().map(|object| object.as_map()).collect();
        let body = json!({
            "kind": "ConversionReview", "apiVersion": review.api_version(),
            "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
        });
        let body = Bytes::from(body.to_string());
        let most = MAX_ANSWER + 2 * body.len();
        let shown = Shown::default();
        let peer = Peer::of(&self.client, &shown);
        let answer = self.outgoing.post(&peer, &self.client.url(TIMEOUT), body, TIMEOUT, most).await;
        let answer = answer.map_err(|error| error.text(&self.client, TIMEOUT))?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
        read(review, answer, &uid)
    }
}

impl Convert for Converter {
    fn convert(&self, objects: Vec<Object>, to: &GroupVersion) -> Converting<'_> {
        let to = to.clone();
        Box::pin(async move { self.run(objects, &to).await.map_err(ConvertError) })
    }
}

/// What a conversion is about, as messages name it.
struct Subject {
    kind: GroupVersionKind,
    is_list: bool,
}

impl Subject {
    /// `None` when there is nothing to ask for.
    fn of(asked: &[&Object], all: usize) -> Option<Self> {
        let first = asked.first()?;
        let is_list = all > 1;
        let kind = if is_list { format!("{}List", first.kind()) } else { first.kind().to_owned() };
        Some(Self { kind: GroupVersionKind::parse(first.api_version(), &kind), is_list })
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "conversion webhook for {}", self.kind)
    }
}

/// The objects of an answer. The older version of the review says less of itself.
fn read(review: Review, mut answer: Value, uid: &str) -> Result<Vec<Value>, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if review == Review::V1 {
        let expected = GroupVersionKind::parse(review.api_version(), "ConversionReview");
        let got = GroupVersionKind::parse(&text(&answer["apiVersion"]), &text(&answer["kind"]));
        if got != expected {
            return Err(format!("expected webhook response of {expected}, got {got}"));
        }
    }
    let response = answer["response"].take();
    if response.is_null() {
        return Err("no response provided".to_owned());
    }
    let got = text(&response["uid"]);
    if review == Review::V1 && got != uid {
        return Err(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    let (status, message) = (text(&response["result"]["status"]), text(&response["result"]["message"]));
    if status != "Success" {
        let why = format!("response.result.status was '{status}', not 'Success'");
        return Err(if message.is_empty() { why } else { message });
    }
    let mut response = response;
    match response["convertedObjects"].take() {
        Value::Null => Ok(Vec::new()),
        Value::Array(objects) => Ok(objects),
        _ => Err("json: cannot unmarshal into Go struct field ConversionResponse.response.convertedObjects of type []runtime.RawExtension".to_owned()),
    }
}

/// An answered object, if it may take the place of the one that was asked about.
fn converted(
    subject: &Subject,
    index: usize,
    answer: Value,
    asked: &Object,
    wanted: &str,
) -> Result<Object, String> {
    let (what, named) = match subject.is_list {
        true => (format!("converted object at index {index}"), format!("converted object at index {index}")),
        false => (format!("object at index {index}"), "object".to_owned()),
    };
    let object = metadata::object(answer).map_err(|why| match subject.is_list {
        true => format!("{subject} returned invalid {what}: {why}"),
        false => why,
    })?;
    let invalid = |what: &str, why: String| format!("{subject} returned invalid {what}: {why}");
    let (version, kind) = (object.api_version(), object.kind());
    if version != wanted {
        let why = format!("invalid groupVersion (expected {wanted}, received {version})");
        return Err(invalid(&what, why));
    }
    if kind != asked.kind() {
        let why = format!("invalid kind (expected {}, received {kind})", asked.kind());
        return Err(invalid(&what, why));
    }
    metadata::check(asked, &object).map_err(|why| invalid(&named, why))?;
    let place = if subject.is_list { format!(" in object at index {index}") } else { String::new() };
    metadata::restore(asked, object).map_err(|why| invalid(&format!("metadata{place}"), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_checked_in_kubernetes_words() {
        let check = |review: Review, change: &dyn Fn(&mut Value), expected: Result<usize, &str>| {
            let mut answer = json!({
                "kind": "ConversionReview", "apiVersion": review.api_version(),
                "response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{}, {}]},
            });
            change(&mut answer);
            let read = read(review, answer, "u").map(|objects| objects.len());
            assert_eq!(read, expected.map_err(str::to_owned));
        };
        check(Review::V1, &|_| {}, Ok(2));
        check(Review::V1, &|answer| answer["response"] = Value::Null, Err("no response provided"));
        check(
            Review::V1,
            &|answer| answer["response"]["uid"] = "x".into(),
            Err("expected response.uid=\"u\", got \"x\""),
        );
        check(
            Review::V1,
            &|answer| answer["apiVersion"] = "apiextensions.k8s.io/v1beta1".into(),
            Err(
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=ConversionReview",
            ),
        );
        let failure = |answer: &mut Value| answer["response"]["result"] = json!({"status": "Failure"});
        check(Review::V1, &failure, Err("response.result.status was 'Failure', not 'Success'"));
        let said = |answer: &mut Value| answer["response"]["result"]["status"] = "Failure".into();
        let said = |answer: &mut Value| {
            said(answer);
            answer["response"]["result"]["message"] = "no way".into();
        };
        check(Review::V1, &said, Err("no way"));
        check(Review::V1Beta1, &|answer| answer["response"]["uid"] = "x".into(), Ok(2));
    }

    #[test]
    fn objects_stay_who_they_are() {
        let asked = json!({
            "apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": "a", "namespace": "default", "uid": "1", "finalizers": ["x/y"], "labels": {"a": "b"}},
        });
        let asked = Object::from_value(asked).unwrap();
        let check = |change: &dyn Fn(&mut Value), is_list: bool, expected: Result<&str, &str>| {
            let mut answer = Value::Object(asked.as_map().clone());
            answer["apiVersion"] = "example.com/v2".into();
            change(&mut answer);
            let kind = GroupVersionKind::parse("example.com/v1", "Widget");
            let subject = Subject { kind, is_list };
            let converted = converted(&subject, 0, answer, &asked, "example.com/v2");
            let converted =
                converted.map(|object| Value::Object(object.as_map().clone())["metadata"].to_string());
            let expected = expected.map(str::to_owned);
            let why = |why: &str| {
                format!("conversion webhook for example.com/v1, Kind=Widget returned invalid {why}")
            };
            assert_eq!(converted, expected.map_err(why));
        };
        check(
            &|answer| {
                answer["metadata"]["finalizers"] = json!([]);
                answer["metadata"]["labels"] = json!({"c": "d"});
                answer["metadata"]["generation"] = 7.into();
            },
            false,
            Ok(r#"{"finalizers":["x/y"],"labels":{"c":"d"},"name":"a","namespace":"default","uid":"1"}"#),
        );
        check(
            &|answer| answer["apiVersion"] = "example.com/v3".into(),
            false,
            Err("object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v3)"),
        );
        check(
            &|answer| answer["kind"] = "Gadget".into(),
            true,
            Err("converted object at index 0: invalid kind (expected Widget, received Gadget)"),
        );
        check(
            &|answer| answer["metadata"]["name"] = "b".into(),
            false,
            Err("object: must have the same name: a != b"),
        );
        check(
            &|answer| answer["metadata"]["uid"] = "2".into(),
            true,
            Err("converted object at index 0: must have the same UID: 1 != 2"),
        );
        check(
            &|answer| answer["metadata"]["labels"] = json!([]),
            true,
            Err(
                "metadata in object at index 0: invalid metadata.labels of type []interface {} in converted object",
            ),
        );
        check(
            &|answer| answer["metadata"]["annotations"] = json!({"a": 1}),
            false,
            Err("metadata: metadata.annotations[a] must be a string, but is int64 in converted object"),
        );
        check(
            &|answer| answer["metadata"]["labels"] = json!({"a": "-"}),
            false,
            Err(
                "metadata: metadata.labels: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
        );
    }
}
