//! What a URL asks for. Paths are parsed here and nowhere else.

use http::Method;
use percent_encoding::percent_decode_str;
use skiff_machinery::Verb;

/// A parsed URL path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestInfo {
    /// Objects: `/api/v1/…` and `/apis/GROUP/VERSION/…` with at least a resource.
    Resource(ResourcePath),
    /// Everything else.
    NonResource,
}

/// A path below a group and version. Unused parts are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    /// Whether the path has a place for a namespace and nothing in it: lists are of all namespaces then.
    pub(crate) nameless_namespace: bool,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// What follows the subresource, as sent (not decoded), with the slash before it; `proxy` passes it on.
    pub(crate) tail: String,
    /// The deprecated `/api/v1/watch/…` form.
    pub(crate) watch_prefix: bool,
}

/// A part of a path between slashes, decoded, and where it ends in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    text: String,
    end: usize,
}

/// A slash as it may be written in a path; Kubernetes looks at paths decoded, and takes it for one.
const ESCAPED_SLASH: [&str; 2] = ["%2F", "%2f"];

/// What lies between the slashes, without those at the start and at the end.
fn segments(path: &str) -> Vec<Segment> {
    let first = path.len() - path.trim_start_matches('/').len();
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut start = 0;
    let separators = trimmed.char_indices().filter_map(|(at, _)| {
        let rest = &trimmed[at..];
        let is_escaped = || rest.get(..3).is_some_and(|text| ESCAPED_SLASH.contains(&text));
        if rest.starts_with('/') { Some((at, 1)) } else { is_escaped().then_some((at, 3)) }
    });
    for (at, width) in separators.chain([(trimmed.len(), 0)]) {
        let text = percent_decode_str(&trimmed[start..at]).decode_utf8_lossy().into_owned();
        out.push(Segment { text, end: first + at });
        start = at + width;
    }
    out
}

/// Whether a path is one at all: each `%` begins a byte in two hexadecimal digits.
pub(crate) fn is_well_formed(path: &str) -> bool {
    let digits = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    path.split('%').skip(1).all(digits)
}

impl RequestInfo {
    /// Splits a path; segments are percent-decoded.
    pub(crate) fn parse(path: &str) -> Self {
        let segments = segments(path);
        let text = |i: usize| segments.get(i).map_or("", |segment: &Segment| segment.text.as_str());
        let (group, at) = match (text(0), text(1)) {
            ("api", _) => ("", 1),
            ("apis", group) if !group.is_empty() => (group, 2),
            _ => return Self::NonResource,
        };
        let below = segments.get(at + 1..).unwrap_or_default();
        let base =
            ResourcePath { group: group.to_owned(), version: text(at).to_owned(), ..Default::default() };
        let path = match below {
            [] => return Self::NonResource,
            [watch, rest @ ..] if watch.text == "watch" && !rest.is_empty() => {
                ResourcePath { watch_prefix: true, ..base.below(path, rest) }
            }
            below => base.below(path, below),
        };
        if path.resource.is_empty() { Self::NonResource } else { Self::Resource(path) }
    }
}

/// Group and version of a path that names nothing below them: `/apis/GROUP/VERSION`, or where the OpenAPI document of that is.
pub(crate) fn version(path: &str) -> Option<(String, String)> {
    let segments = segments(path);
    let texts: Vec<&str> = segments.iter().map(|segment| segment.text.as_str()).collect();
    match texts[..] {
        ["api", version] | ["openapi", "v3", "api", version] => Some((String::new(), version.to_owned())),
        ["apis", group, version] | ["openapi", "v3", "apis", group, version] => {
            Some((group.to_owned(), version.to_owned()))
        }
        _ => None,
    }
}

impl ResourcePath {
    /// Fills in what follows the version.
    fn below(self, path: &str, segments: &[Segment]) -> Self {
        let is_own = |subresource: &Segment| matches!(subresource.text.as_str(), "status" | "finalize");
        match segments {
            [namespaces, name] if namespaces.text == "namespaces" => {
                Self { namespace: name.text.clone(), ..self.object(path, segments) }
            }
            [namespaces, name, subresource, ..] if namespaces.text == "namespaces" && is_own(subresource) => {
                Self { namespace: name.text.clone(), ..self.object(path, segments) }
            }
            [namespaces, namespace, rest @ ..] if namespaces.text == "namespaces" && !rest.is_empty() => {
                Self {
                    namespace: namespace.text.clone(),
                    nameless_namespace: namespace.text.is_empty(),
                    ..self.object(path, rest)
                }
            }
            other => self.object(path, other),
        }
    }

    fn object(self, path: &str, segments: &[Segment]) -> Self {
        let part = |i: usize| segments.get(i).map(|segment| segment.text.clone()).unwrap_or_default();
        let tail = segments.get(2).and_then(|subresource| path.get(subresource.end..)).unwrap_or_default();
        let escaped = ESCAPED_SLASH.iter().find_map(|slash| tail.strip_prefix(slash));
        let tail = escaped.map_or_else(|| tail.to_owned(), |rest| format!("/{rest}"));
        Self { resource: part(0), name: part(1), subresource: part(2), tail, ..self }
    }

    /// What authorisation calls a method, also one that nothing is served by; `watch` is the query parameter.
    pub(crate) fn word(&self, method: &Method, watch: bool) -> &'static str {
        let whole = self.name.is_empty();
        match *method {
            _ if self.watch_prefix => "watch",
            Method::GET | Method::HEAD if whole && watch => "watch",
            Method::GET | Method::HEAD if whole => "list",
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if whole => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        }
    }

    /// The verb for a method; `watch` is the query parameter.
    pub(crate) fn verb(&self, method: &Method, watch: bool) -> Option<Verb> {
        let whole = self.name.is_empty();
        match *method {
            Method::GET if whole && (watch || self.watch_prefix) => Some(Verb::Watch),
            Method::GET if self.watch_prefix => Some(Verb::Watch),
            Method::GET if whole => Some(Verb::List),
            Method::GET => Some(Verb::Get),
            // Only proxies know them.
            Method::HEAD | Method::OPTIONS if self.subresource == "proxy" => Some(Verb::Get),
            Method::POST => Some(Verb::Create),
            Method::PUT if !whole => Some(Verb::Update),
            Method::PATCH if !whole => Some(Verb::Patch),
            Method::DELETE if whole => Some(Verb::DeleteCollection),
            Method::DELETE => Some(Verb::Delete),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_resource_paths() {
        let check = |path: &str, expected: [&str; 7]| {
            let RequestInfo::Resource(found) = RequestInfo::parse(path) else {
                panic!("{path}: no resource")
            };
            let ResourcePath { group, version, namespace, resource, name, subresource, tail, .. } = found;
            assert_eq!(
                [&*group, &version, &namespace, &resource, &name, &subresource, &tail],
                expected,
                "{path}"
            );
        };
        check("/api/v1/pods", ["", "v1", "", "pods", "", "", ""]);
        check("/api/v1/namespaces", ["", "v1", "", "namespaces", "", "", ""]);
        check("/api/v1/namespaces/a", ["", "v1", "a", "namespaces", "a", "", ""]);
        check("/api/v1/namespaces/a/finalize", ["", "v1", "a", "namespaces", "a", "finalize", ""]);
        check("/api/v1/namespaces/a/pods/p/log", ["", "v1", "a", "pods", "p", "log", ""]);
        check(
            "/api/v1/namespaces/a/services/s:80/proxy/x/y",
            ["", "v1", "a", "services", "s:80", "proxy", "/x/y"],
        );
        // Whatever else has these names, a path is cut at its own subresource, and what follows stays as it was sent.
        check(
            "/api/v1/namespaces/services/services/proxy:80/proxy/services/a%2Fb//proxy/",
            ["", "v1", "services", "services", "proxy:80", "proxy", "/services/a%2Fb//proxy/"],
        );
        check("/api/v1/namespaces/a/pods/p/proxy", ["", "v1", "a", "pods", "p", "proxy", ""]);
        check("//api/v1/namespaces/a/pods/p/proxy/", ["", "v1", "a", "pods", "p", "proxy", "/"]);
        check("/api/v1/namespaces//pods", ["", "v1", "", "pods", "", "", ""]);
        check("/api//v1/pods", ["", "", "", "v1", "pods", "", ""]);
        check("/api/v1/nodes/n/proxy/logs/", ["", "v1", "", "nodes", "n", "proxy", "/logs/"]);
        check("/apis/g.io/v2/namespaces/a/things", ["g.io", "v2", "a", "things", "", "", ""]);
        // A slash is one however it is written.
        check("/apis/g.io/v2/things/n%2Fstatus", ["g.io", "v2", "", "things", "n", "status", ""]);
        check("/api/v1/namespaces/a/pods/p/proxy%2fx%2Fy", ["", "v1", "a", "pods", "p", "proxy", "/x%2Fy"]);
    }

    #[test]
    fn discovery_and_others_are_no_resources() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/g",
            "/apis/g/v1",
            "/apis//v1/pods",
            "/healthz",
            "/openapi/v3/api/v1",
        ] {
            assert_eq!(RequestInfo::parse(path), RequestInfo::NonResource, "{path}");
        }
    }

    #[test]
    fn bytes_are_written_in_two_digits() {
        for (path, right) in
            [("/", true), ("/%2f%E2%82", true), ("/%zz", false), ("/a%", false), ("/%e", false)]
        {
            assert_eq!(is_well_formed(path), right, "{path}");
        }
    }

    #[test]
    fn verb_depends_on_name_and_watch() {
        let check = |path: &str, method: Method, watch: bool, verb: Verb| {
            let RequestInfo::Resource(found) = RequestInfo::parse(path) else { panic!("{path}") };
            assert_eq!(found.verb(&method, watch), Some(verb), "{path}");
        };
        check("/api/v1/pods", Method::GET, false, Verb::List);
        check("/api/v1/pods", Method::GET, true, Verb::Watch);
        check("/api/v1/watch/pods", Method::GET, false, Verb::Watch);
        check("/api/v1/namespaces/a/pods/p", Method::GET, true, Verb::Get);
        check("/api/v1/namespaces/a/pods", Method::DELETE, false, Verb::DeleteCollection);
        check("/api/v1/namespaces/a/pods/p", Method::DELETE, false, Verb::Delete);
    }

    #[test]
    fn every_method_has_a_word() {
        let check = |path: &str, method: &str, word: &str| {
            let RequestInfo::Resource(found) = RequestInfo::parse(path) else { panic!("{path}") };
            assert_eq!(found.word(&method.parse().unwrap(), false), word, "{method} {path}");
        };
        check("/api/v1/pods", "OPTIONS", "");
        check("/api/v1/pods", "BREW", "");
        check("/api/v1/pods", "HEAD", "list");
        check("/api/v1/namespaces/a/pods/p", "HEAD", "get");
        check("/api/v1/namespaces/a/pods", "PUT", "update");
    }

    #[test]
    fn versions_have_paths_of_their_own() {
        let check = |path: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(group, version)| (group.to_owned(), version.to_owned()));
            assert_eq!(version(path), expected, "{path}");
        };
        check("/apis/a.example.com/v1", Some(("a.example.com", "v1")));
        check("/apis/a.example.com/v1/", Some(("a.example.com", "v1")));
        check("/openapi/v3/apis/a.example.com/v1", Some(("a.example.com", "v1")));
        check("/api/v1", Some(("", "v1")));
        check("/apis/a.example.com", None);
        check("/apis/a.example.com/v1/things", None);
        check("/openapi/v3", None);
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_parsed(path in "(/(api|apis|v1|namespaces|watch|proxy|status|%[0-9a-f]{0,2}|\\PC{0,3})){0,9}") {
            if let RequestInfo::Resource(found) = RequestInfo::parse(&path) {
                proptest::prop_assert!(!found.resource.is_empty());
                proptest::prop_assert!(found.tail.is_empty() || found.tail.starts_with('/'));
            }
        }
    }
}
