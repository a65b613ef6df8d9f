//! One authorised request for objects of one kind, as plain data.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use skiff_audit::Record;
use skiff_identity::UserInfo;
use skiff_machinery::managed::Writer;
use skiff_machinery::{Catalogue, Kind, Namespace, Object, Scope, Subresource, Verb, keys};
use skiff_store::Key;

use crate::errors::{ApiError, Subject};
use crate::query::Query;
use crate::warnings::Warnings;

/// What every step of the pipeline knows about the request.
#[derive(Debug)]
pub struct Call {
    /// Who asks.
    pub user: UserInfo,
    /// What for.
    pub verb: Verb,
    /// Of which kind, in the version that is spoken.
    pub kind: Arc<Kind>,
    /// The kinds that there were when the request arrived.
    pub catalogue: Arc<Catalogue>,
    /// Of which objects.
    pub path: Place,
    /// What of them; none for the objects themselves.
    pub subresource: Option<Subresource>,
    /// How.
    pub query: Query,
    /// The `Content-Type` of the body without parameters; empty when not sent.
    pub content_type: String,
    /// The `User-Agent`; empty when not sent.
    pub agent: String,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// When the request arrived.
    pub now: Timestamp,
    /// What its client is to be warned of.
    pub warnings: Arc<Mutex<Warnings>>,
    /// What is written down of it.
    pub record: Arc<Record>,
}

/// What a URL says of a place below a resource. Unused parts are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The namespace; of a Namespace its own name.
    pub namespace: String,
    /// The name of an object.
    pub name: String,
    /// What follows the subresource, as sent, with the slash before it.
    pub tail: String,
}

impl Call {
    /// The same request for a subresource of an object of another kind of the version, which is there.
    pub(crate) fn handed_on(&self, resource: &str, subresource: Subresource, name: &str) -> Option<Self> {
        let kind = self.catalogue.find(&self.kind.gv.group, &self.kind.gv.version, resource)?.clone();
        let path =
            Place { namespace: self.path.namespace.clone(), name: name.to_owned(), tail: String::new() };
        Some(Self {
            user: self.user.clone(),
            verb: self.verb,
            kind,
            catalogue: self.catalogue.clone(),
            path,
            subresource: Some(subresource),
            query: self.query.clone(),
            content_type: self.content_type.clone(),
            agent: self.agent.clone(),
            dry_run: self.dry_run,
            now: self.now,
            warnings: self.warnings.clone(),
            record: self.record.clone(),
        })
    }

    /// Adds a warning, once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.warnings.lock().add(text.into());
    }

    /// Notes an object of the call's kind that was sent, with its defaults, for the audit log.
    pub(crate) fn note_sent(&self, object: &Object) {
        self.record.object(|| {
            let mut sent = object.clone();
            self.kind.fill(&mut sent);
            sent
        });
    }

    /// Warns of fields without effect in an object that nobody refused: others have nothing to do with what was wrong.
    pub(crate) fn warn_of_ignored(&self, object: &Object) {
        skiff_kinds::honour::warnings(&self.kind.root, object).into_iter().for_each(|text| self.warn(text));
    }

    /// Refuses what the kind or the subresource does not offer.
    ///
    /// # Errors
    /// 405.
    pub fn check_verb(&self) -> Result<(), ApiError> {
        let is_offered = match self.subresource {
            Some(subresource) => subresource.verbs().contains(&self.verb),
            None => self.kind.offers(self.verb) && (self.verb != Verb::Create || self.path.name.is_empty()),
        };
        if is_offered { Ok(()) } else { Err(ApiError::MethodNotAllowed) }
    }

    /// The object that the URL names.
    pub(crate) fn key(&self) -> Key {
        keys::object(&self.kind, self.namespace(), &self.path.name)
    }

    /// The namespace of the objects; none for cluster-scoped kinds and requests across namespaces.
    pub fn namespace(&self) -> Namespace<'_> {
        match self.kind.scope {
            Scope::Namespaced => Namespace::new(&self.path.namespace),
            Scope::Cluster => Namespace::NONE,
        }
    }

    /// What errors about an object of this kind name.
    pub fn subject(&self, name: &str) -> Subject {
        Subject::new(&self.kind, name)
    }

    /// What errors about the content of an object name: its kind in the group in which it is stored.
    pub(crate) fn content_subject(&self, name: &str) -> Subject {
        let stored = self.kind.versions.storage.as_ref().unwrap_or(&self.kind.gv);
        Subject { group: stored.group.as_ref().into(), ..self.subject(name) }
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

    /// Who writes, for managed fields.
    pub(crate) fn writer<'a>(&self, manager: &'a str, subresource: &'a str) -> Writer<'a> {
        let strategy = &self.kind.strategy;
        let settled = strategy.settled(subresource);
        Writer { manager, subresource, now: self.now, settled, keeps_nulls: !strategy.is_typed() }
    }
}

/// The kind of the options of a request, as in `PatchOptions.meta.k8s.io`.
pub fn options_kind(verb: Verb) -> &'static str {
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
pub fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
