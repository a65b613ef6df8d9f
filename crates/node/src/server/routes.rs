//! Finds the handler of a request.

use super::configz::configz;
use super::identity::Identity;
use super::respond::{Body, Refusal, json, redirect, text};
use super::wanted::Wanted;
use super::{Context, command, forward, logs, numbers, pods, system_logs};
use http::{Method, Request, Response};
use percent_encoding::percent_decode_str;
use skiff_listener::{Exchange, Outcome, Peer, RequestBody, report};

/// The query of a request, decoded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
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
pub(crate) async fn answer(context: &Context, peer: &Peer, request: Request<RequestBody>) -> Response<Body> {
    let identity = Identity::of(peer.certificate.as_ref(), request.headers());
    let wanted = Wanted::of(request.method(), request.uri().path());
    if let Err(refusal) = context.access.check(identity, &wanted).await {
        return refusal.into();
    }
    peer.known();
    route(context, request).await.unwrap_or_else(Into::into)
}

async fn route(context: &Context, request: Request<RequestBody>) -> Result<Response<Body>, Refusal> {
    if matches!(first_segment(&request), "exec" | "attach" | "portForward" | "containerLogs" | "logs") {
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
    match parts.as_slice() {
        ["healthz"] if reads => Ok(health(context, &query)),
        ["healthz", name] if reads => one_check(context, name),
        ["pods"] if reads => Ok(pods::list(context)),
        ["configz"] if reads => Ok(json(configz(&context.shared.config).to_string().into_bytes())),
        ["stats", "summary"] if upgrades => numbers::summary(context, &query).await,
        ["metrics"] if reads => numbers::own(context).await,
        ["metrics", "resource"] if reads => Ok(numbers::resource(context).await),
        ["metrics", "cadvisor"] if reads => numbers::cadvisor(context).await,
        ["metrics", "probes"] if reads => Ok(numbers::probes(context)),
        ["logs"] if reads && !path.ends_with('/') => Ok(redirect("/logs/")),
        ["logs", ..] if reads => {
            let path = percent_decode_str(&path).decode_utf8_lossy().into_owned();
            system_logs::serve(path.trim_start_matches('/').trim_start_matches("logs").to_owned()).await
        }
        ["containerLogs", namespace, pod, container] if reads => {
            logs::serve(context, (namespace, pod, container), &query).await
        }
        ["exec", namespace, pod, container] if upgrades => {
            command::exec(context, (namespace, pod, container), &query, request).await
        }
        ["attach", namespace, pod, container] if upgrades => {
            command::attach(context, (namespace, pod, container), &query, request).await
        }
        ["portForward", namespace, pod] if upgrades => {
            forward::serve(context, (namespace, pod), &query, request).await
        }
        _ => Err(Refusal::not_found("404 page not found")),
    }
}

/// The endpoint's name in its own answers.
const HEALTHZ: &str = "healthz";

fn outcomes(context: &Context) -> Vec<Outcome> {
    let fine = |name| Outcome::of(name, Ok(()));
    [vec![fine("ping"), fine("log")], context.checks.results(HEALTHZ)].concat()
}

fn health(context: &Context, query: &Query) -> Response<Body> {
    let excluded = query.all("exclude");
    let excluded: Vec<&str> = excluded.iter().map(String::as_str).collect();
    let (status, answer) = report(HEALTHZ, &outcomes(context), &excluded, query.get("verbose").is_some());
    text(status, answer)
}

fn one_check(context: &Context, name: &str) -> Result<Response<Body>, Refusal> {
    let outcome = outcomes(context).into_iter().find(|outcome| outcome.name == name);
    let (status, answer) = outcome.ok_or_else(|| Refusal::not_found("404 page not found"))?.alone();
    Ok(text(status, answer))
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
