//! One request, from its arrival to the end of its answer, as it is written down.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use skiff_audit::{Asked, Event, Level, ObjectReference, Record, Stage, Told};
use skiff_auth::Attributes;
use skiff_identity::UserInfo;
use skiff_machinery::protobuf;
use skiff_registry::configuration;
use skiff_schema::Root;

use super::Audit;
use crate::http::body::Body;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What accompanies a request. Whatever belongs to the request holds it; when nothing does any more, the request is complete.
pub(crate) struct Trail {
    audit: Arc<Audit>,
    pub(crate) record: Arc<Record>,
    told: Mutex<Option<Told>>,
    event: Mutex<Option<Event>>,
    /// What was answered, as far as it is looked at.
    answer: Mutex<Option<Answer>>,
    panicked: AtomicBool,
}

/// The text of an answer, and how it reads.
struct Answer {
    bytes: Vec<u8>,
    format: Format,
    /// Any definition of the schema.
    beside: Option<Root>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
    Protobuf,
}

impl Trail {
    /// Takes down the head of a request that has just arrived.
    pub(crate) fn new(
        audit: Arc<Audit>,
        id: &str,
        peer: Option<IpAddr>,
        request: &Request<Body>,
    ) -> Arc<Self> {
        let headers = request.headers();
        let text =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let told = Told {
            id: id.to_owned(),
            uri: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            verb: String::new(),
            user: UserInfo::default(),
            source_ips: source_ips(headers, peer),
            agent: text(USER_AGENT).to_owned(),
            object: None,
            received: Timestamp::now(),
        };
        Arc::new(Self {
            audit,
            record: Arc::default(),
            told: Mutex::new(Some(told)),
            event: Mutex::default(),
            answer: Mutex::default(),
            panicked: AtomicBool::new(false),
        })
    }

    /// Its user is known, and what it wants: decides what is written down of it.
    pub(crate) fn begin(&self, user: &UserInfo, wanted: &Attributes<'_>) {
        let Some(mut told) = self.told.lock().take() else { return };
        let asked = Asked {
            user,
            verb: wanted.verb,
            path: wanted.path,
            group: wanted.group,
            resource: wanted.resource,
            subresource: wanted.subresource,
            namespace: wanted.namespace,
            name: wanted.name,
        };
        let extent = self.audit.decide(&asked);
        if extent.level == Level::None {
            return;
        }
        self.record.begin(extent);
        wanted.verb.clone_into(&mut told.verb);
        told.user = user.clone();
        told.object = wanted.is_resource().then(|| reference(wanted));
        *self.event.lock() = Some(Event::new(told, extent.level));
        self.reach(Stage::RequestReceived);
    }

    /// Nobody is known whose request it is.
    pub(crate) fn unauthenticated(
        &self,
        headers: &HeaderMap,
        has_certificate: bool,
        wanted: &Attributes<'_>,
    ) {
        self.begin(&UserInfo::default(), wanted);
        let why = attempted(headers, has_certificate);
        self.event.lock().iter_mut().for_each(|event| event.failed(&why));
    }

    /// Its user acts as another.
    pub(crate) fn impersonates(&self, user: &UserInfo) {
        self.event.lock().iter_mut().for_each(|event| event.impersonates(user.clone()));
    }

    /// The server ran into a bug.
    pub(crate) fn panicked(&self) {
        self.panicked.store(true, Ordering::Relaxed);
    }

    /// The head of an answer is there; what is wanted of the rest is read along.
    pub(crate) fn answered(
        self: Arc<Self>,
        response: Response<Body>,
        lasts: bool,
        beside: Option<Root>,
    ) -> Response<Body> {
        let status = response.status();
        let is_told = {
            let mut event = self.event.lock();
            event.iter_mut().for_each(|event| event.answered(status.as_u16()));
            event.is_some()
        };
        if !is_told {
            return response;
        }
        let starts = lasts || status == StatusCode::UNAUTHORIZED;
        if starts {
            self.reach(Stage::ResponseStarted);
        }
        if (!lasts || status.as_u16() >= 400)
            && let Some(format) = self.reads(&response)
        {
            *self.answer.lock() = Some(Answer { bytes: Vec::new(), format, beside });
        }
        response.map(|body| {
            let along = move |frame: http_body::Frame<bytes::Bytes>| {
                if let (Some(answer), Some(data)) = (&mut *self.answer.lock(), frame.data_ref()) {
                    answer.bytes.extend_from_slice(data);
                }
                frame
            };
            body.map_frame(along).boxed_unsync()
        })
    }

    /// Whether an answer is looked at, and how it reads: what is a Status, and all where all is written down.
    fn reads(&self, response: &Response<Body>) -> Option<Format> {
        let is_status = || {
            let event = self.event.lock();
            response.status().as_u16() >= 400 || event.as_ref().is_some_and(Event::may_answer_status)
        };
        if self.record.extent().level < Level::RequestResponse && !is_status() {
            return None;
        }
        let media = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
        match media.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Format::Json),
            "application/yaml" => Some(Format::Yaml),
            protobuf::CONTENT_TYPE => Some(Format::Protobuf),
            _ => None,
        }
    }

    /// Writes the event of a stage, unless that is left out.
    fn reach(&self, stage: Stage) {
        let extent = self.record.extent();
        let mut event = self.event.lock();
        let Some(event) = event.as_mut() else { return };
        event.note(self.record.noted());
        event.reaches(stage, Timestamp::now());
        if !extent.omitted.has(stage) {
            self.audit.write(event);
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let (Some(answer), Some(event)) = (self.answer.get_mut().take(), self.event.get_mut()) {
            let extent = self.record.extent();
            answer.read().into_iter().for_each(|object| event.answer(object, extent));
        }
        let panicked = *self.panicked.get_mut();
        self.reach(if panicked { Stage::Panic } else { Stage::ResponseComplete });
    }
}

impl Answer {
    /// The object that was answered, if all of it was sent.
    fn read(&self) -> Option<Value> {
        match self.format {
            Format::Json => serde_json::from_slice(&self.bytes).ok(),
            Format::Yaml => configuration::read_text(&self.bytes).ok(),
            Format::Protobuf => {
                let (api_version, kind) = protobuf::type_of(&self.bytes).ok()?;
                let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
                let root = self.beside.as_ref()?.of_kind(group, version, &kind)?;
                Some(protobuf::decode(&self.bytes, &root).ok()?.into_value())
            }
        }
    }
}

fn reference(wanted: &Attributes<'_>) -> ObjectReference {
    ObjectReference {
        resource: wanted.resource.to_owned(),
        namespace: wanted.namespace.to_owned(),
        name: wanted.name.to_owned(),
        api_group: wanted.group.to_owned(),
        api_version: wanted.version.to_owned(),
        subresource: wanted.subresource.to_owned(),
        ..ObjectReference::default()
    }
}

/// From where a request comes: what proxies before this server say, then who is at the other end.
fn source_ips(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<String> {
    let texts = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let forwarded = texts(FORWARDED_FOR).flat_map(|text| text.split(',')).map(str::trim);
    let mut all: Vec<IpAddr> = forwarded.filter_map(|text| text.parse().ok()).collect();
    let real = texts(REAL_IP).next().and_then(|text| text.trim().parse().ok());
    for one in real.into_iter().chain(peer.map(|ip| ip.to_canonical())) {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all.iter().map(ToString::to_string).collect()
}

/// What was tried by who could not prove who they are, in Kubernetes' words.
fn attempted(headers: &HeaderMap, has_certificate: bool) -> String {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scheme = authorization.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let mut tried: Vec<&str> = ["basic", "bearer"].into_iter().filter(|known| *known == scheme).collect();
    tried.extend(has_certificate.then_some("x509"));
    match &*tried {
        [] => "Authentication failed, no credentials provided".to_owned(),
        some => format!("Authentication failed, attempted: {}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn addresses_are_those_of_proxies_and_of_the_connection() {
        let peer = Some("::ffff:10.0.0.9".parse().unwrap());
        let proxies = headers(&[(&FORWARDED_FOR, "1.1.1.1, 2.2.2.2,odd"), (&REAL_IP, "3.3.3.3")]);
        assert_eq!(source_ips(&proxies, peer), ["1.1.1.1", "2.2.2.2", "3.3.3.3", "10.0.0.9"]);
        assert_eq!(source_ips(&headers(&[(&REAL_IP, "10.0.0.9")]), peer), ["10.0.0.9"]);
        assert!(source_ips(&HeaderMap::new(), None).is_empty());
    }

    #[test]
    fn what_was_attempted_is_told() {
        let check = |text: &'static str, certificate: bool, expected: &str| {
            assert_eq!(attempted(&headers(&[(&AUTHORIZATION, text)]), certificate), expected);
        };
        check("Bearer x", false, "Authentication failed, attempted: bearer");
        check("Basic x", true, "Authentication failed, attempted: basic, x509");
        check("", false, "Authentication failed, no credentials provided");
    }
}
