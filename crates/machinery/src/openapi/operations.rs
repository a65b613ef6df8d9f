//! The operations of a kind, independent of the document's version.

use std::collections::BTreeSet;

use crate::{Kind, Subresource, Verb};

/// A HTTP method that an operation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    Delete,
    Get,
    Head,
    Options,
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
            Self::Head => "head",
            Self::Options => "options",
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

    /// How the IDs of such operations begin.
    fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Delete | Self::DeleteCollection => "delete",
            Self::Get => "read",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Post => "create",
            Self::Put => "replace",
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
    /// Group, version and kind of the objects that it concerns.
    of: (String, String, String),
    /// Definition of what is exchanged, if it is an object.
    pub(super) definition: Option<String>,
    /// What it concerns below the object, if anything.
    pub(super) subresource: Option<Subresource>,
    /// Whether it is one of Kubernetes' own kinds: those take strategic merge patches and are told in protobuf.
    pub(super) typed: bool,
    /// Whether deletions answer what was deleted.
    answers_deleted: bool,
}

/// What an operation answers when it succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An object of this definition.
    Object(String),
    /// Text, or the bytes of a connection.
    Text,
}

/// A parameter: name, JSON type, description.
pub(super) type Parameter = (&'static str, &'static str, &'static str);

/// Those of a path, which all of its operations share.
const IN_PATH: &[Parameter] = &[
    ("name", "string", "Name of the object."),
    ("namespace", "string", "Namespace of the object, or of all objects of the list."),
    ("path", "string", "What follows in the URL, passed on as it is."),
];

/// In the query of every operation but connections.
pub(super) const PRETTY: Parameter =
    ("pretty", "string", "With the value true, the answer is indented for people.");

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
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Whether an object is removed that cannot be read, without asking anybody.",
    ),
    ("orphanDependents", "boolean", "Deprecated form of propagationPolicy."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
const SELECT: &[Parameter] = &[
    ("continue", "string", "Where the next page starts, from the previous page."),
    ("fieldSelector", "string", "Only objects whose fields fit."),
    ("labelSelector", "string", "Only objects whose labels fit."),
    ("limit", "integer", "How many objects a page may have."),
    ("resourceVersion", "string", "The revision to which the answer relates."),
    ("resourceVersionMatch", "string", "How resourceVersion relates to the answer."),
    ("sendInitialEvents", "boolean", "Whether a watch starts with what is there."),
    ("timeoutSeconds", "integer", "How long the request may take."),
];
const WATCH: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean", "Whether a watch may send bookmarks."),
    ("watch", "boolean", "Whether changes follow, one event after the other."),
];
const CONTAINER: Parameter =
    ("container", "string", "The container that is meant; the only one when not given.");
const STREAMS: &[Parameter] = &[
    CONTAINER,
    ("stderr", "boolean", "Whether standard error is wanted."),
    ("stdin", "boolean", "Whether input follows."),
    ("stdout", "boolean", "Whether standard output is wanted."),
    ("tty", "boolean", "Whether the streams are those of a terminal."),
];
const COMMAND: &[Parameter] =
    &[("command", "string", "The program and its arguments, one in each parameter.")];
const PORTS: &[Parameter] = &[("ports", "integer", "The ports to forward; needed over WebSocket.")];
const TARGET: &[Parameter] = &[("path", "string", "The path at the target.")];
const LOG: &[Parameter] = &[
    CONTAINER,
    ("follow", "boolean", "Whether what is written later follows."),
    (
        "insecureSkipTLSVerifyBackend",
        "boolean",
        "Whether the log may come from a node whose certificate is not verified.",
    ),
    ("limitBytes", "integer", "The most bytes that are answered."),
    ("previous", "boolean", "Whether the log of the container before the last restart is meant."),
    ("sinceSeconds", "integer", "Only what was written in the last seconds."),
    ("stream", "string", "Which stream is meant: All, Stdout or Stderr."),
    ("tailLines", "integer", "Only so many lines from the end."),
    ("timestamps", "boolean", "Whether each line begins with the time at which it was written."),
];

impl Operation {
    /// The query parameters that it knows, but for [`PRETTY`].
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let groups: &[&'static [Parameter]] = match (self.subresource, self.action) {
            (Some(Subresource::Log), _) => &[LOG],
            (Some(Subresource::Exec), _) => &[COMMAND, STREAMS],
            (Some(Subresource::Attach), _) => &[STREAMS],
            (Some(Subresource::PortForward), _) => &[PORTS],
            (Some(Subresource::Proxy), _) => &[TARGET],
            (_, Action::Connect | Action::Get) => &[],
            (_, Action::Delete) => &[DELETE],
            (_, Action::DeleteCollection) => &[DELETE, SELECT],
            (_, Action::List) => &[SELECT, WATCH],
            (_, Action::Patch) => &[PATCH],
            (_, Action::Post | Action::Put) => &[WRITE],
        };
        groups.iter().copied().flatten()
    }

    /// The parameters in its path.
    pub(super) fn path_parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let names = self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        names.filter_map(|name| IN_PATH.iter().find(|(known, ..)| *known == name))
    }

    /// Group and version as OpenAPI's tags have them, e.g. `core_v1`.
    pub(super) fn tag(&self) -> String {
        let (group, version, _) = &self.of;
        let words = group_words(group);
        let rest: String = words.iter().skip(1).map(|word| capital(word)).collect();
        format!("{}{rest}_{version}", words.first().copied().unwrap_or_default())
    }

    /// What it answers.
    pub(super) fn answer(&self) -> Answer {
        let Some(definition) = self.definition.as_deref() else { return Answer::Text };
        Answer::Object(match self.action {
            Action::List => format!("{definition}List"),
            Action::Delete if self.answers_deleted => definition.to_owned(),
            Action::Delete | Action::DeleteCollection => STATUS.to_owned(),
            _ => definition.to_owned(),
        })
    }

    /// The media types of what it answers.
    pub(super) fn produces(&self) -> &'static [&'static str] {
        const LISTS: [&str; 5] = [
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
            "application/json;stream=watch",
            "application/vnd.kubernetes.protobuf;stream=watch",
        ];
        match (self.subresource, self.action, self.typed) {
            (_, Action::Connect, _) => &["*/*"],
            (Some(Subresource::Log), ..) => {
                &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
            }
            (_, Action::List, true) => &LISTS,
            (_, _, true) => &LISTS[..3],
            (_, _, false) => &LISTS[..2],
        }
    }

    /// What it is sent, if anything: the media types and the definition.
    pub(super) fn body(&self) -> Option<(&'static [&'static str], &str)> {
        const PATCHES: [&str; 4] = [
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
            "application/strategic-merge-patch+json",
        ];
        let definition = self.definition.as_deref()?;
        match self.method {
            Method::Get | Method::Head | Method::Options => None,
            Method::Delete => Some((&["*/*"], DELETE_OPTIONS)),
            Method::Patch if self.typed => Some((&PATCHES, PATCH_BODY)),
            Method::Patch => Some((&PATCHES[..3], PATCH_BODY)),
            Method::Post | Method::Put => Some((&["*/*"], definition)),
        }
    }

    /// Whether what it is sent may not be left out.
    pub(super) fn needs_body(&self) -> bool {
        self.method != Method::Delete
    }

    /// The codes of answers that succeed.
    pub(super) fn codes(&self) -> &'static [(&'static str, &'static str)] {
        match self.action {
            Action::Post => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            Action::Patch | Action::Put => &[("200", "OK"), ("201", "Created")],
            Action::Delete => &[("200", "OK"), ("202", "Accepted")],
            Action::Connect | Action::DeleteCollection | Action::Get | Action::List => &[("200", "OK")],
        }
    }
}

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const PATCH_BODY: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The names of the definitions that the operations of some kinds exchange.
pub(super) fn definitions<'k>(
    kinds: impl Iterator<Item = &'k Kind>,
    operations: &[Operation],
) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for operation in operations {
        out.extend(operation.definition.clone());
        out.extend(operation.body().map(|(_, definition)| definition.to_owned()));
        if let Answer::Object(name) = operation.answer() {
            out.insert(name);
        }
    }
    let stored = kinds.filter(|kind| kind.persistence.has_objects());
    out.extend(stored.map(|kind| format!("{}List", kind.root.name())));
    out
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
    if kind.is_namespaced() && kind.persistence.has_objects() && kind.offers(Verb::List) {
        let mut everywhere = operation(kind, &format!("{root}/{plural}"), Method::Get, Action::List);
        everywhere.id.push_str("ForAllNamespaces");
        out.push(everywhere);
    }
    for subresource in kind.subresources.iter() {
        out.extend(subresource.verbs().iter().filter_map(|verb| below(kind, *subresource, *verb, &item)));
        if *subresource == Subresource::Proxy {
            out.extend(proxied(kind, &item));
        }
    }
    out
}

/// What a proxy passes on besides what verbs there are for, and the same for every path below it.
fn proxied(kind: &Kind, item: &str) -> Vec<Operation> {
    let own =
        [Method::Head, Method::Options].map(|method| connection(kind, Subresource::Proxy, method, item));
    let methods = [
        Method::Delete,
        Method::Get,
        Method::Head,
        Method::Options,
        Method::Patch,
        Method::Post,
        Method::Put,
    ];
    let with_path = methods.map(|method| {
        let mut operation = connection(kind, Subresource::Proxy, method, item);
        operation.path.push_str("/{path}");
        operation.id.push_str("WithPath");
        operation
    });
    own.into_iter().chain(with_path).collect()
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
    if subresource.connects() && subresource != Subresource::Log {
        return Some(connection(kind, subresource, method, item));
    }
    let path = format!("{item}/{}", subresource.as_str());
    Some(at_subresource(kind, subresource, operation(kind, &path, method, action)))
}

/// An operation that becomes a connection.
fn connection(kind: &Kind, subresource: Subresource, method: Method, item: &str) -> Operation {
    let path = format!("{item}/{}", subresource.as_str());
    let mut operation = operation(kind, &path, method, Action::Connect);
    operation.id = operation_id(kind, &path, Action::Connect, &capital(method.as_str()));
    at_subresource(kind, subresource, operation)
}

fn at_subresource(kind: &Kind, subresource: Subresource, mut operation: Operation) -> Operation {
    const WORDS: [(&str, &str); 2] =
        [("portforward", "Portforward"), ("ephemeralcontainers", "Ephemeralcontainers")];
    let name = subresource.as_str();
    let word = WORDS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or_else(|| capital(name), |(_, w)| (*w).to_owned());
    operation.id.push_str(&word);
    let exchange = kind.exchange(subresource);
    operation.gvk = (exchange.gv.group.into_owned(), exchange.gv.version.into_owned(), exchange.kind);
    operation.definition =
        exchange.root.filter(|_| !subresource.connects()).map(|root| root.name().to_owned());
    operation.subresource = Some(subresource);
    operation
}

fn operation(kind: &Kind, path: &str, method: Method, action: Action) -> Operation {
    let gvk = (kind.gv.group.to_string(), kind.gv.version.to_string(), kind.names.kind.to_string());
    let collection = if action == Action::DeleteCollection { "Collection" } else { "" };
    Operation {
        path: path.to_owned(),
        method,
        action,
        id: operation_id(kind, path, action, collection),
        gvk: gvk.clone(),
        of: gvk,
        definition: Some(kind.root.name().to_owned()),
        subresource: None,
        typed: kind.strategy.is_typed(),
        answers_deleted: kind.strategy.answers_deleted(),
    }
}

/// As Kubernetes forms them, e.g. `createCoreV1NamespacedPod`; code is generated from these names.
fn operation_id(kind: &Kind, path: &str, action: Action, what: &str) -> String {
    let group: String = group_words(&kind.gv.group).iter().map(|word| capital(word)).collect();
    let scope = if path.contains("{namespace}") { "Namespaced" } else { "" };
    format!("{}{group}{}{what}{scope}{}", action.word(), capital(&kind.gv.version), kind.names.kind)
}

/// The words of a group's name: `rbac` and `authorization` of `rbac.authorization.k8s.io`.
fn group_words(group: &str) -> Vec<&str> {
    match group {
        "" => vec!["core"],
        group => group.strip_suffix(".k8s.io").unwrap_or(group).split('.').collect(),
    }
}

/// With its first letter in upper case.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
