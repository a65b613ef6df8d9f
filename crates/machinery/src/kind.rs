//! The row that describes a kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use skiff_schema::{Root, Text};

use crate::convert::Convert;
use crate::{Column, GroupVersion, Object, Printer, Selectable, Strategy, Subresource, Verb, scale};

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

/// Whether objects of a kind are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Written to the store.
    Stored,
    /// Answered at once and forgotten: reviews (`create` only).
    Transient,
    /// Made when somebody asks, of how the server's parts are (`get` and `list` only).
    Made,
    /// Handed to a subresource of the object of that name (`create` only).
    HandedOn {
        /// Of which resource of the same version, e.g. `pods`.
        resource: &'static str,
        /// To which of them.
        subresource: Subresource,
    },
}

impl Persistence {
    /// Whether there are objects to read.
    pub fn has_objects(self) -> bool {
        matches!(self, Self::Stored | Self::Made)
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

    /// Whether it is going away: its objects may be changed and deleted, but no more are made.
    pub fn is_closing(&self) -> bool {
        !self.strategy.is_typed() && !self.offers(Verb::Create)
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
