//! What a request to the kubelet API is for, as the API server's rules name it: a verb on a subresource of this Node.

use http::Method;

/// A verb and the subresources of the Node each of which suffices, the narrower one first (KEP-2862).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) verb: &'static str,
    pub(crate) subresources: &'static [&'static str],
}

impl Wanted {
    /// What `method` on `path` is.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let verb = match *method {
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        };
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let subresources: &[&str] = match first {
            "stats" => &["stats"],
            "metrics" => &["metrics"],
            "logs" => &["log"],
            "healthz" => &["healthz", "proxy"],
            "pods" | "runningpods" => &["pods", "proxy"],
            "configz" => &["configz", "proxy"],
            _ => &["proxy"],
        };
        Self { verb, subresources }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_subresources() {
        let check = |method: Method, path: &str, verb: &str, subresources: &[&str]| {
            let wanted = Wanted::of(&method, path);
            assert_eq!((wanted.verb, wanted.subresources), (verb, subresources), "{method} {path}");
        };
        check(Method::GET, "/stats/summary", "get", &["stats"]);
        check(Method::GET, "/metrics", "get", &["metrics"]);
        check(Method::GET, "/metrics/cadvisor", "get", &["metrics"]);
        check(Method::GET, "/metricsx", "get", &["proxy"]);
        check(Method::GET, "/logs/", "get", &["log"]);
        check(Method::GET, "/healthz/ping", "get", &["healthz", "proxy"]);
        check(Method::GET, "/pods", "get", &["pods", "proxy"]);
        check(Method::GET, "/configz", "get", &["configz", "proxy"]);
        check(Method::POST, "/exec/ns/p/c", "create", &["proxy"]);
        check(Method::PUT, "/", "update", &["proxy"]);
        check(Method::HEAD, "/stats/summary", "", &["stats"]);
    }
}
