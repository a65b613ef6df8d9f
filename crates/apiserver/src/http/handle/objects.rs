//! Requests for objects: what a URL asks of which kind, and the way to the pipeline.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use skiff_machinery::{Kind, Scope, Subresource, Verb};

use super::{Admitted, Exchange};
use crate::errors::{ApiError, Subject};
use crate::http::accept::{Encoding, Offered, Route};
use crate::http::body::{self, Body};
use crate::http::path::ResourcePath;
use crate::pipeline::call::{Call, options_kind};
use crate::pipeline::{self, Done, respond};
use crate::subresources;

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
        let is_typed = kind.strategy.is_typed();
        let answer = self.object(admitted, (path, kind), request).await;
        answer.map_err(|error| match error {
            // Of custom kinds it is their handler who refuses.
            ApiError::MethodNotAllowed if !is_typed => ApiError::NotSupported { subject, verb: word },
            other => other,
        })
    }

    async fn object(
        self,
        admitted: Admitted,
        (path, kind): (ResourcePath, Arc<Kind>),
        request: Request<Body>,
    ) -> Result<Response<Body>, ApiError> {
        let verb = self.verb().ok_or(ApiError::MethodNotAllowed)?;
        check_scope(&kind, &path, verb)?;
        let subresource = match path.subresource.as_str() {
            "" => None,
            name => {
                let known = kind.subresources.iter().copied().find(|s| s.as_str() == name);
                Some(known.ok_or_else(|| no_subresource(&kind, &path))?)
            }
        };
        if let Some(text) = &kind.deprecation {
            self.warnings.lock().add(text.to_string());
        }
        let call = self.call(admitted, kind, (path, verb), request.headers(), subresource)?;
        match subresource {
            Some(subresource) => subresources::run(call, verb, subresource, request).await,
            None => objects(call, verb, request).await,
        }
    }

    fn call(
        self,
        Admitted { user, share, seat }: Admitted,
        kind: Arc<Kind>,
        (path, verb): (ResourcePath, Verb),
        headers: &HeaderMap,
        subresource: Option<Subresource>,
    ) -> Result<Call, ApiError> {
        let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let content_type = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
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
        // Of deletions the options say so, which may be in the body.
        let deletes = matches!(verb, Verb::Delete | Verb::DeleteCollection);
        let dry_run = !deletes && self.query.dry_run(options_kind(verb))?;
        self.query.number("timeoutSeconds")?;
        self.query.check_timeout()?;
        if matches!(verb, Verb::Create | Verb::Update | Verb::Patch) {
            self.query.check_writer(options_kind(verb), content_type == "application/apply-patch+yaml")?;
        }
        Ok(Call {
            server: self.server,
            user,
            share,
            seat,
            kind,
            path,
            query: self.query,
            encoding,
            content_type,
            agent: text(USER_AGENT).to_owned(),
            dry_run,
            verb,
            now: Timestamp::now(),
            warnings: self.warnings,
        })
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
        Scope::Cluster => in_namespace && kind.names.plural != "namespaces",
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

async fn objects(call: Call, verb: Verb, request: Request<Body>) -> Result<Response<Body>, ApiError> {
    let bytes = match verb {
        Verb::Get | Verb::List | Verb::Watch => Bytes::new(),
        _ => body::read(request.into_body()).await?,
    };
    let server = call.server.clone();
    match server.aside.run(bytes.len(), pipeline::run(call, verb, bytes)).await? {
        Done::Stream(response) => Ok(response),
        Done::Outcome(call, outcome) => respond::respond(*call, outcome).await,
    }
}
