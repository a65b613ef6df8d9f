//! The operations of a kind, independent of the document's version.

use crate::{Kind, Persistence, Subresource, Verb};

/// A HTTP method that an operation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    Delete,
    Get,
    Patch,
    Post,
    Put,
}

impl Method {
    /// The key in a path item.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Get => "get",
            Self::Patch => "patch",
            Self::Post => "post",
            Self::Put => "put",
        }
    }
}

/// What an operation does: the value of `x-kubernetes-action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Connect,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Post,
    Put,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Post => "post",
            Self::Put => "put",
        }
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) action: Action,
    /// Unique in the document.
    pub(super) id: String,
    /// Group, version and kind of what is exchanged.
    pub(super) gvk: (String, String, String),
    /// Definition of what is exchanged, if it is an object.
    pub(super) definition: Option<String>,
}

/// A query parameter: name, JSON type, description.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter =
    ("dryRun", "string", "With the value All, the request is processed but nothing is kept.");
const FIELD_MANAGER: Parameter = ("fieldManager", "string", "Who makes the change, for the managed fields.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: Ignore, Warn (the default) or Strict.",
);
const FORCE: Parameter = ("force", "boolean", "With an apply patch: take over fields that others own.");
const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "Seconds until the object is removed; zero removes it at once."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean", "Whether a watch may send bookmarks."),
    ("continue", "string", "Where the next page starts, from the previous page."),
    ("fieldSelector", "string", "Only objects whose fields fit."),
    ("labelSelector", "string", "Only objects whose labels fit."),
    ("limit", "integer", "How many objects a page may have."),
    ("resourceVersion", "string", "The revision to which the answer relates."),
    ("resourceVersionMatch", "string", "How resourceVersion relates to the answer."),
    ("sendInitialEvents", "boolean", "Whether a watch starts with what is there."),
    ("timeoutSeconds", "integer", "How long the request may take."),
    ("watch", "boolean", "Whether changes follow, one event after the other."),
];

impl Operation {
    /// The query parameters that it knows.
    pub(super) fn parameters(&self) -> &'static [Parameter] {
        match self.action {
            Action::Connect | Action::Get => &[],
            Action::Delete => DELETE,
            Action::DeleteCollection | Action::List => LIST,
            Action::Patch => PATCH,
            Action::Post | Action::Put => WRITE,
        }
    }

    /// The parameters in its path.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// Every operation of a kind and its subresources.
pub(super) fn of(kind: &Kind) -> Vec<Operation> {
    let root = kind.version_path();
    let plural = &kind.names.plural;
    let collection = match kind.is_namespaced() {
        true => format!("{root}/namespaces/{{namespace}}/{plural}"),
        false => format!("{root}/{plural}"),
    };
    let item = format!("{collection}/{{name}}");
    let mut out: Vec<Operation> =
        kind.verbs.iter().filter_map(|verb| own(kind, *verb, &collection, &item)).collect();
    if kind.is_namespaced() && kind.persistence == Persistence::Stored && kind.offers(Verb::List) {
        let mut everywhere = operation(kind, &format!("{root}/{plural}"), Method::Get, Action::List);
        everywhere.id.push_str("ForAllNamespaces");
        out.push(everywhere);
    }
    for subresource in kind.subresources {
        out.extend(subresource.verbs().iter().filter_map(|verb| below(kind, *subresource, *verb, &item)));
    }
    out
}

/// The operation that a verb is on the kind itself.
fn own(kind: &Kind, verb: Verb, collection: &str, item: &str) -> Option<Operation> {
    let (path, method, action) = match verb {
        Verb::Create => (collection, Method::Post, Action::Post),
        Verb::Delete => (item, Method::Delete, Action::Delete),
        Verb::DeleteCollection => (collection, Method::Delete, Action::DeleteCollection),
        Verb::Get => (item, Method::Get, Action::Get),
        Verb::List => (collection, Method::Get, Action::List),
        Verb::Patch => (item, Method::Patch, Action::Patch),
        Verb::Update => (item, Method::Put, Action::Put),
        // A watch is a list with `watch=true`.
        Verb::Watch => return None,
    };
    Some(operation(kind, path, method, action))
}

fn below(kind: &Kind, subresource: Subresource, verb: Verb, item: &str) -> Option<Operation> {
    let (method, action) = match verb {
        Verb::Create => (Method::Post, Action::Post),
        Verb::Delete => (Method::Delete, Action::Delete),
        Verb::Get => (Method::Get, Action::Get),
        Verb::Patch => (Method::Patch, Action::Patch),
        Verb::Update => (Method::Put, Action::Put),
        Verb::DeleteCollection | Verb::List | Verb::Watch => return None,
    };
    let connects = subresource.connects() && subresource != Subresource::Log;
    let action = if connects { Action::Connect } else { action };
    let path = format!("{item}/{}", subresource.as_str());
    let mut operation = operation(kind, &path, method, action);
    let exchange = kind.exchange(subresource);
    operation.id = format!("{}{}{}", operation.id, capital(method.as_str()), capital(subresource.as_str()));
    operation.gvk = (exchange.gv.group.into_owned(), exchange.gv.version.into_owned(), exchange.kind);
    operation.definition = exchange.definition.filter(|_| !subresource.connects()).map(str::to_owned);
    Some(operation)
}

fn operation(kind: &Kind, path: &str, method: Method, action: Action) -> Operation {
    let group = kind.gv.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    let scope = if path.contains("{namespace}") { "Namespaced" } else { "" };
    let place = format!("{}{}{scope}{}", capital(group), capital(&kind.gv.version), kind.names.kind);
    Operation {
        path: path.to_owned(),
        method,
        action,
        id: format!("{}{place}", action.as_str()),
        gvk: (kind.gv.group.to_string(), kind.gv.version.to_string(), kind.names.kind.to_string()),
        definition: Some(kind.definition.to_owned()),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
