//! One authorised request for objects of one kind.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use skiff_identity::UserInfo;
use skiff_machinery::{Context, Kind, Object, Scope, Verb, keys, managed::Writer};
use skiff_store::{Entry, Key};

use super::{codec, versions};
use crate::errors::{ApiError, Subject};
use crate::fairness::Seat;
use crate::http::accept::Encoding;
use crate::http::gate::Share;
use crate::http::path::ResourcePath;
use crate::http::query::Query;
use crate::http::warnings::Warnings;
use crate::server::Shared;

/// What every step of the pipeline knows about the request.
pub(crate) struct Call {
    pub(crate) server: Arc<Shared>,
    pub(crate) user: UserInfo,
    /// Whose places the request takes.
    pub(crate) share: Share,
    /// Its seats; none for what takes none.
    pub(crate) seat: Option<Arc<Seat>>,
    pub(crate) kind: Arc<Kind>,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) encoding: Encoding,
    /// The `Content-Type` of the body without parameters; empty when not sent.
    pub(crate) content_type: String,
    /// The `User-Agent`; empty when not sent.
    pub(crate) agent: String,
    pub(crate) dry_run: bool,
    pub(crate) verb: Verb,
    /// When the request arrived.
    pub(crate) now: Timestamp,
    /// Texts for `Warning` headers.
    pub(crate) warnings: Arc<Mutex<Warnings>>,
}

impl Call {
    /// Adds a warning, once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.warnings.lock().add(text.into());
    }

    /// Warns of fields without effect in an object that nobody refused: others have nothing to do with what was wrong.
    pub(crate) fn warn_of_ignored(&self, object: &Object) {
        skiff_kinds::honour::warnings(&self.kind.root, object).into_iter().for_each(|text| self.warn(text));
    }

    /// A watch has begun: from now on it takes no seats.
    pub(crate) fn begun(&self) {
        self.seat.iter().for_each(|seat| seat.release());
    }

    /// The object that the URL names.
    pub(crate) fn key(&self) -> Key {
        keys::object(&self.kind, self.namespace(), &self.path.name)
    }

    /// The namespace of the objects; empty for cluster-scoped kinds and requests across namespaces.
    pub(crate) fn namespace(&self) -> &str {
        match self.kind.scope {
            Scope::Namespaced => &self.path.namespace,
            Scope::Cluster => "",
        }
    }

    /// What errors about an object of this kind name.
    pub(crate) fn subject(&self, name: &str) -> Subject {
        Subject::new(&self.kind, name)
    }

    /// What errors about the content of an object name: its kind in the group in which it is stored.
    pub(crate) fn content_subject(&self, name: &str) -> Subject {
        let stored = self.kind.versions.storage.as_ref().unwrap_or(&self.kind.gv);
        Subject { group: stored.group.as_ref().into(), ..self.subject(name) }
    }

    /// What strategies may know.
    pub(crate) fn context(&self) -> Context<'_> {
        Context { now: self.now, cluster: &self.server.facts }
    }

    /// Reads the entry that the URL names, as the version of the request has it.
    pub(crate) async fn entry(&self) -> Result<Entry, ApiError> {
        versions::shown_one(self, self.stored_entry().await?).await
    }

    /// Reads the entry that the URL names, as it is stored.
    pub(crate) async fn stored_entry(&self) -> Result<Entry, ApiError> {
        let found = self.server.store.get(&self.key()).await?;
        found.ok_or_else(|| ApiError::NotFound(self.subject(&self.path.name)))
    }

    /// The object of an entry, with its `resourceVersion`.
    pub(crate) fn decoded(&self, entry: &Entry) -> Result<Arc<Object>, ApiError> {
        if self.kind.versions.storage.is_some() {
            // Several versions have the same key and revision.
            return Ok(codec::decode(entry).map(Arc::new)?);
        }
        let decoded = self.server.decoded.get(entry, || codec::decode(entry).map(Arc::new));
        Ok(decoded?)
    }

    /// The kind of the request's options, which errors about them name.
    pub(crate) fn options_kind(&self) -> &'static str {
        options_kind(self.verb)
    }

    /// The name under which fields written by this request are managed.
    pub(crate) fn manager(&self) -> String {
        match self.query.get("fieldManager") {
            "" => {
                let agent = self.agent.split('/').next().unwrap_or_default();
                if agent.is_empty() { "unknown".to_owned() } else { agent.to_owned() }
            }
            manager => manager.to_owned(),
        }
    }
}

impl Call {
    /// Who writes, for managed fields.
    pub(crate) fn writer<'a>(&self, manager: &'a str, subresource: &'a str) -> Writer<'a> {
        Writer { manager, subresource, now: self.now }
    }
}

/// The kind of the options of a request, as in `PatchOptions.meta.k8s.io`.
pub(crate) fn options_kind(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
        Verb::List | Verb::Watch => "ListOptions",
        Verb::Get => "GetOptions",
    }
}

/// A time as objects carry it: RFC 3339 in UTC, whole seconds.
pub(crate) fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
