//! Finds the handler of a request.

use super::identity::Identity;
use super::respond::{Body, Refusal, text};
use super::{Context, command, forward, logs, pods};
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use skiff_listener::{Exchange, RequestBody};

/// The query of a request, decoded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let decode =
            |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// The first value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Every value of `key`, in order.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.pairs().filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).collect()
    }

    /// Every pair, in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Answers one request.
pub(crate) async fn answer(
    context: &Context,
    identity: &Identity,
    request: Request<RequestBody>,
) -> Response<Body> {
    match identity {
        Identity::Anonymous => return text(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Identity::Certified { name, .. } if !identity.is_allowed() => {
            return text(StatusCode::FORBIDDEN, format!("Forbidden (user={name})"));
        }
        Identity::Certified { .. } => {}
    }
    if matches!(first_segment(&request), "exec" | "attach" | "portForward" | "containerLogs") {
        request.extensions().get().into_iter().for_each(Exchange::lasts);
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let path = request.uri().path().to_owned();
    let segments: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let reads = request.method() == Method::GET;
    let upgrades = reads || request.method() == Method::POST;
    let result = match parts.as_slice() {
        ["healthz"] if reads => Ok(text(StatusCode::OK, "ok")),
        ["pods"] if reads => Ok(pods::list(context)),
        ["metrics"] if reads => Ok(pods::metrics(context)),
        ["containerLogs", namespace, pod, container] if reads => {
            logs::serve(context, (namespace, pod, container), &query)
        }
        ["exec", namespace, pod, container] if upgrades => {
            command::exec(context, (namespace, pod, container), &query, request)
        }
        ["attach", namespace, pod, container] if upgrades => {
            command::attach(context, (namespace, pod, container), &query, request)
        }
        ["portForward", namespace, pod] if upgrades => {
            forward::serve(context, (namespace, pod), &query, request)
        }
        _ => Err(Refusal::not_found("404 page not found")),
    };
    result.unwrap_or_else(Into::into)
}

fn first_segment(request: &Request<RequestBody>) -> &str {
    request.uri().path().split('/').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("command=a%20b&command=c+d&tty&x=%3D");
        assert_eq!(query.all("command"), ["a b", "c d"]);
        assert_eq!((query.get("tty"), query.get("x"), query.get("no")), (Some(""), Some("="), None));
    }
}
