//! Requests for objects: what a URL asks of which kind, and the way to the pipeline.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use skiff_machinery::{Kind, Scope, Subresource, Verb, go};
use skiff_registry::{ApiError, Call, Offer as _, Outcome, Place, Subject, options_kind, run};
use tokio::time::timeout_at;

use super::exchange::{Admitted, Exchange};
use crate::answer::asked::Asked;
use crate::answer::{respond, watch};
use crate::http::accept::{Encoding, Offered, Route};
use crate::http::body::{self, Body};
use crate::http::path::ResourcePath;
use crate::subresources::connect;

impl Exchange {
    pub(super) async fn resource(
        self,
        admitted: Admitted,
        path: ResourcePath,
        request: Request<Body>,
    ) -> Result<Response<Body>, ApiError> {
        self.authorize_resource(&admitted.user, &path).await?;
        let kind = self.newest_kind(&path).await?;
        let (subject, word) = (Subject::new(&kind, ""), self.word(&path));
        let (is_typed, is_whole) = (kind.strategy.is_typed(), path.name.is_empty());
        let answer = self.object(admitted, (path, kind), request).await;
        answer.map_err(|error| match error {
            // Of custom kinds it is their handler who refuses.
            ApiError::MethodNotAllowed if !is_typed && matches!(word, "update" | "patch") && is_whole => {
                ApiError::BadRequest("name must be provided".to_owned())
            }
            ApiError::MethodNotAllowed if !is_typed => ApiError::NotSupported { subject, verb: word },
            other => other,
        })
    }

    /// The kind at a path, also if it came to be just now.
    async fn newest_kind(&self, path: &ResourcePath) -> Result<Arc<Kind>, ApiError> {
        if let Some(kind) = self.kind(path) {
            return Ok(kind);
        }
        self.server.registry.catch_up().await;
        self.kind(path).ok_or_else(|| self.unknown(path))
    }

    async fn object(
        self,
        admitted: Admitted,
        (path, kind): (ResourcePath, Arc<Kind>),
        request: Request<Body>,
    ) -> Result<Response<Body>, ApiError> {
        check_place(&kind, &path)?;
        let verb = self.verb().ok_or(ApiError::MethodNotAllowed)?;
        check_scope(&kind, &path, verb)?;
        let subresource = subresource(&kind, &path)?;
        check_segment(&path.name)?;
        if let Some(text) = &kind.deprecation {
            self.warnings.lock().add(text.to_string());
        }
        let server = self.server.clone();
        let asked = self.asked(admitted, kind, (path, verb), request.headers(), subresource)?;
        match subresource {
            Some(subresource) if subresource.connects() => {
                connect::connect(&server.nodes, &asked.call, subresource, request).await
            }
            None if verb == Verb::Watch => watch::watch(asked, server.shutdown.clone()).await,
            _ => answered(asked, request).await,
        }
    }

    fn asked(
        self,
        Admitted { user, share, seat }: Admitted,
        kind: Arc<Kind>,
        (path, verb): (ResourcePath, Verb),
        headers: &HeaderMap,
        subresource: Option<Subresource>,
    ) -> Result<Asked, ApiError> {
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let content_type = media_type(text(CONTENT_TYPE), verb);
        let offered = |subresource| Offered {
            tables: kind.has_table(subresource),
            // A Scale is of Kubernetes' own types, whatever it is of.
            protobuf: kind.strategy.is_typed() || subresource == Some(Subresource::Scale),
            route: route(&kind, verb),
        };
        let encoding = match subresource {
            Some(Subresource::Log) => Route::Log.check(headers).map(|()| Encoding::JSON)?,
            Some(subresource) if subresource.connects() => Encoding::JSON,
            _ if verb == Verb::Watch => Encoding::negotiate(headers, offered(None))?.of_watch()?,
            subresource => Encoding::negotiate(headers, offered(subresource))?,
        };
        if matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
            self.query.number("timeoutSeconds")?;
        }
        let most = self.server.limits.request;
        let until = self.started + self.query.timeout()?.map_or(most, |wanted| wanted.min(most));
        // Of deletions the options say whether they are dry runs, which may be in the body.
        let writes = matches!(verb, Verb::Create | Verb::Update | Verb::Patch);
        if writes {
            self.query.check_writer(options_kind(verb), content_type == "application/apply-patch+yaml")?;
        }
        let dry_run = writes && self.query.is_dry_run();
        let record = self.record();
        let call = Call {
            user,
            verb,
            kind,
            catalogue: self.server.offers.catalogue(),
            path: Place { namespace: path.namespace, name: path.name, tail: path.tail },
            subresource,
            query: self.query,
            content_type,
            agent: text(USER_AGENT).to_owned(),
            dry_run,
            now: Timestamp::now(),
            record,
            warnings: self.warnings,
        };
        Ok(Asked { answers: self.server.answers.clone(), call: Arc::new(call), encoding, share, until, seat })
    }
}

/// By what a request is found that is for objects of the kind.
fn route(kind: &Kind, verb: Verb) -> Route {
    match verb {
        _ if !kind.strategy.is_typed() => Route::None,
        Verb::List | Verb::Watch => Route::Collection,
        _ => Route::Object,
    }
}

/// What a `Content-Type` says without its parameters; all of it where those have no form. Patches are told apart letter by letter.
fn media_type(text: &str, verb: Verb) -> String {
    let (ty, parameters) = text.split_once(';').unwrap_or((text, ""));
    if verb == Verb::Patch {
        return ty.trim().to_owned();
    }
    let has_form = |parameter: &str| parameter.trim().is_empty() || parameter.contains('=');
    let ty = if parameters.split(';').all(has_form) { ty } else { text };
    ty.trim().to_ascii_lowercase()
}

/// Where objects of Kubernetes' own kinds are not, whatever the method: those that are answered at once have no places of their own,
/// and below a subresource there is nothing but what a proxy leads to.
fn check_place(kind: &Kind, path: &ResourcePath) -> Result<(), ApiError> {
    if !kind.strategy.is_typed() {
        return Ok(());
    }
    let has_tail = !path.tail.trim_matches('/').is_empty() && path.subresource != "proxy";
    let is_nowhere = !kind.persistence.has_objects()
        && (!path.name.is_empty() || kind.is_namespaced() && path.namespace.is_empty());
    let is_wrong = has_tail || is_nowhere && !path.nameless_namespace;
    if is_wrong { Err(ApiError::UnknownPath) } else { subresource(kind, path).map(drop) }
}

/// Refuses names that are no segment of a path.
fn check_segment(name: &str) -> Result<(), ApiError> {
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        name => {
            let wrong = ["/", "%"].into_iter().filter(|part| name.contains(part));
            let all: Vec<String> = wrong.map(|part| format!("may not contain '{part}'")).collect();
            all.join(", ")
        }
    };
    if why.is_empty() {
        return Ok(());
    }
    Err(ApiError::BadRequest(format!("Name parameter invalid: {}: {why}", go::quoted(name))))
}

fn subresource(kind: &Kind, path: &ResourcePath) -> Result<Option<Subresource>, ApiError> {
    if path.subresource.is_empty() {
        return Ok(None);
    }
    let known = kind.subresources.iter().copied().find(|known| known.as_str() == path.subresource);
    known.map(Some).ok_or_else(|| no_subresource(kind, path))
}

/// A kind has no such subresource; custom kinds are said not to have the object.
fn no_subresource(kind: &Kind, path: &ResourcePath) -> ApiError {
    if kind.strategy.is_typed() {
        return ApiError::UnknownPath;
    }
    ApiError::NotFound(Subject::new(kind, path.name.as_str()))
}

/// Refuses URLs that do not fit the kind's scope.
fn check_scope(kind: &Kind, path: &ResourcePath, verb: Verb) -> Result<(), ApiError> {
    let in_namespace = !path.namespace.is_empty();
    let is_misplaced = match kind.scope {
        Scope::Cluster => in_namespace && (kind.names.plural != "namespaces" || path.name != path.namespace),
        Scope::Namespaced => !in_namespace && !matches!(verb, Verb::List | Verb::Watch),
    };
    if is_misplaced && !kind.strategy.is_typed() {
        return Err(ApiError::NoSuchPage);
    }
    if path.name.is_empty() && !path.subresource.is_empty() {
        return Err(ApiError::BadRequest("name must be provided".to_owned()));
    }
    match kind.scope {
        Scope::Namespaced if is_misplaced && path.nameless_namespace => {
            Err(ApiError::BadRequest("Namespace parameter required.".to_owned()))
        }
        Scope::Cluster if is_misplaced => Err(ApiError::UnknownPath),
        Scope::Namespaced if !in_namespace && !path.name.is_empty() => Err(ApiError::UnknownPath),
        Scope::Namespaced if !in_namespace && !matches!(verb, Verb::List | Verb::Watch) => {
            Err(ApiError::MethodNotAllowed)
        }
        _ => Ok(()),
    }
}

/// Carries out what the registry answers, and writes what it comes to.
async fn answered(asked: Asked, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let outcome = timeout_at(asked.until, carried_out(&asked, request)).await;
    respond::respond(asked, outcome.map_err(|_| ApiError::Overdue)??).await
}

async fn carried_out(asked: &Asked, request: Request<Body>) -> Result<Outcome, ApiError> {
    let bytes = match asked.call.verb {
        Verb::Get | Verb::List | Verb::Watch => Bytes::new(),
        _ => body::read(request.into_body()).await?,
    };
    let (answers, call) = (asked.answers.clone(), asked.call.clone());
    let size = match call.verb {
        Verb::List => skiff_registry::list_work(&answers.registry, &call),
        _ => bytes.len(),
    };
    let work = async move { run(&answers.registry, &call, &bytes).await };
    asked.answers.aside.run(size, work).await
}
