//! What is counted of requests, under Kubernetes' names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use skiff_exposition::{Counters, Exposed, Family, Gauges, Held, Histogram, Histograms};

use super::body::{self, Body};

/// In seconds.
const DURATIONS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
const QUICK: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];
/// In bytes.
const RESPONSES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const EVENTS: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];
/// In seconds: from one that is over to a year.
const EXPIRATIONS: &[f64] = &[
    0.0,
    1800.0,
    3600.0,
    7200.0,
    21600.0,
    43200.0,
    86400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];

static REQUESTS: Counters<9> = Family::counters(
    "apiserver_request_total",
    "Requests by what they were for and what was answered.",
    ["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"],
);
static TOOK: Histograms<8> = Family::histograms(
    "apiserver_request_duration_seconds",
    "Time from request to the start of the answer.",
    ["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"],
    DURATIONS,
);
static TOOK_OURS: Histograms<7> = Family::histograms(
    "apiserver_request_sli_duration_seconds",
    "The same without the time for which requests waited for seats and for webhooks.",
    ["verb", "group", "version", "resource", "subresource", "scope", "component"],
    DURATIONS,
);
static IN_FLIGHT: Gauges<1> =
    Family::gauges("apiserver_current_inflight_requests", "Requests that are worked on.", ["request_kind"]);
static LASTING: Gauges<7> = Family::gauges(
    "apiserver_longrunning_requests",
    "Watches and streams that are open.",
    ["verb", "group", "version", "resource", "subresource", "scope", "component"],
);
static RESPONSE_SIZES: Histograms<7> = Family::histograms(
    "apiserver_response_sizes",
    "Bytes of answers to reads.",
    ["verb", "group", "version", "resource", "subresource", "scope", "component"],
    RESPONSES,
);
/// Told by watches, of each kind.
pub(crate) static WATCH_EVENTS: Counters<3> = Family::counters(
    "apiserver_watch_events_total",
    "Events told to watches.",
    ["group", "version", "resource"],
);
pub(crate) static WATCH_EVENT_SIZES: Histograms<3> = Family::histograms(
    "apiserver_watch_events_sizes",
    "Bytes of events told to watches.",
    ["group", "version", "resource"],
    EVENTS,
);
static AUTHENTICATIONS: Counters<1> =
    Family::counters("authentication_attempts", "Attempts to say who asks.", ["result"]);
static AUTHENTICATED: Counters<1> = Family::counters(
    "authenticated_user_requests",
    "Requests of users; those of other names are other.",
    ["username"],
);
static AUTHENTICATION_TOOK: Histograms<1> =
    Family::histograms("authentication_duration_seconds", "Time to find out who asks.", ["result"], QUICK);
static AUTHORIZATIONS: Counters<1> =
    Family::counters("authorization_attempts_total", "Decisions whether a request may go on.", ["result"]);
static AUTHORIZATION_TOOK: Histograms<1> = Family::histograms(
    "authorization_duration_seconds",
    "Time to decide whether a request may go on.",
    ["result"],
    QUICK,
);
static CERTIFICATES: Histograms<0> = Family::histograms(
    "apiserver_client_certificate_expiration_seconds",
    "For how long the certificate of a connection's client is still good.",
    [],
    EXPIRATIONS,
);
static INSIDE: Counters<3> = Family::counters(
    "rest_client_requests_total",
    "Requests of the parts of this process to its own API server.",
    ["code", "method", "host"],
);
static INSIDE_TOOK: Histograms<2> = Family::histograms(
    "rest_client_request_duration_seconds",
    "Time until such a request is answered.",
    ["verb", "host"],
    DURATIONS,
);

/// The families of requests.
pub(crate) static FAMILIES: &[&dyn Exposed] = &[
    &REQUESTS,
    &TOOK,
    &TOOK_OURS,
    &IN_FLIGHT,
    &LASTING,
    &RESPONSE_SIZES,
    &WATCH_EVENTS,
    &WATCH_EVENT_SIZES,
    &AUTHENTICATIONS,
    &AUTHENTICATED,
    &AUTHENTICATION_TOOK,
    &AUTHORIZATIONS,
    &AUTHORIZATION_TOOK,
    &CERTIFICATES,
    &INSIDE,
    &INSIDE_TOOK,
];

const COMPONENT: &str = "apiserver";

/// What a request is for. Only of what exists, so that clients cannot make up labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) verb: &'static str,
    pub(crate) dry_run: bool,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: &'static str,
    pub(crate) scope: &'static str,
}

tokio::task_local! {
    /// For how many nanoseconds the request of this task waited for others.
    static WAITED: Arc<AtomicU64>;
}

/// Runs a request; also tells for how long it waited for others.
pub(crate) async fn waits<F: Future>(request: F) -> (F::Output, Duration) {
    let waited = Arc::new(AtomicU64::new(0));
    let output = WAITED.scope(Arc::clone(&waited), request).await;
    (output, Duration::from_nanos(waited.load(Ordering::Relaxed)))
}

/// The request of this task waited for others.
pub(crate) fn waited(time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // What is not done for a request counts nowhere.
    WAITED.try_with(|waited| waited.fetch_add(nanoseconds, Ordering::Relaxed)).ok();
}

impl Asked {
    fn labels(&self) -> [&str; 7] {
        let Self { verb, group, version, resource, subresource, scope, .. } = self;
        [verb, group, version, resource, subresource, scope, COMPONENT]
    }

    /// Counts the answer, which came after this time; it lasts, or waited for others for so long.
    pub(crate) fn answered(&self, code: StatusCode, took: Duration, waited: Duration, lasts: bool) {
        let [verb, group, version, resource, subresource, scope, component] = self.labels();
        let dry_run = if self.dry_run { "All" } else { "" };
        let labels = [verb, dry_run, group, version, resource, subresource, scope, component];
        let [a, b, c, d, e, f, g, h] = labels;
        REQUESTS.of([a, b, c, d, e, f, g, h, code.as_str()]).add(1);
        TOOK.of(labels).observe(took.as_secs_f64());
        if !lasts {
            TOOK_OURS.of(self.labels()).observe(took.saturating_sub(waited).as_secs_f64());
        }
    }

    /// The same for whoever asked in this process: a controller, the scheduler or the node agent.
    pub(crate) fn answered_inside(&self, code: StatusCode, took: Duration) {
        const HOST: &str = "in-process";
        let method = match self.verb {
            "LIST" | "WATCH" | "CONNECT" => "GET",
            "APPLY" => "PATCH",
            "DELETECOLLECTION" => "DELETE",
            other => other,
        };
        INSIDE.of([code.as_str(), method, HOST]).add(1);
        INSIDE_TOOK.of([method, HOST]).observe(took.as_secs_f64());
    }

    /// The request is worked on for as long as what is returned lives.
    pub(crate) fn in_flight(&self) -> Held {
        let reads = matches!(self.verb, "GET" | "LIST");
        IN_FLIGHT.of([if reads { "readOnly" } else { "mutating" }]).hold(1)
    }

    /// The request lasts for as long as what is returned lives.
    pub(crate) fn lasts(&self) -> Held {
        LASTING.of(self.labels()).hold(1)
    }

    /// The body of the answer, whose size is counted when it has been sent or given up, if it is one to a read.
    pub(crate) fn measured(&self, body: Body) -> Body {
        if self.resource.is_empty() || !matches!(self.verb, "GET" | "LIST") {
            return body;
        }
        let mut size = Size { histogram: RESPONSE_SIZES.of(self.labels()), bytes: 0.0 };
        body::seeing(body, move |data| size.add(data.len()))
    }
}

/// Counts an attempt to find out who asks, which named this user.
pub(crate) fn authenticated(user: Option<&str>, took: Duration) {
    let result = if user.is_some() { "success" } else { "error" };
    AUTHENTICATIONS.of([result]).add(1);
    AUTHENTICATION_TOOK.of([result]).observe(took.as_secs_f64());
    if let Some(user) = user {
        AUTHENTICATED.of([compressed(user)]).add(1);
    }
}

/// A user as a label, as Kubernetes shortens it.
fn compressed(user: &str) -> &'static str {
    const KNOWN: [&str; 5] =
        ["admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"];
    KNOWN.into_iter().find(|known| *known == user).unwrap_or("other")
}

/// A client came whose certificate ends then, in seconds since 1970.
pub(crate) fn connected(end: i64) {
    let left = end.saturating_sub(jiff::Timestamp::now().as_second());
    CERTIFICATES.of([]).observe(f64::from(i32::try_from(left).unwrap_or(i32::MAX)));
}

/// Counts a decision whether a request may go on.
pub(crate) fn authorized(allowed: bool, took: Duration) {
    let result = if allowed { "allowed" } else { "denied" };
    AUTHORIZATIONS.of([result]).add(1);
    AUTHORIZATION_TOOK.of([result]).observe(took.as_secs_f64());
}

/// How much of an answer has been sent.
struct Size {
    histogram: Arc<Histogram>,
    bytes: f64,
}

impl Size {
    fn add(&mut self, bytes: usize) {
        self.bytes += f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

impl Drop for Size {
    fn drop(&mut self) {
        self.histogram.observe(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            verb: "LIST",
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            scope: "namespace",
            ..Asked::default()
        }
    }

    #[tokio::test]
    async fn requests_are_counted_under_kubernetes_names() {
        use http_body_util::BodyExt as _;
        let asked = asked();
        let ((), waited) = waits(async { waited(Duration::from_millis(40)) }).await;
        asked.answered(StatusCode::OK, Duration::from_millis(60), waited, false);
        let (in_flight, lasts) = (asked.in_flight(), asked.lasts());
        asked.measured(body::full("twelve bytes")).collect().await.unwrap();
        let text = skiff_exposition::text(FAMILIES);
        let check = |line: &str| assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        let labels =
            r#"group="",version="v1",resource="pods",subresource="",scope="namespace",component="apiserver""#;
        check(&format!(r#"apiserver_request_total{{verb="LIST",dry_run="",{labels},code="200"}} 1"#));
        let bucket = |name: &str, verb: &str, bound: &str, count: u32| {
            check(&format!(r#"{name}_bucket{{{verb},{labels},le="{bound}"}} {count}"#));
        };
        bucket("apiserver_request_duration_seconds", r#"verb="LIST",dry_run="""#, "0.05", 0);
        bucket("apiserver_request_duration_seconds", r#"verb="LIST",dry_run="""#, "0.1", 1);
        bucket("apiserver_request_sli_duration_seconds", r#"verb="LIST""#, "0.025", 1);
        check(&format!(r#"apiserver_response_sizes_sum{{verb="LIST",{labels}}} 12"#));
        check(&format!(r#"apiserver_longrunning_requests{{verb="LIST",{labels}}} 1"#));
        check(r#"apiserver_current_inflight_requests{request_kind="readOnly"} 1"#);
        drop((in_flight, lasts));
        let text = skiff_exposition::text(FAMILIES);
        assert!(text.contains(r#"apiserver_current_inflight_requests{request_kind="readOnly"} 0"#), "{text}");
    }
}
