//! The one pipeline: decode → default → admit → validate → store → encode, for every kind.

pub(crate) mod allocate;
pub(crate) mod call;
mod chunks;
pub(crate) mod codec;
pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod labels;
pub(crate) mod list;
pub(crate) mod listed;
pub(crate) mod metadata;
pub(crate) mod options;
pub(crate) mod paging;
pub(crate) mod patch;
pub(crate) mod protobuf;
pub(crate) mod recent;
pub(crate) mod respond;
pub(crate) mod select;
pub(crate) mod terms;
pub(crate) mod update;
pub(crate) mod versions;
pub(crate) mod watch;
mod withdrawal;
pub(crate) mod yaml;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value;
use skiff_machinery::{Object, Verb};
use skiff_store::Entry;

use crate::admission;
use crate::errors::ApiError;
use crate::http::body::Body;
use call::Call;
use list::Selected;
use update::Part;

/// What a request came to.
pub(crate) struct Outcome {
    pub(crate) status: StatusCode,
    pub(crate) content: Content,
}

/// What is sent.
pub(crate) enum Content {
    /// A stored object.
    Entry(Entry),
    /// An object of the call's kind that is not stored: a dry run's, or the last state of a deleted one.
    Object(Object),
    /// A list.
    List(Selected),
    /// Anything else, sent as it is: a Status, a Scale, a review.
    Tree(Value),
}

impl Outcome {
    /// A stored object.
    pub(crate) fn entry(status: StatusCode, entry: Entry) -> Self {
        Self { status, content: Content::Entry(entry) }
    }

    /// An object that is not stored.
    pub(crate) fn object(status: StatusCode, object: Object) -> Self {
        Self { status, content: Content::Object(object) }
    }

    /// A list.
    pub(crate) fn list(selected: Selected) -> Self {
        Self { status: StatusCode::OK, content: Content::List(selected) }
    }

    /// A Status, or an object of another kind than the call's.
    pub(crate) fn status(status: StatusCode, value: Value) -> Self {
        Self { status, content: Content::Tree(value) }
    }
}

/// Whether a GET may be answered with the newest state: its `resourceVersion` must not be of the future.
fn check_revision(call: &Call) -> Result<(), ApiError> {
    let requested = paging::parse_revision(call.query.get("resourceVersion"))
        .map_err(|error| ApiError::Unclassified(error.to_string()))?;
    let Some(requested) = requested else { return Ok(()) };
    let current = call.server.store.revision();
    if requested > current {
        return Err(ApiError::FutureRevision { requested, current });
    }
    Ok(())
}

/// A request that was carried out.
pub(crate) enum Done {
    /// Its answer goes on for as long as somebody listens.
    Stream(Response<Body>),
    /// Its answer is still to be written.
    Outcome(Box<Call>, Outcome),
}

/// Carries out a request for objects (not for their subresources).
pub(crate) async fn run(call: Call, verb: Verb, body: Bytes) -> Result<Done, ApiError> {
    if !call.kind.offers(verb) || (verb == Verb::Create && !call.path.name.is_empty()) {
        return Err(ApiError::MethodNotAllowed);
    }
    if verb == Verb::Watch {
        let encoding = call.encoding;
        return Ok(Done::Stream(respond::stream(encoding, watch::watch(call).await?)));
    }
    let outcome = match verb {
        Verb::Create => create::create(&call, &body).await,
        Verb::Get => {
            check_revision(&call)?;
            Ok(Outcome::entry(StatusCode::OK, call.entry().await?))
        }
        Verb::List => list::list(&call).await,
        Verb::Update => update::update(&call, Part::Whole, &body).await,
        Verb::Patch => patch::patch(&call, Part::Whole, &body).await,
        Verb::Delete => delete::delete(&call, &body).await,
        Verb::DeleteCollection => delete::delete_collection(&call, &body).await,
        Verb::Watch => unreachable!("answered above"),
    }?;
    if !matches!(verb, Verb::Get | Verb::List) {
        admission::settle(&call).await;
    }
    Ok(Done::Outcome(Box::new(call), outcome))
}
