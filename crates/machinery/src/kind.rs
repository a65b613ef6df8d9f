//! The row that describes a kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_schema::Root;

use crate::{Object, Strategy};

/// An API group and version; the core group is `""`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    /// The group, e.g. `discovery.k8s.io`; empty for core.
    pub group: Cow<'static, str>,
    /// The version, e.g. `v1`.
    pub version: Cow<'static, str>,
}

impl GroupVersion {
    /// A group and version known at compile time.
    pub const fn fixed(group: &'static str, version: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), version: Cow::Borrowed(version) }
    }
}

impl fmt::Display for GroupVersion {
    /// As in `apiVersion`: `v1` or `discovery.k8s.io/v1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            write!(f, "{}", self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

/// The names by which a kind is called.
#[derive(Clone, Debug)]
pub struct Names {
    /// As in `kind:`, e.g. `Service`.
    pub kind: Cow<'static, str>,
    /// As in the URL, e.g. `services`.
    pub plural: Cow<'static, str>,
    /// As users may type it, e.g. `service`.
    pub singular: Cow<'static, str>,
    /// E.g. `svc`.
    pub short: Vec<Cow<'static, str>>,
    /// E.g. `all`.
    pub categories: Vec<Cow<'static, str>>,
}

/// Whether objects live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `/api/v1/namespaces/NS/…`
    Namespaced,
    /// `/api/v1/…`
    Cluster,
}

/// The verbs that discovery lists and RBAC checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// Every verb, in discovery's (alphabetical) order: what a stored kind offers.
    pub const ALL: &'static [Self] = &[
        Self::Create,
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Update,
        Self::Watch,
    ];

    /// As in RBAC rules, e.g. `deletecollection`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// Whether objects of a kind are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Written to the store.
    Stored,
    /// Answered at once and forgotten: reviews (`create` only).
    Transient,
}

/// What a URL may name below an object. The name in the URL is [`Subresource::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// The object with only `status` writable.
    Status,
    /// `autoscaling/v1` Scale over `spec.replicas` and `status.replicas`.
    Scale,
    /// Assigns a pod to a node.
    Binding,
    /// Deletes a pod unless a disruption budget forbids it.
    Eviction,
    /// Issues a ServiceAccount token (TokenRequest).
    Token,
    /// Replaces `spec.ephemeralContainers` only.
    EphemeralContainers,
    /// Replaces a namespace's `spec.finalizers`.
    Finalize,
    /// Container output, from the node.
    Log,
    /// A command in a container, from the node.
    Exec,
    /// The streams of a container's first process, from the node.
    Attach,
    /// TCP connections into a pod, from the node.
    PortForward,
    /// HTTP forwarded to a pod, Service or node.
    Proxy,
}

impl Subresource {
    /// The path segment, e.g. `portforward`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Token => "token",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Finalize => "finalize",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
        }
    }
}

/// JSON type of a column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum ColumnType {
    String,
    Integer,
    Boolean,
    Date,
}

/// A column of a server-side Table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Header; clients upper-case it.
    pub name: &'static str,
    /// Type of the cells.
    pub kind: ColumnType,
    /// `name` for the Name column, else empty.
    pub format: &'static str,
    /// What the column means.
    pub description: &'static str,
    /// 0: always shown; 1: only with `-o wide`.
    pub priority: i32,
}

/// One cell: a JSON string, number or boolean.
pub type Cell = Value;

/// The cells of one object, in column order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// One per column.
    pub cells: Vec<Cell>,
    /// Whether the row carries the condition `Completed` (pods that have ended), with this reason.
    pub completed: Option<String>,
}

/// A field that a field selector may name besides `metadata.name` and `metadata.namespace`.
#[derive(Clone, Copy)]
pub struct Selectable {
    /// Label, e.g. `spec.nodeName`.
    pub label: &'static str,
    /// Its value in an object; empty when unset.
    pub value: fn(&Object) -> String,
}

/// One kind of API object: everything that the pipeline needs to know about it.
#[derive(Clone)]
pub struct Kind {
    /// Group and version under which it is served and stored.
    pub gv: GroupVersion,
    /// What it is called.
    pub names: Names,
    /// Namespaced or not.
    pub scope: Scope,
    /// The verbs that it offers.
    pub verbs: &'static [Verb],
    /// Kept or answered at once.
    pub persistence: Persistence,
    /// What may be named below an object.
    pub subresources: &'static [Subresource],
    /// The type of its objects.
    pub root: Root,
    /// Whether `metadata.generation` starts at 1 and grows when anything but metadata and status changes.
    pub counts_generations: bool,
    /// Columns of its Table.
    pub columns: Vec<Column>,
    /// Cells of one object; `now` is what ages are counted from.
    pub print: fn(&Object, Timestamp) -> Row,
    /// Fields that field selectors may name.
    pub selectable: &'static [Selectable],
    /// Text of the warning that every request for this kind carries.
    pub deprecation: Option<&'static str>,
    /// The behaviour that is its own.
    pub strategy: Arc<dyn Strategy>,
}

impl Kind {
    /// As errors name it: `pods` or `endpointslices.discovery.k8s.io`.
    pub fn qualified_resource(&self) -> String {
        if self.gv.group.is_empty() {
            self.names.plural.to_string()
        } else {
            format!("{}.{}", self.names.plural, self.gv.group)
        }
    }

    /// Fills the defaults of an object, and what it needs to be read again.
    pub fn fill(&self, object: &mut Object) {
        crate::strict::complete(object, &self.root);
        self.strategy.default(object);
    }

    /// Sets what is in every object of the kind, empty or not.
    pub fn show(&self, object: &mut Object) {
        crate::strict::show(object, &self.root);
    }

    /// Whether it offers a verb.
    pub fn offers(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// With these short names.
    #[must_use]
    pub fn short(mut self, names: &[&'static str]) -> Self {
        self.names.short = names.iter().map(|name| Cow::Borrowed(*name)).collect();
        self
    }

    /// With this plural name instead of the regular one.
    #[must_use]
    pub fn plural(mut self, plural: &'static str) -> Self {
        self.names.plural = Cow::Borrowed(plural);
        self
    }

    /// As a member of the category `all`.
    #[must_use]
    pub fn in_all(mut self) -> Self {
        self.names.categories.push(Cow::Borrowed("all"));
        self
    }

    /// With these subresources.
    #[must_use]
    pub fn below(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = subresources;
        self
    }

    /// Whether it has a subresource.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({} {})", self.gv, self.names.kind)
    }
}
