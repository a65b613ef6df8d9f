//! What is asked: a path below the version, and parameters. Pure.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::objects::{self, Form, Kind};
use crate::{Answer, GROUP, VERSION};

/// A request for this API, by somebody who may make it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Only `GET` has an answer.
    pub method: &'q Method,
    /// The whole path, still encoded.
    pub path: &'q str,
    /// What follows the question mark.
    pub query: &'q str,
    /// The header `Accept`.
    pub accept: &'q str,
}

/// What a path stands for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked {
    /// The resources of the version.
    Resources,
    /// The use of nodes or pods.
    Of { kind: Kind, scope: Scope },
}

/// Which ones.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Scope {
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
}

impl Question<'_> {
    /// What is asked, or why there is no answer.
    pub(crate) fn asked(&self) -> Result<Asked, Answer> {
        let below = self.path.strip_prefix(&format!("/apis/{GROUP}/{VERSION}"));
        let segments: Vec<&str> =
            below.unwrap_or("/?").split('/').skip(1).filter(|s| !s.is_empty()).collect();
        let named = |namespace: Option<&str>, name: Option<&str>| Scope {
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        let (kind, scope) = match segments[..] {
            [] => return Ok(Asked::Resources),
            ["nodes"] => (Kind::Node, Scope::default()),
            ["nodes", name] => (Kind::Node, named(None, Some(name))),
            ["pods"] => (Kind::Pod, Scope::default()),
            ["namespaces", namespace, "pods"] => (Kind::Pod, named(Some(namespace), None)),
            ["namespaces", namespace, "pods", name] => (Kind::Pod, named(Some(namespace), Some(name))),
            _ => return Err(objects::status(StatusCode::NOT_FOUND, "NotFound", NO_RESOURCE, Value::Null)),
        };
        let watch = self.parameter("watch").is_some_and(|watch| matches!(&*watch, "true" | "1" | ""));
        if *self.method != Method::GET || watch {
            let (code, reason) = (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed");
            return Err(objects::status(code, reason, NO_METHOD, Value::Null));
        }
        Ok(Asked::Of { kind, scope })
    }

    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(value))
    }

    /// Whether a table is wanted.
    pub(crate) fn form(&self) -> Form {
        // The first that can be had.
        let first = self.accept.split(',').map(str::trim).find_map(|media| {
            let mut parts = media.split(';').map(str::trim);
            let json = matches!(parts.next(), Some("application/json" | "*/*" | "application/*" | ""));
            let parameters: Vec<&str> = parts.collect();
            let table = parameters.contains(&"as=Table");
            let other = !table && parameters.iter().any(|parameter| parameter.starts_with("as="));
            (json && !other).then_some(if table { Form::Table } else { Form::Plain })
        });
        first.unwrap_or(Form::Plain)
    }
}

const NO_RESOURCE: &str = "the server could not find the requested resource";
const NO_METHOD: &str = "the server does not allow this method on the requested resource";

/// Text in a query, where `+` is a space. What is no encoding stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| *first == b'%');
        bytes.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question<'q>(method: &'q Method, path: &'q str, query: &'q str, accept: &'q str) -> Question<'q> {
        Question { method, path, query, accept }
    }

    #[test]
    fn paths_name_what_is_asked() {
        let check = |path: &str, expected: Result<(Kind, Option<&str>, Option<&str>), u16>| {
            let path = format!("/apis/metrics.k8s.io/v1beta1{path}");
            let expected = expected.map(|(kind, namespace, name)| {
                let owned = |text: Option<&str>| text.map(str::to_owned);
                Asked::Of { kind, scope: Scope { namespace: owned(namespace), name: owned(name) } }
            });
            let asked = question(&Method::GET, &path, "", "").asked();
            assert_eq!(asked.map_err(|(status, _)| status.as_u16()), expected, "{path}");
        };
        check("/nodes", Ok((Kind::Node, None, None)));
        check("/nodes/n", Ok((Kind::Node, None, Some("n"))));
        check("/pods", Ok((Kind::Pod, None, None)));
        check("/namespaces/a/pods", Ok((Kind::Pod, Some("a"), None)));
        check("/namespaces/a/pods/p", Ok((Kind::Pod, Some("a"), Some("p"))));
        check("/namespaces/a/nodes", Err(404));
        check("/nodes/n/status", Err(404));
        let path = "/apis/metrics.k8s.io/v1beta1";
        assert_eq!(question(&Method::GET, path, "", "").asked().ok(), Some(Asked::Resources));
        let path = format!("{path}/nodes");
        for (method, query) in [(Method::DELETE, ""), (Method::GET, "limit=1&watch=true")] {
            assert_eq!(question(&method, &path, query, "").asked().unwrap_err().0.as_u16(), 405);
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let asked = question(&Method::GET, "", "labelSelector=a%3Db%2Cc%20in+%28d%29&x&y=%zz", "");
        assert_eq!(asked.parameter("labelSelector").as_deref(), Some("a=b,c in (d)"));
        assert_eq!(asked.parameter("x").as_deref(), Some(""));
        assert_eq!(asked.parameter("y").as_deref(), Some("%zz"));
        assert_eq!(asked.parameter("z"), None);
    }

    #[test]
    fn a_table_is_told_to_whom_wants_it_first() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let check = |accept: &str, expected| {
            assert_eq!(question(&Method::GET, "", "", accept).form(), expected, "{accept}");
        };
        check("", Form::Plain);
        check("*/*", Form::Plain);
        check(&format!("{table},application/json"), Form::Table);
        check(&format!("application/json, {table}"), Form::Plain);
        check(
            &format!("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,{table}"),
            Form::Table,
        );
        check(
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
            Form::Plain,
        );
    }
}
