//! The row that describes a kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_schema::{Root, Text};

use crate::convert::Convert;
use crate::{Object, Strategy, scale};

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
    /// As lists of it say what they are, if that is not its name followed by `List`.
    pub list: Option<Cow<'static, str>>,
}

impl Names {
    /// As in `kind:` of a list, e.g. `ServiceList`.
    pub fn list_kind(&self) -> String {
        self.list.as_ref().map_or_else(|| format!("{}List", self.kind), ToString::to_string)
    }
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
    /// Changes what a running pod and its containers may use.
    Resize,
    /// Decides about a certificate signing request: replaces `status.conditions`.
    Approval,
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
            Self::Resize => "resize",
            Self::Approval => "approval",
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
    Number,
    Boolean,
    Date,
}

impl ColumnType {
    /// As in Tables and definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
        }
    }
}

/// A column of a server-side Table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Header; clients upper-case it.
    pub name: Text,
    /// Type of the cells.
    pub kind: ColumnType,
    /// `name` for the Name column, else mostly empty.
    pub format: Text,
    /// What the column means.
    pub description: Text,
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

/// What makes something of an object: code of a built-in kind, or what was made of a definition.
pub enum Native<F, D: ?Sized> {
    /// Compiled in.
    Fixed(F),
    /// Made while running.
    Made(Arc<D>),
}

impl<F: Clone, D: ?Sized> Clone for Native<F, D> {
    fn clone(&self) -> Self {
        match self {
            Self::Fixed(f) => Self::Fixed(f.clone()),
            Self::Made(made) => Self::Made(made.clone()),
        }
    }
}

/// Fills the cells of an object's row; `now` is what ages are counted from.
pub type Printer = Native<fn(&Object, Timestamp) -> Row, dyn Fn(&Object, Timestamp) -> Row + Send + Sync>;

impl Printer {
    /// The cells of one object.
    pub fn row(&self, object: &Object, now: Timestamp) -> Row {
        match self {
            Self::Fixed(print) => print(object, now),
            Self::Made(print) => print(object, now),
        }
    }
}

/// A field's value as text; empty when unset.
pub type Getter = Native<fn(&Object) -> String, dyn Fn(&Object) -> String + Send + Sync>;

/// A field that a field selector may name besides `metadata.name` and `metadata.namespace`.
#[derive(Clone)]
pub struct Selectable {
    /// Label, e.g. `spec.nodeName`.
    pub label: Text,
    /// Its value in an object.
    pub getter: Getter,
    /// Whether the store keeps objects indexed by it; its label is then the path to its text, empty when it is absent. For
    /// what many ask for and few objects share.
    pub indexed: bool,
}

impl Selectable {
    /// A field of a built-in kind.
    pub const fn fixed(label: &'static str, value: fn(&Object) -> String) -> Self {
        Self { label: Cow::Borrowed(label), getter: Native::Fixed(value), indexed: false }
    }

    /// The same of one by which the store keeps objects indexed.
    pub const fn indexed(label: &'static str, value: fn(&Object) -> String) -> Self {
        Self { label: Cow::Borrowed(label), getter: Native::Fixed(value), indexed: true }
    }

    /// Its value in an object; empty when unset.
    pub fn value(&self, object: &Object) -> String {
        match &self.getter {
            Native::Fixed(value) => value(object),
            Native::Made(value) => value(object),
        }
    }
}

/// How objects get from one version of their kind to another.
#[derive(Clone, Default)]
pub enum Conversion {
    /// All versions are the same but for `apiVersion`.
    #[default]
    Same,
    /// By code: an object in another version, where it is not in that already.
    Native(fn(Object, &GroupVersion) -> Object),
    /// By asking somebody, see [`Convert`].
    Asked(Arc<dyn Convert>),
}

/// Which versions of a kind there are in the store, and how objects get from one to another.
#[derive(Clone, Default)]
pub struct Versions {
    /// The one in which objects are written; none if it is that of the kind itself. It may be of another group, where two
    /// groups show the same objects.
    pub storage: Option<GroupVersion>,
    /// How they are changed into others.
    pub conversion: Conversion,
}

/// One kind of API object as one of its versions serves it: everything that the pipeline needs to know about it.
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
    pub subresources: Cow<'static, [Subresource]>,
    /// Where the replicas are that its Scale shows.
    pub scale: scale::Paths,
    /// The type of its objects.
    pub root: Root,
    /// Whether `metadata.generation` starts at 1 and grows when anything but metadata and status changes.
    pub counts_generations: bool,
    /// Columns of its Table.
    pub columns: Vec<Column>,
    /// What fills them.
    pub print: Printer,
    /// Fields that field selectors may name.
    pub selectable: Cow<'static, [Selectable]>,
    /// Text of the warning that every request for this kind carries.
    pub deprecation: Option<Text>,
    /// What tells it from the same kind before a change of its definition; empty if it is built in.
    pub edition: String,
    /// In which versions its objects are stored.
    pub versions: Versions,
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
    pub fn in_all(self) -> Self {
        self.in_category("all")
    }

    /// As a member of a category.
    #[must_use]
    pub fn in_category(mut self, name: &'static str) -> Self {
        self.names.categories.push(Cow::Borrowed(name));
        self
    }

    /// With these subresources.
    #[must_use]
    pub fn below(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = Cow::Borrowed(subresources);
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
