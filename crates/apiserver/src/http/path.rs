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

fn segments(path: &str) -> Vec<Segment> {
    let mut out = Vec::new();
    let mut start = 0;
    for raw in path.split('/') {
        let end = start + raw.len();
        if !raw.is_empty() {
            out.push(Segment { text: percent_decode_str(raw).decode_utf8_lossy().into_owned(), end });
        }
        start = end + 1;
    }
    out
}

impl RequestInfo {
    /// Splits a path; segments are percent-decoded.
    pub(crate) fn parse(path: &str) -> Self {
        let segments = segments(path);
        let text = |i: usize| segments.get(i).map_or("", |segment: &Segment| segment.text.as_str());
        let (group, at) = match text(0) {
            "api" => ("", 1),
            "apis" => (text(1), 2),
            _ => return Self::NonResource,
        };
        let below = segments.get(at + 1..).unwrap_or_default();
        let base =
            ResourcePath { group: group.to_owned(), version: text(at).to_owned(), ..Default::default() };
        match below {
            [] => Self::NonResource,
            [watch, rest @ ..] if watch.text == "watch" && !rest.is_empty() => {
                Self::Resource(ResourcePath { watch_prefix: true, ..base.below(path, rest) })
            }
            below => Self::Resource(base.below(path, below)),
        }
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
                Self { namespace: namespace.text.clone(), ..self.object(path, rest) }
            }
            other => self.object(path, other),
        }
    }

    fn object(self, path: &str, segments: &[Segment]) -> Self {
        let part = |i: usize| segments.get(i).map(|segment| segment.text.clone()).unwrap_or_default();
        let tail = segments.get(2).and_then(|subresource| path.get(subresource.end..)).unwrap_or_default();
        Self { resource: part(0), name: part(1), subresource: part(2), tail: tail.to_owned(), ..self }
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
        check("/api/v1//namespaces/a/pods/p/proxy/", ["", "v1", "a", "pods", "p", "proxy", "/"]);
        check("/api/v1/nodes/n/proxy/logs/", ["", "v1", "", "nodes", "n", "proxy", "/logs/"]);
        check("/apis/g.io/v2/namespaces/a/things", ["g.io", "v2", "a", "things", "", "", ""]);
        check("/apis/g.io/v2/things/n%2Fm/status", ["g.io", "v2", "", "things", "n/m", "status", ""]);
    }

    #[test]
    fn discovery_and_others_are_no_resources() {
        for path in
            ["/", "/api", "/api/v1", "/apis", "/apis/g", "/apis/g/v1", "/healthz", "/openapi/v3/api/v1"]
        {
            assert_eq!(RequestInfo::parse(path), RequestInfo::NonResource, "{path}");
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

    proptest::proptest! {
        #[test]
        fn any_path_is_parsed(path in "(/(api|apis|v1|namespaces|watch|proxy|status|%[0-9a-f]{0,2}|\\PC{0,3})){0,9}") {
            if let RequestInfo::Resource(found) = RequestInfo::parse(&path) {
                proptest::prop_assert!(!found.resource.is_empty());
                proptest::prop_assert!(path.ends_with(&found.tail));
            }
        }
    }
}
