//! Asking whether a user may do something.

use std::fmt;
use std::sync::Arc;

use crate::error::EvalError;
use crate::value::{Meter, Text, Value};

use super::{Outcome, Table, names};

pub(super) const FUNCTIONS: Table = &[
    ("path", &["authorizer_path Authorizer.(string) -> PathCheck"], |_, args| match args {
        [Value::Authorizer(_), Value::String(path)] if path.trim().is_empty() => {
            Err(EvalError::new("path must not be empty"))
        }
        [Value::Authorizer(authorizer), Value::String(path)] => {
            let (authorizer, path) = (authorizer.clone(), path.clone());
            Ok(Value::PathCheck(Arc::new(PathCheck { authorizer, path })))
        }
        _ => Err(EvalError::no_such_overload()),
    }),
    ("group", &["authorizer_group Authorizer.(string) -> GroupCheck"], |_, args| match args {
        [Value::Authorizer(authorizer), Value::String(group)] => {
            let (authorizer, group) = (authorizer.clone(), group.clone());
            Ok(Value::GroupCheck(Arc::new(GroupCheck { authorizer, group })))
        }
        _ => Err(EvalError::no_such_overload()),
    }),
    (
        "serviceAccount",
        &["authorizer_serviceaccount Authorizer.(string, string) -> Authorizer"],
        service_account,
    ),
    ("resource", &["groupcheck_resource GroupCheck.(string) -> ResourceCheck"], |_, args| match args {
        [Value::GroupCheck(_), Value::String(resource)] if resource.trim().is_empty() => {
            Err(EvalError::new("resource must not be empty"))
        }
        [Value::GroupCheck(group), Value::String(resource)] => {
            let check = ResourceCheck::new(GroupCheck::clone(group), resource.clone());
            Ok(Value::ResourceCheck(Arc::new(check)))
        }
        _ => Err(EvalError::no_such_overload()),
    }),
    ("subresource", &["resourcecheck_subresource ResourceCheck.(string) -> ResourceCheck"], |_, args| {
        narrow(args, |check, text| check.subresource = text)
    }),
    ("namespace", &["resourcecheck_namespace ResourceCheck.(string) -> ResourceCheck"], |_, args| {
        narrow(args, |check, text| check.namespace = text)
    }),
    ("name", &["resourcecheck_name ResourceCheck.(string) -> ResourceCheck"], |_, args| {
        narrow(args, |check, text| check.name = text)
    }),
    ("fieldSelector", &["authorizer_fieldselector ResourceCheck.(string) -> ResourceCheck"], |_, args| {
        narrow(args, |check, text| check.field_selector = text)
    }),
    ("labelSelector", &["authorizer_labelselector ResourceCheck.(string) -> ResourceCheck"], |_, args| {
        narrow(args, |check, text| check.label_selector = text)
    }),
    (
        "check",
        &[
            "pathcheck_check PathCheck.(string) -> Decision",
            "resourcecheck_check ResourceCheck.(string) -> Decision",
        ],
        check,
    ),
    ("errored", &["decision_errored Decision.() -> bool"], |_, args| {
        decision(args, |decision| Value::Bool(decision.error.is_some()))
    }),
    ("error", &["decision_error Decision.() -> string"], |_, args| {
        decision(args, |decision| Value::text(decision.error.clone().unwrap_or_default()))
    }),
    ("allowed", &["decision_allowed Decision.() -> bool"], |_, args| {
        decision(args, |decision| Value::Bool(decision.allowed))
    }),
    ("reason", &["decision_reason Decision.() -> string"], |_, args| {
        decision(args, |decision| Value::text(decision.reason.clone()))
    }),
];

/// Who decides what users may do.
pub trait Authorizer: Sync {
    /// Decides whether `subject` may do what `action` says.
    fn authorize(&self, subject: &Subject, action: &Action<'_>) -> Decision;
}

/// Whose rights are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The user of the request.
    Requester,
    /// `authorizer.serviceAccount(namespace, name)`
    ServiceAccount {
        /// Where the account is.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the functions that give them")]
pub enum Action<'a> {
    /// A request of a path that is no resource.
    Path { path: &'a str, verb: &'a str },
    /// A request of a resource, of any version. What was not given is empty.
    Resource {
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
        verb: &'a str,
        /// As written; what cannot be read must not narrow the request.
        field_selector: &'a str,
        /// As written; what cannot be read must not narrow the request.
        label_selector: &'a str,
    },
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, or why not; may be empty.
    pub reason: String,
    /// Why nothing could be decided.
    pub error: Option<String>,
}

/// An authorizer, and whom it is asked about.
#[derive(Clone)]
pub struct Authorization<'a> {
    authorizer: &'a (dyn Authorizer + 'a),
    subject: Arc<Subject>,
}

impl<'a> Authorization<'a> {
    /// Asks about the user of the request.
    pub fn new(authorizer: &'a (dyn Authorizer + 'a)) -> Self {
        Self { authorizer, subject: Arc::new(Subject::Requester) }
    }

    /// A check of the request's own resource (`authorizer.requestResource`).
    pub fn resource(
        &self,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Value<'a> {
        let group = GroupCheck { authorizer: self.clone(), group: group.into() };
        let mut check = ResourceCheck::new(group, resource.into());
        check.subresource = subresource.into();
        check.namespace = namespace.into();
        check.name = name.into();
        Value::ResourceCheck(Arc::new(check))
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subject.fmt(f)
    }
}

/// `authorizer.path(…)`
#[derive(Clone, Debug)]
pub struct PathCheck<'a> {
    authorizer: Authorization<'a>,
    path: Text<'a>,
}

/// `authorizer.group(…)`
#[derive(Clone, Debug)]
pub struct GroupCheck<'a> {
    authorizer: Authorization<'a>,
    group: Text<'a>,
}

/// `authorizer.group(…).resource(…)` and what narrows it.
#[derive(Clone, Debug)]
pub struct ResourceCheck<'a> {
    group: GroupCheck<'a>,
    resource: Text<'a>,
    subresource: Text<'a>,
    namespace: Text<'a>,
    name: Text<'a>,
    field_selector: Text<'a>,
    label_selector: Text<'a>,
}

impl<'a> ResourceCheck<'a> {
    fn new(group: GroupCheck<'a>, resource: Text<'a>) -> Self {
        let empty = Text::from("");
        Self {
            group,
            resource,
            subresource: empty.clone(),
            namespace: empty.clone(),
            name: empty.clone(),
            field_selector: empty.clone(),
            label_selector: empty,
        }
    }
}

fn narrow<'a>(args: &[Value<'a>], set: impl FnOnce(&mut ResourceCheck<'a>, Text<'a>)) -> Outcome<'a> {
    match args {
        [Value::ResourceCheck(check), Value::String(text)] => {
            let mut narrowed = ResourceCheck::clone(check);
            set(&mut narrowed, text.clone());
            Ok(Value::ResourceCheck(Arc::new(narrowed)))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn service_account<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::Authorizer(authorizer), Value::String(namespace), Value::String(name)] = args else {
        return Err(EvalError::no_such_overload());
    };
    if names::dns1123_subdomain(name, false).is_some() {
        return Err(EvalError::new("Invalid service account name"));
    }
    if names::dns1123_label(namespace, false).is_some() {
        return Err(EvalError::new("Invalid service account namespace"));
    }
    let subject = Subject::ServiceAccount { namespace: namespace.to_string(), name: name.to_string() };
    Ok(Value::Authorizer(Authorization { authorizer: authorizer.authorizer, subject: Arc::new(subject) }))
}

fn check<'a>(_: &mut Meter, args: &[Value<'a>]) -> Outcome<'a> {
    let (of, action) = match args {
        [Value::PathCheck(check), Value::String(verb)] => {
            (&check.authorizer, Action::Path { path: &check.path, verb })
        }
        [Value::ResourceCheck(check), Value::String(verb)] => (
            &check.group.authorizer,
            Action::Resource {
                group: &check.group.group,
                resource: &check.resource,
                subresource: &check.subresource,
                namespace: &check.namespace,
                name: &check.name,
                verb,
                field_selector: &check.field_selector,
                label_selector: &check.label_selector,
            },
        ),
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Decision(Arc::new(of.authorizer.authorize(&of.subject, &action))))
}

fn decision<'a>(args: &[Value<'a>], get: impl FnOnce(&Decision) -> Value<'a>) -> Outcome<'a> {
    match args {
        [Value::Decision(decision)] => Ok(get(decision)),
        _ => Err(EvalError::no_such_overload()),
    }
}
