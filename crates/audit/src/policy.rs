//! Which requests are written down, and how much of them (`Policy` of `audit.k8s.io/v1`).

use serde_json::Value;
use skiff_identity::UserInfo;
use skiff_machinery::{FieldError, FieldErrors, names::Form};

use crate::level::{Level, Stage, Stages};

/// The schema of a policy's file, in the words of the crate `schema`: `io.k8s.audit.Policy`.
pub const SCHEMA: &str = include_str!("policy.txt");

/// The first rule that fits a request decides; a request that none fits is not written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    rest: Extent,
}

/// What is written down of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How much.
    pub level: Level,
    /// When not.
    pub omitted: Stages,
    /// Whether objects are written without `metadata.managedFields`.
    pub omits_managed_fields: bool,
}

/// A request, as policies see it. Unused parts are empty.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks, and not as whom.
    pub user: &'a UserInfo,
    /// As authorisation names it, e.g. `list`; of paths that are no resource's the method in lower case.
    pub verb: &'a str,
    /// The path, if it is no resource's; else empty.
    pub path: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// E.g. `status`.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object.
    pub name: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    extent: Extent,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    namespaces: Vec<String>,
    resources: Vec<Resources>,
    paths: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Resources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

impl Policy {
    /// Reads a policy that was decoded against [`SCHEMA`].
    ///
    /// # Errors
    /// What is wrong with its fields, in Kubernetes' words.
    pub fn read(policy: &Value) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::new();
        let omitted = stages(&policy["omitStages"], "omitStages", &mut errors);
        let omits_managed_fields = policy["omitManagedFields"] == true;
        let rest = Extent { level: Level::None, omitted, omits_managed_fields };
        let rules = policy["rules"].as_array().into_iter().flatten().enumerate();
        let rules: Vec<Rule> = rules
            .map(|(index, rule)| Rule::read(rule, &format!("rules[{index}]"), rest, &mut errors))
            .collect();
        if rules.is_empty() {
            errors.push(FieldError::required("rules", "loaded illegal policy with 0 rules"));
        }
        if errors.is_empty() { Ok(Self { rules, rest }) } else { Err(errors) }
    }

    /// What is written down of a request.
    pub fn decide(&self, asked: &Asked<'_>) -> Extent {
        self.rules.iter().find(|rule| rule.fits(asked)).map_or(self.rest, |rule| rule.extent)
    }
}

impl Rule {
    fn read(rule: &Value, at: &str, rest: Extent, errors: &mut FieldErrors) -> Self {
        let level = level(&rule["level"], &format!("{at}.level"), errors);
        let paths = texts(&rule["nonResourceURLs"]);
        check_paths(&paths, &format!("{at}.nonResourceURLs"), errors);
        let resources = rule["resources"].as_array().into_iter().flatten();
        let resources: Vec<Resources> = resources.map(Resources::read).collect();
        resources.iter().for_each(|one| one.check(&format!("{at}.resources"), errors));
        let omitted = stages(&rule["omitStages"], &format!("{at}.omitStages"), errors);
        let namespaces = texts(&rule["namespaces"]);
        if !paths.is_empty() && !(resources.is_empty() && namespaces.is_empty()) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(format!("{at}.nonResourceURLs"), paths.clone(), why));
        }
        Self {
            extent: Extent {
                level,
                omitted: rest.omitted.and(omitted),
                omits_managed_fields: rule["omitManagedFields"]
                    .as_bool()
                    .unwrap_or(rest.omits_managed_fields),
            },
            users: texts(&rule["users"]),
            groups: texts(&rule["userGroups"]),
            verbs: texts(&rule["verbs"]),
            namespaces,
            resources,
            paths,
        }
    }

    fn fits(&self, asked: &Asked<'_>) -> bool {
        let any = |listed: &[String], one: &str| listed.is_empty() || listed.iter().any(|name| name == one);
        any(&self.users, &asked.user.name)
            && (self.groups.is_empty() || self.groups.iter().any(|group| asked.user.is_in(group)))
            && any(&self.verbs, asked.verb)
            && self.fits_object(asked)
    }

    fn fits_object(&self, asked: &Asked<'_>) -> bool {
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return asked.path.is_empty()
                && (self.namespaces.is_empty()
                    || self.namespaces.iter().any(|name| name == asked.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|one| one.fits(asked)));
        }
        self.paths.is_empty()
            || (!asked.path.is_empty() && self.paths.iter().any(|path| fits_path(path, asked.path)))
    }
}

impl Resources {
    fn read(value: &Value) -> Self {
        Self {
            group: value["group"].as_str().unwrap_or_default().to_owned(),
            resources: texts(&value["resources"]),
            names: texts(&value["resourceNames"]),
        }
    }

    fn check(&self, at: &str, errors: &mut FieldErrors) {
        if !matches!(self.group.as_str(), "" | "*") {
            errors.extend(Form::Subdomain.check(&format!("{at}.group"), &self.group));
        }
        if !self.names.is_empty() && self.resources.is_empty() {
            let why = "using resourceNames requires at least one resource";
            errors.push(FieldError::invalid(format!("{at}.resourceNames"), self.names.clone(), why));
        }
    }

    fn fits(&self, asked: &Asked<'_>) -> bool {
        if self.group != asked.group && self.group != "*" {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        (self.names.is_empty() || self.names.iter().any(|name| name == asked.name))
            && self.resources.iter().any(|pattern| fits_resource(pattern, asked))
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/status` or `*`. A resource alone does not stand for its subresources.
fn fits_resource(pattern: &str, asked: &Asked<'_>) -> bool {
    match pattern.split_once('/') {
        None if pattern == "*" => true,
        None => pattern == asked.resource && asked.subresource.is_empty(),
        Some((resource, "*")) => resource == asked.resource,
        Some(("*", subresource)) => subresource == asked.subresource,
        Some((resource, subresource)) => resource == asked.resource && subresource == asked.subresource,
    }
}

fn fits_path(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == path, |prefix| path.starts_with(prefix))
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn level(value: &Value, at: &str, errors: &mut FieldErrors) -> Level {
    let name = value.as_str().unwrap_or_default();
    if let Some((level, _)) = Level::ALL.into_iter().find(|(_, known)| *known == name) {
        return level;
    }
    errors.push(match name {
        "" => FieldError::required(at, ""),
        _ => FieldError::not_supported(at, name, &Level::ALL.map(|(_, name)| name)),
    });
    Level::None
}

fn stages(list: &Value, at: &str, errors: &mut FieldErrors) -> Stages {
    let mut all = Stages::default();
    for (index, name) in texts(list).iter().enumerate() {
        match Stage::ALL.into_iter().find(|(_, known)| known == name) {
            Some((stage, _)) => all = all.with(stage),
            None => {
                let why = format!("allowed stages are {}", Stage::ALL.map(|(_, name)| name).join(","));
                errors.push(FieldError::invalid(format!("{at}[{index}]"), name.as_str(), why));
            }
        }
    }
    all
}

fn check_paths(paths: &[String], at: &str, errors: &mut FieldErrors) {
    for (index, path) in paths.iter().enumerate().filter(|(_, path)| *path != "*") {
        let at = format!("{at}[{index}]");
        if !path.starts_with('/') {
            let why = "non-resource URL rules must begin with a '/' character";
            errors.push(FieldError::invalid(at.clone(), path.as_str(), why));
        }
        if path.char_indices().any(|(at, letter)| letter == '*' && at + 1 < path.len()) {
            let why = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.push(FieldError::invalid(at, path.as_str(), why));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(rules: &Value) -> Policy {
        Policy::read(&json!({"omitStages": ["RequestReceived"], "rules": rules})).unwrap()
    }

    fn asked<'a>(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Asked<'a> {
        Asked { user, verb, path, group: "", resource: "", subresource: "", namespace: "", name: "" }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let user = UserInfo::authenticated("ann", ["dev".to_owned()]);
        let pods = Asked { resource: "pods", namespace: "ns", name: "a", ..asked(&user, "get", "") };
        let check = |rule: Value, request: Asked<'_>, fits: bool| {
            let mut rule = rule;
            rule["level"] = json!("Request");
            let decided = policy(&json!([rule, {"level": "Metadata"}])).decide(&request);
            assert_eq!(decided.level == Level::Request, fits, "{rule} {request:?}");
        };
        check(json!({}), pods, true);
        check(json!({"users": ["ann"]}), pods, true);
        check(json!({"users": ["bob"]}), pods, false);
        check(json!({"userGroups": ["dev", "ops"]}), pods, true);
        check(json!({"userGroups": ["ops"]}), pods, false);
        check(json!({"verbs": ["list"]}), pods, false);
        check(json!({"namespaces": ["ns"]}), pods, true);
        check(json!({"namespaces": [""]}), pods, false);
        check(json!({"namespaces": [""]}), Asked { namespace: "", ..pods }, true);
        check(json!({"namespaces": ["ns"]}), asked(&user, "get", "/healthz"), false);
        for (pattern, subresource, fits) in [
            ("pods", "", true),
            ("pods", "log", false),
            ("pods/log", "log", true),
            ("pods/*", "", true),
            ("pods/*", "log", true),
            ("*/log", "log", true),
            ("*/log", "", false),
            ("*", "log", true),
            ("services", "", false),
        ] {
            check(json!({"resources": [{"resources": [pattern]}]}), Asked { subresource, ..pods }, fits);
        }
        check(json!({"resources": [{"group": "apps"}]}), pods, false);
        check(json!({"resources": [{"group": "*"}]}), pods, true);
        check(json!({"resources": [{"group": ""}]}), pods, true);
        let named = |name: &str| json!({"resources": [{"resources": ["pods"], "resourceNames": [name]}]});
        check(named("a"), pods, true);
        check(named("b"), pods, false);
        for (pattern, path, fits) in [
            ("/healthz*", "/healthz/ping", true),
            ("/healthz", "/healthz/ping", false),
            ("*", "/version", true),
            ("/version", "/version", true),
        ] {
            check(json!({"nonResourceURLs": [pattern]}), asked(&user, "get", path), fits);
        }
        check(json!({"nonResourceURLs": ["*"]}), pods, false);
    }

    #[test]
    fn what_no_rule_fits_is_not_written() {
        let user = UserInfo::anonymous();
        let none = policy(&json!([{"level": "Metadata", "users": ["x"]}])).decide(&asked(&user, "get", "/"));
        assert_eq!(none.level, Level::None);
    }

    #[test]
    fn stages_add_up_and_managed_fields_are_each_rules_own() {
        let rules = json!([{"level": "Request", "omitStages": ["Panic"], "omitManagedFields": false}, {"level": "Metadata"}]);
        let read = Policy::read(
            &json!({"omitStages": ["RequestReceived"], "omitManagedFields": true, "rules": rules}),
        );
        let rules = read.unwrap().rules;
        let extents: Vec<_> = rules.iter().map(|rule| rule.extent).collect();
        let omitted = |extent: &Extent| Stage::ALL.map(|(stage, _)| extent.omitted.has(stage));
        assert_eq!(omitted(&extents[0]), [true, false, false, true]);
        assert_eq!(omitted(&extents[1]), [true, false, false, false]);
        assert_eq!(extents.iter().map(|e| e.omits_managed_fields).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |policy: Value, expected: &str| {
            let errors = Policy::read(&policy).unwrap_err();
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert!(texts.iter().any(|text| text.contains(expected)), "{texts:?}");
        };
        let rule = |rule: Value| json!({"rules": [rule]});
        check(json!({}), "rules: Required value: loaded illegal policy with 0 rules");
        check(rule(json!({})), "rules[0].level: Required value");
        check(
            rule(json!({"level": "All"})),
            r#"rules[0].level: Unsupported value: "All": supported values: "#,
        );
        check(
            json!({"omitStages": ["x"]}),
            r#"omitStages[0]: Invalid value: "x": allowed stages are RequestReceived,"#,
        );
        let level = |mut other: Value| {
            other["level"] = json!("Metadata");
            rule(other)
        };
        check(level(json!({"nonResourceURLs": ["x"]})), "must begin with a '/' character");
        check(level(json!({"nonResourceURLs": ["/a*b"]})), "must be the final character of the rule");
        check(level(json!({"nonResourceURLs": ["/a"], "namespaces": ["b"]})), "rules cannot apply to both");
        check(level(json!({"resources": [{"group": "a/v1"}]})), "rules[0].resources.group: Invalid value");
        check(level(json!({"resources": [{"resourceNames": ["a"]}]})), "requires at least one resource");
    }

    #[test]
    fn the_schema_reads() {
        let schema = std::sync::Arc::new(skiff_schema::Schema::of_table(SCHEMA));
        assert!(schema.root("io.k8s.audit.Policy").is_some());
    }
}
