//! Which FlowSchema a request matches.

use k8s_openapi::api::flowcontrol::v1 as api;

/// A request, as FlowSchemas see it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
    /// As in RBAC for objects, else the HTTP method in small letters.
    pub verb: &'a str,
    /// What is asked for.
    pub target: Target<'a>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Objects.
    Resource {
        /// Their API group; empty for core.
        group: &'a str,
        /// Their plural.
        resource: &'a str,
        /// The subresource; empty for none.
        subresource: &'a str,
        /// Their namespace; empty for none, or all.
        namespace: &'a str,
    },
    /// Anything else: the path.
    Path(&'a str),
}

/// What makes requests of a FlowSchema flows of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Distinguisher {
    /// All are one flow.
    #[default]
    Nothing,
    User,
    Namespace,
}

impl Distinguisher {
    /// What it is of a request.
    pub(crate) fn of<'a>(self, asked: &Asked<'a>) -> &'a str {
        match (self, asked.target) {
            (Self::User, _) => asked.user,
            (Self::Namespace, Target::Resource { namespace, .. }) => namespace,
            _ => "",
        }
    }
}

/// A list of names, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    All,
    These(Vec<String>),
}

impl Names {
    fn new(names: Vec<String>) -> Self {
        if names == ["*"] { Self::All } else { Self::These(names) }
    }

    fn any(&self, is_it: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.iter().any(|name| is_it(name)),
        }
    }

    fn has(&self, sought: &str) -> bool {
        self.any(|name| name == sought)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Everybody,
    User(String),
    Group(String),
    /// All accounts of a namespace when there is no name.
    Account {
        namespace: String,
        name: Option<String>,
    },
}

impl Subject {
    /// None for what matches nobody.
    fn of(subject: api::Subject) -> Option<Self> {
        let name_of =
            |name: String, one: fn(String) -> Self| if name == "*" { Self::Everybody } else { one(name) };
        match subject.kind.as_str() {
            "User" => Some(name_of(subject.user?.name, Self::User)),
            "Group" => Some(name_of(subject.group?.name, Self::Group)),
            "ServiceAccount" => {
                let account = subject.service_account?;
                let name = Some(account.name).filter(|name| name != "*");
                Some(Self::Account { namespace: account.namespace, name })
            }
            _ => None,
        }
    }

    fn is(&self, asked: &Asked<'_>) -> bool {
        const ACCOUNT: &str = "system:serviceaccount:";
        match self {
            Self::Everybody => true,
            Self::User(name) => name == asked.user,
            Self::Group(group) => asked.groups.contains(group),
            Self::Account { namespace, name } => {
                let account = asked.user.strip_prefix(ACCOUNT).and_then(|account| account.split_once(':'));
                account.is_some_and(|(in_namespace, account)| {
                    in_namespace == namespace && name.as_ref().is_none_or(|name| name == account)
                })
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Resources {
    verbs: Names,
    groups: Names,
    resources: Names,
    namespaces: Names,
    /// Whether requests without a namespace match.
    is_global: bool,
}

#[derive(Clone, Debug)]
struct Urls {
    verbs: Names,
    urls: Names,
}

#[derive(Clone, Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    urls: Vec<Urls>,
}

/// Which requests a FlowSchema matches.
#[derive(Clone, Debug)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    pub(crate) fn new(rules: Vec<api::PolicyRulesWithSubjects>) -> Self {
        let resources = |rule: api::ResourcePolicyRule| Resources {
            verbs: Names::new(rule.verbs),
            groups: Names::new(rule.api_groups),
            resources: Names::new(rule.resources),
            namespaces: Names::new(rule.namespaces.unwrap_or_default()),
            is_global: rule.cluster_scope.unwrap_or_default(),
        };
        let urls = |rule: api::NonResourcePolicyRule| Urls {
            verbs: Names::new(rule.verbs),
            urls: Names::new(rule.non_resource_urls),
        };
        let rule = |rule: api::PolicyRulesWithSubjects| Rule {
            subjects: rule.subjects.into_iter().filter_map(Subject::of).collect(),
            resources: rule.resource_rules.unwrap_or_default().into_iter().map(resources).collect(),
            urls: rule.non_resource_rules.unwrap_or_default().into_iter().map(urls).collect(),
        };
        Self(rules.into_iter().map(rule).collect())
    }

    pub(crate) fn matches(&self, asked: &Asked<'_>) -> bool {
        self.0.iter().any(|rule| rule.matches(asked))
    }
}

impl Rule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let fits = match asked.target {
            Target::Resource { group, resource, subresource, namespace } => {
                self.resources.iter().any(|rule| {
                    rule.verbs.has(asked.verb)
                        && rule.resources.any(|name| is_resource(name, resource, subresource))
                        && rule.groups.has(group)
                        && if namespace.is_empty() { rule.is_global } else { rule.namespaces.has(namespace) }
                })
            }
            Target::Path(path) => {
                let is_below = |url: &str| is_below(url, path);
                self.urls.iter().any(|rule| rule.verbs.has(asked.verb) && rule.urls.any(is_below))
            }
        };
        fits && self.subjects.iter().any(|subject| subject.is(asked))
    }
}

/// Whether a rule's `resource` or `resource/subresource` is this one.
fn is_resource(name: &str, resource: &str, subresource: &str) -> bool {
    match name.strip_prefix(resource) {
        Some("") => subresource.is_empty(),
        Some(rest) => !subresource.is_empty() && rest.strip_prefix('/') == Some(subresource),
        None => false,
    }
}

/// Whether a path is that of a rule, or below it.
fn is_below(url: &str, path: &str) -> bool {
    if url == path {
        return true;
    }
    let stem = url.strip_suffix('*').unwrap_or(url);
    let stem = stem.strip_suffix('/').unwrap_or(stem);
    path.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules(rule: Value) -> Rules {
        Rules::new(vec![serde_json::from_value(rule).unwrap()])
    }

    fn asked<'a>(user: &'a str, groups: &'a [String], target: Target<'a>) -> Asked<'a> {
        Asked { user, groups, verb: "get", target }
    }

    #[test]
    fn finds_subjects() {
        let check = |subject: Value, user: &str, expected: bool| {
            let rules = rules(json!({
                "subjects": [subject], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }));
            let groups = ["g".to_owned()];
            assert_eq!(
                rules.matches(&asked(user, &groups, Target::Path("/x"))),
                expected,
                "{rules:?} {user}"
            );
        };
        let user = |name: &str| json!({"kind": "User", "user": {"name": name}});
        let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
        let account = |namespace: &str, name: &str| json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}});
        check(user("u"), "u", true);
        check(user("u"), "v", false);
        check(user("*"), "v", true);
        check(group("g"), "u", true);
        check(group("h"), "u", false);
        check(group("*"), "u", true);
        let someone = "system:serviceaccount:ns:sa";
        check(account("ns", "sa"), someone, true);
        check(account("ns", "*"), someone, true);
        check(account("n", "*"), someone, false);
        check(account("ns", "s"), someone, false);
        check(account("ns", "*"), "ns:sa", false);
        check(json!({"kind": "X"}), "u", false);
        check(json!({"kind": "User"}), "u", false);
    }

    #[test]
    fn finds_resources() {
        let check =
            |rule: Value, (group, resource, subresource, namespace): (&str, &str, &str, &str), expected| {
                let rules = rules(json!({
                    "subjects": [{"kind": "User", "user": {"name": "*"}}], "resourceRules": [rule],
                }));
                let target = Target::Resource { group, resource, subresource, namespace };
                assert_eq!(rules.matches(&asked("u", &[], target)), expected, "{rules:?} {target:?}");
            };
        let rule = |verb: &str, group: &str, resource: &str, namespace: &str, global: bool| {
            json!({
                "verbs": [verb], "apiGroups": [group], "resources": [resource], "namespaces": [namespace],
                "clusterScope": global,
            })
        };
        let pod = ("", "pods", "", "a");
        check(rule("get", "", "pods", "a", false), pod, true);
        check(rule("*", "*", "*", "*", false), pod, true);
        check(rule("list", "", "pods", "a", false), pod, false);
        check(rule("get", "apps", "pods", "a", false), pod, false);
        check(rule("get", "", "pod", "a", false), pod, false);
        check(rule("get", "", "pods/status", "a", false), pod, false);
        check(rule("get", "", "pods", "b", false), pod, false);
        check(rule("get", "", "pods/status", "a", false), ("", "pods", "status", "a"), true);
        check(rule("get", "", "pods", "a", false), ("", "pods", "status", "a"), false);
        check(rule("get", "", "pods", "*", false), ("", "pods", "", ""), false);
        check(rule("get", "", "pods", "b", true), ("", "pods", "", ""), true);
    }

    #[test]
    fn finds_paths() {
        let check =
            |url: &str, path: &str, expected| assert_eq!(is_below(url, path), expected, "{url} {path}");
        check("/healthz", "/healthz", true);
        check("/healthz", "/healthz/ping", true);
        check("/healthz", "/healthzy", false);
        check("/a/*", "/a/b/c", true);
        check("/a/*", "/a", false);
        check("/", "/x", true);
        check("/*", "/", true);
    }
}
