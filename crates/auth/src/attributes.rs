//! A request as authorisation sees it, and the answers it can get.

use skiff_identity::UserInfo;
use skiff_machinery::FieldErrors;
use skiff_machinery::selector::{FieldSelector, LabelSelector};
use thiserror::Error;

/// What a request wants to do. Resource requests have a `resource` and an empty `path`, all others the
/// reverse. Unused fields are empty.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// `get`, `list`, `create`, …; for non-resource requests the lower-case HTTP method.
    pub verb: &'a str,
    /// The API group; empty for core.
    pub group: &'a str,
    /// The API version.
    pub version: &'a str,
    /// The plural resource; empty for non-resource requests.
    pub resource: &'a str,
    /// E.g. `status` or `log`.
    pub subresource: &'a str,
    /// Empty for cluster-scoped resources and for requests across all namespaces.
    pub namespace: &'a str,
    /// The object; for list, watch and deletecollection what `metadata.name=` in the field selector says.
    pub name: &'a str,
    /// The field selector of list, watch and deletecollection; none when there is none or it cannot be understood.
    pub fields: Option<&'a FieldSelector>,
    /// The same of the label selector.
    pub labels: Option<&'a LabelSelector>,
    /// The URL path of a non-resource request.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// A request for a path that is no resource's.
    pub fn non_resource(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Self {
        Self { path, ..Self::resource(user, verb, "", "") }
    }

    /// A request for all of a resource in every namespace; callers narrow it with struct update syntax.
    pub fn resource(user: &'a UserInfo, verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Self {
            user,
            verb,
            group,
            version: "",
            resource,
            subresource: "",
            namespace: "",
            name: "",
            fields: None,
            labels: None,
            path: "",
        }
    }

    /// Whether an API resource is asked for, and not a bare path.
    pub fn is_resource(&self) -> bool {
        self.path.is_empty()
    }

    /// `resource` or `resource/subresource`.
    pub fn combined_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// The message of the 403 answer; `reason` is that of the [`Decision`] and may be empty.
    pub fn forbidden_message(&self, reason: &str) -> String {
        // As in Kubernetes, nothing of it may look like HTML.
        let what = self.what_is_forbidden().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let text = if reason.is_empty() { what } else { format!("{what}: {reason}") };
        if !self.is_resource() {
            return format!("forbidden: {text}");
        }
        let resource = self.qualified_resource();
        if self.name.is_empty() {
            format!("{resource} is forbidden: {text}")
        } else {
            format!("{resource} {:?} is forbidden: {text}", self.name)
        }
    }

    /// `pods`, or with its group `roles.rbac.authorization.k8s.io`.
    pub fn qualified_resource(&self) -> String {
        if self.group.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }

    fn what_is_forbidden(&self) -> String {
        let Self { verb, group, namespace, path, .. } = self;
        let user = &self.user.name;
        if !self.is_resource() {
            return format!("User {user:?} cannot {verb} path {path:?}");
        }
        let resource = self.combined_resource();
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {namespace:?}")
        };
        format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}")
    }
}

/// The answer to [`Attributes`], with a reason for people; the reason may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The request may go on.
    Allow(String),
    /// Somebody forbids it, whatever others say.
    Deny(String),
    /// Nobody allows it.
    NoOpinion(String),
    /// Nobody allows it, and one of those who were asked could not tell.
    Failed {
        /// Whether it is forbidden for that.
        denied: bool,
        /// What others say.
        reason: String,
        /// Why it could not be told.
        error: String,
    },
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// Whether it is forbidden, and not only allowed by nobody.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Deny(_) | Self::Failed { denied: true, .. })
    }

    /// What is said to it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Allow(reason)
            | Self::Deny(reason)
            | Self::NoOpinion(reason)
            | Self::Failed { reason, .. } => reason,
        }
    }

    /// Why it could not be told.
    pub fn error(&self) -> Option<&str> {
        if let Self::Failed { error, .. } = self { Some(error) } else { None }
    }
}

/// Why an authenticated and authorised request is refused by the checks that depend on its caller, or by
/// the issuing of a token. Each variant is one HTTP status.
#[derive(Debug, Error)]
pub enum Refusal {
    /// 403. The whole message, e.g. `nodes "b" is forbidden: node "a" is not allowed to modify node "b"`.
    #[error("{0}")]
    Forbidden(String),
    /// 403 before anything is known of the object but what the request says.
    #[error("{message}")]
    Denied {
        /// API group of what may not be touched; empty for core.
        group: String,
        /// Plural resource; empty for paths that are no resource's.
        resource: String,
        /// Name of the object; may be empty.
        name: String,
        /// The whole message.
        message: String,
    },
    /// 404. An object that the request depends on does not exist.
    #[error("{} {name:?} not found", qualified(.group, .resource))]
    NotFound {
        /// The object's API group; empty for core.
        group: &'static str,
        /// Plural resource.
        resource: &'static str,
        /// Name of the object.
        name: String,
    },
    /// 409. The object that the request names is not the one that exists.
    #[error("Operation cannot be fulfilled on {resource} {name:?}: {message}")]
    Conflict {
        /// Plural resource.
        resource: &'static str,
        /// Name of the object.
        name: String,
        /// What differs.
        message: String,
    },
    /// 422. The request's own fields are wrong.
    #[error("{} {name:?} is invalid: {}", qualified(.group, .kind), list(.errors))]
    Invalid {
        /// API group of the request.
        group: &'static str,
        /// Kind of the request; empty where Kubernetes does not say it.
        kind: &'static str,
        /// Name of the object that the request concerns; empty for reviews.
        name: String,
        /// What is wrong, in the order found.
        errors: FieldErrors,
    },
    /// 400. The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// 500. The store failed; worth a retry.
    #[error("cannot read {what}")]
    Internal {
        /// The object that was read.
        what: String,
        /// Why it could not be.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// As Kubernetes prints an aggregate of errors: one bare, several in brackets.
fn list(errors: &FieldErrors) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_403_as_kubernetes_does() {
        let user = UserInfo::authenticated("x", []);
        let check =
            |attributes: Attributes<'_>, text: &str| assert_eq!(attributes.forbidden_message(""), text);
        let pods = Attributes::resource(&user, "list", "", "pods");
        check(
            Attributes { namespace: "default", ..pods },
            r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#,
        );
        check(
            Attributes {
                verb: "get",
                group: "apps",
                resource: "deployments",
                name: "d",
                subresource: "scale",
                ..pods
            },
            r#"deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" at the cluster scope"#,
        );
        check(
            Attributes::non_resource(&user, "get", "/<x>"),
            r#"forbidden: User "x" cannot get path "/&lt;x&gt;""#,
        );
        check(
            Attributes::non_resource(&user, "get", "/metrics"),
            r#"forbidden: User "x" cannot get path "/metrics""#,
        );
    }
}
