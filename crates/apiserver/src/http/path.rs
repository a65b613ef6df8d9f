//! What a URL asks for.

use http::Method;
use percent_encoding::percent_decode_str;
use skiff_catalogue::Verb;

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
    /// What follows the subresource (`proxy` only), without the slash before it.
    pub(crate) rest: String,
    /// The deprecated `/api/v1/watch/…` form.
    pub(crate) watch_prefix: bool,
}

impl RequestInfo {
    /// Splits a path; segments are percent-decoded.
    pub(crate) fn parse(path: &str) -> Self {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let (group, version, below) = match segments.as_slice() {
            [api, version, below @ ..] if api == "api" => ("", version, below),
            [apis, group, version, below @ ..] if apis == "apis" => (group.as_str(), version, below),
            _ => return Self::NonResource,
        };
        let base = ResourcePath { group: group.to_owned(), version: version.clone(), ..Default::default() };
        match below {
            [] => Self::NonResource,
            [watch, rest @ ..] if watch == "watch" && !rest.is_empty() => {
                Self::Resource(ResourcePath { watch_prefix: true, ..base.below(rest) })
            }
            below => Self::Resource(base.below(below)),
        }
    }
}

impl ResourcePath {
    /// Fills in what follows the version.
    fn below(self, segments: &[String]) -> Self {
        match segments {
            [ns, name] if ns == "namespaces" => Self { namespace: name.clone(), ..self.object(segments) },
            [ns, name, sub, ..] if ns == "namespaces" && (sub == "status" || sub == "finalize") => {
                Self { namespace: name.clone(), ..self.object(segments) }
            }
            [ns, namespace, rest @ ..] if ns == "namespaces" && !rest.is_empty() => {
                Self { namespace: namespace.clone(), ..self.object(rest) }
            }
            other => self.object(other),
        }
    }

    fn object(self, segments: &[String]) -> Self {
        let part = |i: usize| segments.get(i).cloned().unwrap_or_default();
        let rest = segments.get(3..).unwrap_or_default().join("/");
        Self { resource: part(0), name: part(1), subresource: part(2), rest, ..self }
    }

    /// The verb for a method; `watch` is the query parameter.
    pub(crate) fn verb(&self, method: &Method, watch: bool) -> Option<Verb> {
        let whole = self.name.is_empty();
        match *method {
            Method::GET | Method::HEAD if whole && (watch || self.watch_prefix) => Some(Verb::Watch),
            Method::GET | Method::HEAD if self.watch_prefix => Some(Verb::Watch),
            Method::GET | Method::HEAD if whole => Some(Verb::List),
            Method::GET | Method::HEAD => Some(Verb::Get),
            Method::POST => Some(Verb::Create),
            Method::PUT => Some(Verb::Update),
            Method::PATCH => Some(Verb::Patch),
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
            let ResourcePath { group, version, namespace, resource, name, subresource, rest, .. } = found;
            assert_eq!(
                [&*group, &version, &namespace, &resource, &name, &subresource, &rest],
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
            ["", "v1", "a", "services", "s:80", "proxy", "x/y"],
        );
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
}
