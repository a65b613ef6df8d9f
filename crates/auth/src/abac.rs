//! Attribute-based access control: a file of policies, one on each line, each of which allows something. No I/O.
//!
//! As kube-apiserver has it (`--authorization-mode=ABAC --authorization-policy-file`): the file is read when the server starts, and any
//! policy that fits decides. A line without `kind` is of the first version, which had no name.

use serde::Deserialize;
use skiff_identity::UserInfo;

use super::{Attributes, Decision, Rule};

const GROUP_VERSION: &str = "abac.authorization.kubernetes.io/v1beta1";
const ALL: &str = "*";
const READING: [&str; 3] = ["get", "list", "watch"];

/// The policies of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(Vec<Policy>);

/// What somebody may do. Empty texts are nobody and nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    non_resource_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    spec: Policy,
}

impl Policies {
    /// Reads a file's text; empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// By line, what is wrong with the first that cannot be understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().zip(1..).map(|(line, number)| (line.trim(), number));
        let given = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        given
            .map(|(line, number)| policy(line).map_err(|why| format!("line {number}: {line}: {why}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What the policies say to a request.
    pub(super) fn evaluate(&self, attributes: &Attributes<'_>) -> Decision {
        if self.0.iter().any(|policy| policy.allows(attributes)) {
            Decision::Allow(String::new())
        } else {
            Decision::NoOpinion("No policy matched.".to_owned())
        }
    }

    /// All that somebody may do in a namespace.
    pub(super) fn rules_of(&self, user: &UserInfo, namespace: &str) -> Vec<Rule> {
        let own = self.0.iter().filter(|policy| policy.is_for(user));
        own.flat_map(|policy| policy.rules(namespace)).collect()
    }
}

fn policy(line: &str) -> Result<Policy, String> {
    let read: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut policy = match (&*read.api_version, &*read.kind) {
        (GROUP_VERSION, "Policy") => read.spec,
        ("", "") => {
            return serde_json::from_str(line).map(first_version).map_err(|error| error.to_string());
        }
        (version, kind) => return Err(format!("no kind {kind:?} is registered for version {version:?}")),
    };
    if policy.user == ALL || policy.group == ALL {
        policy.group = skiff_identity::AUTHENTICATED.to_owned();
    }
    Ok(policy)
}

/// A policy of the version without a name: what it leaves out is everything.
fn first_version(written: Policy) -> Policy {
    let Policy { user, mut group, readonly, mut resource, mut namespace, .. } = written;
    let is_whole = namespace.is_empty() && resource.is_empty();
    if (user.is_empty() && group.is_empty()) || user == ALL || group == ALL {
        group = skiff_identity::AUTHENTICATED.to_owned();
    }
    for text in [&mut resource, &mut namespace].into_iter().filter(|text| text.is_empty()) {
        *text = ALL.to_owned();
    }
    let non_resource_path = if is_whole { ALL.to_owned() } else { String::new() };
    Policy { user, group, readonly, api_group: ALL.to_owned(), resource, namespace, non_resource_path }
}

impl Policy {
    fn allows(&self, attributes: &Attributes<'_>) -> bool {
        let reads = !self.readonly || READING.contains(&attributes.verb);
        let fits = |own: &str, asked: &str| own == ALL || own == asked;
        self.is_for(attributes.user)
            && reads
            && if attributes.is_resource() {
                fits(&self.namespace, attributes.namespace)
                    && fits(&self.resource, attributes.resource)
                    && fits(&self.api_group, attributes.group)
            } else {
                let begin = self.non_resource_path.strip_suffix(ALL);
                self.non_resource_path == attributes.path
                    || begin.is_some_and(|begin| attributes.path.starts_with(begin.trim_end_matches('*')))
            }
    }

    /// Whether it is for somebody: of user and group each that it names must be theirs.
    fn is_for(&self, user: &UserInfo) -> bool {
        let (named, grouped) = (!self.user.is_empty(), !self.group.is_empty());
        let is_user = !named || self.user == ALL || self.user == user.name;
        let is_member = !grouped || self.group == ALL || user.is_in(&self.group);
        (named || grouped) && is_user && is_member
    }

    fn rules(&self, namespace: &str) -> impl Iterator<Item = Rule> {
        let verbs: Vec<String> =
            if self.readonly { READING.map(str::to_owned).into() } else { vec![ALL.to_owned()] };
        let is_here = self.namespace == ALL || self.namespace == namespace;
        let resources = (!self.resource.is_empty() && !self.api_group.is_empty() && is_here).then(|| Rule {
            api_groups: vec![self.api_group.clone()],
            resources: vec![self.resource.clone()],
            verbs: verbs.clone(),
            ..Rule::default()
        });
        let paths = (!self.non_resource_path.is_empty()).then(|| Rule {
            non_resource_urls: vec![self.non_resource_path.clone()],
            verbs: verbs.clone(),
            ..Rule::default()
        });
        resources.into_iter().chain(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(specs: &[&str]) -> Policies {
        let line =
            |spec: &&str| format!(r#"{{"apiVersion": "{GROUP_VERSION}", "kind": "Policy", "spec": {spec}}}"#);
        Policies::parse(&specs.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap()
    }

    fn allowed(policies: &Policies, user: &UserInfo, verb: &str, namespace: &str, resource: &str) -> bool {
        let asked = Attributes { namespace, ..Attributes::resource(user, verb, "", resource) };
        policies.evaluate(&asked).is_allowed()
    }

    #[test]
    fn policies_allow_what_they_name() {
        let bob = UserInfo::authenticated("bob", ["readers".to_owned()]);
        let check = |spec: &str, verb: &str, namespace: &str, resource: &str, expected: bool| {
            assert_eq!(allowed(&of(&[spec]), &bob, verb, namespace, resource), expected, "{spec}");
        };
        let all = r#"{"user": "bob", "namespace": "*", "resource": "*", "apiGroup": "*"}"#;
        check(all, "delete", "a", "pods", true);
        check(
            r#"{"user": "bob", "namespace": "a", "resource": "pods", "readonly": true}"#,
            "list",
            "a",
            "pods",
            true,
        );
        check(
            r#"{"user": "bob", "namespace": "a", "resource": "pods", "readonly": true}"#,
            "create",
            "a",
            "pods",
            false,
        );
        check(r#"{"user": "bob", "namespace": "a", "resource": "pods"}"#, "create", "b", "pods", false);
        check(r#"{"user": "bob", "namespace": "a", "resource": "pods"}"#, "create", "a", "secrets", false);
        check(
            r#"{"user": "bob", "namespace": "a", "resource": "pods", "apiGroup": "x"}"#,
            "get",
            "a",
            "pods",
            false,
        );
        check(r#"{"group": "readers", "namespace": "*", "resource": "*"}"#, "get", "a", "pods", true);
        check(
            r#"{"user": "eve", "group": "readers", "namespace": "*", "resource": "*"}"#,
            "get",
            "a",
            "pods",
            false,
        );
        check(r#"{"user": "*", "namespace": "*", "resource": "*"}"#, "get", "a", "pods", true);
        // One for nobody, and one that names no resources.
        check(r#"{"namespace": "*", "resource": "*"}"#, "get", "a", "pods", false);
        check(r#"{"user": "bob"}"#, "get", "a", "pods", false);
        assert!(!allowed(
            &of(&[r#"{"user": "*", "namespace": "*", "resource": "*"}"#]),
            &UserInfo::anonymous(),
            "get",
            "a",
            "pods"
        ));
    }

    #[test]
    fn paths_are_named_whole_or_by_their_beginning() {
        let bob = UserInfo::authenticated("bob", []);
        let check = |pattern: &str, path: &str, expected: bool| {
            let policies = of(&[&format!(r#"{{"user": "bob", "nonResourcePath": "{pattern}"}}"#)]);
            let decision = policies.evaluate(&Attributes::non_resource(&bob, "get", path));
            assert_eq!(decision.is_allowed(), expected, "{pattern} {path}");
        };
        check("*", "/version", true);
        check("/version", "/version", true);
        check("/version", "/version/x", false);
        check("/api*", "/apis/apps", true);
        check("/api*", "/version", false);
        check("", "/version", false);
    }

    #[test]
    fn the_version_without_a_name_means_everything_that_it_leaves_out() {
        let bob = UserInfo::authenticated("bob", []);
        let policies = Policies::parse("# all read\n\n{\"readonly\": true}\n").unwrap();
        assert!(allowed(&policies, &bob, "get", "a", "pods"));
        assert!(!allowed(&policies, &bob, "create", "a", "pods"));
        assert!(policies.evaluate(&Attributes::non_resource(&bob, "get", "/x")).is_allowed());
        let pods = Policies::parse(r#"{"user": "bob", "resource": "pods"}"#).unwrap();
        assert!(allowed(&pods, &bob, "create", "a", "pods") && !allowed(&pods, &bob, "get", "a", "secrets"));
        assert!(!pods.evaluate(&Attributes::non_resource(&bob, "get", "/x")).is_allowed());
    }

    #[test]
    fn what_cannot_be_understood_is_named_by_its_line() {
        let check = |text: &str, expected: &str| {
            let error = Policies::parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("{\"user\": \"a\"}\nnothing", "line 2: nothing: ");
        check(r#"{"apiVersion": "v1", "kind": "Pod"}"#, r#"no kind "Pod" is registered for version "v1""#);
        check(r#"{"readonly": "yes"}"#, "line 1: ");
    }

    #[test]
    fn rules_are_told_of_whom_they_are_for() {
        let bob = UserInfo::authenticated("bob", []);
        let policies = of(&[
            r#"{"user": "bob", "namespace": "a", "resource": "pods", "apiGroup": "*", "readonly": true}"#,
            r#"{"user": "bob", "nonResourcePath": "/version"}"#,
            r#"{"user": "eve", "namespace": "*", "resource": "*", "apiGroup": "*"}"#,
        ]);
        let told = |namespace| serde_json::to_value(policies.rules_of(&bob, namespace)).unwrap();
        let pods =
            serde_json::json!({"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get", "list", "watch"]});
        let version = serde_json::json!({"nonResourceURLs": ["/version"], "verbs": ["*"]});
        assert_eq!(told("a"), serde_json::json!([pods, version]));
        assert_eq!(told("b"), serde_json::json!([version]));
    }
}
