//! Rules: what one allows, and whether some rules allow everything that others do.

use serde::{Deserialize, Serialize};

use crate::Attributes;

/// A `rbac.authorization.k8s.io/v1` PolicyRule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// API groups; `*` is all of them, `""` is core.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub api_groups: Vec<String>,
    /// URL paths; a trailing `*` stands for any ending.
    #[serde(
        rename = "nonResourceURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub non_resource_urls: Vec<String>,
    /// Names of objects; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resources: Vec<String>,
    /// Verbs; `*` is all of them.
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
}

/// `null` is what is not there.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

const ALL: &str = "*";

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|i| i == item)
}

fn has_or_all(list: &[String], item: &str) -> bool {
    list.iter().any(|i| i == item || i == ALL)
}

impl Rule {
    /// What together allows everything.
    pub(crate) fn everything() -> [Self; 2] {
        let all = || vec!["*".to_owned()];
        [
            Self { api_groups: all(), resources: all(), verbs: all(), ..Self::default() },
            Self { non_resource_urls: all(), verbs: all(), ..Self::default() },
        ]
    }

    /// Whether the rule allows a request.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !attributes.is_resource() {
            return has_or_all(&self.verbs, attributes.verb) && self.allows_path(attributes.path);
        }
        has_or_all(&self.verbs, attributes.verb)
            && has_or_all(&self.api_groups, attributes.group)
            && self.allows_resource(attributes.resource, attributes.subresource)
            && (self.resource_names.is_empty() || has(&self.resource_names, attributes.name))
    }

    fn allows_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|pattern| path_matches(pattern, path))
    }

    fn allows_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|pattern| {
            if pattern == ALL {
                return true;
            }
            match pattern.split_once('/') {
                None => pattern == resource && subresource.is_empty(),
                Some((_, sub)) if subresource.is_empty() || sub != subresource => false,
                Some((of, _)) => of == ALL || of == resource,
            }
        })
    }

    /// Whether everything that `part` allows, this allows too. `part` must be one of [`Rule::parts`].
    fn covers(&self, part: &Self) -> bool {
        let all_of =
            |own: &[String], asked: &[String]| has(own, ALL) || asked.iter().all(|item| has(own, item));
        let names = match (self.resource_names.as_slice(), part.resource_names.as_slice()) {
            ([], _) => true,
            (_, []) => false,
            (own, asked) => asked.iter().all(|name| has(own, name)),
        };
        let paths = part
            .non_resource_urls
            .iter()
            .all(|asked| self.non_resource_urls.iter().any(|own| own == asked || path_matches(own, asked)));
        let resources = part.resources.iter().all(|asked| {
            has_or_all(&self.resources, asked)
                || asked.split_once('/').is_some_and(|(_, sub)| has(&self.resources, &format!("*/{sub}")))
        });
        all_of(&self.verbs, &part.verbs)
            && all_of(&self.api_groups, &part.api_groups)
            && resources
            && names
            && paths
    }

    /// The same permissions as rules with one group, resource, name (or path) and verb each.
    fn parts(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        for verb in &self.verbs {
            let one = |item: &String| vec![item.clone()];
            let verbs = one(verb);
            for url in &self.non_resource_urls {
                parts.push(Self { non_resource_urls: one(url), verbs: verbs.clone(), ..Self::default() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let part = Self {
                        api_groups: one(group),
                        resources: one(resource),
                        verbs: verbs.clone(),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        parts.push(part.clone());
                    }
                    for name in &self.resource_names {
                        parts.push(Self { resource_names: one(name), ..part.clone() });
                    }
                }
            }
        }
        parts
    }

    /// As Kubernetes prints a rule in messages: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub fn describe(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown = lists.iter().filter(|(_, list)| !list.is_empty());
        let texts: Vec<String> = shown.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        format!("{{{}}}", texts.join(", "))
    }
}

/// `["a" "b"]`.
pub(super) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => pattern == path,
    }
}

/// What `asked` allows and `held` does not, in few rules; empty if nothing.
pub fn missing(held: &[Rule], asked: &[Rule]) -> Vec<Rule> {
    let parts = asked.iter().flat_map(Rule::parts);
    compact(parts.filter(|part| !held.iter().any(|rule| rule.covers(part))))
}

/// Joins the verbs of rules that are otherwise the same, and sorts.
fn compact(parts: impl Iterator<Item = Rule>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for part in parts {
        let same = |rule: &&mut Rule| {
            Rule { verbs: Vec::new(), ..(**rule).clone() } == Rule { verbs: Vec::new(), ..part.clone() }
        };
        match rules.iter_mut().find(same) {
            None => rules.push(part),
            Some(rule) => {
                let new =
                    part.verbs.into_iter().filter(|verb| !rule.verbs.contains(verb)).collect::<Vec<_>>();
                rule.verbs.extend(new);
            }
        }
    }
    rules.sort_by_cached_key(Rule::describe);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_identity::UserInfo;

    fn list(text: &str) -> Vec<String> {
        if text.is_empty() {
            Vec::new()
        } else {
            text.split(',').map(|item| item.replace("core", "")).collect()
        }
    }

    /// `groups resources verbs [names]`
    fn rule(text: &str) -> Rule {
        let mut words = text.split(' ');
        let mut next = || list(words.next().unwrap_or(""));
        Rule {
            api_groups: next(),
            resources: next(),
            verbs: next(),
            resource_names: next(),
            ..Rule::default()
        }
    }

    fn path_rule(urls: &str, verbs: &str) -> Rule {
        Rule { non_resource_urls: list(urls), verbs: list(verbs), ..Rule::default() }
    }

    #[test]
    fn rules_allow_resources() {
        let user = UserInfo::default();
        // request: verb group resource[/subresource] [name]
        let check = |text: &str, request: &str, expected: bool| {
            let words: Vec<&str> = request.split(' ').collect();
            let (resource, subresource) = words[2].split_once('/').unwrap_or((words[2], ""));
            let group = if words[1] == "core" { "" } else { words[1] };
            let name = words.get(3).copied().unwrap_or("");
            let attributes =
                Attributes { subresource, name, ..Attributes::resource(&user, words[0], group, resource) };
            assert_eq!(rule(text).allows(&attributes), expected, "{text} / {request}");
        };
        check("core pods get", "get core pods a", true);
        check("core pods get", "list core pods", false);
        check("core pods get", "get apps pods", false);
        check("core pods get", "get core pods/log a", false);
        check("core pods/log get", "get core pods/log a", true);
        check("core pods/log get", "get core pods a", false);
        check("core * get", "get core pods/log a", true);
        check("* */scale update", "update apps deployments/scale d", true);
        check("* */scale update", "update apps deployments d", false);
        check("* * *", "escalate rbac roles", true);
        check("core secrets get a,b", "get core secrets b", true);
        check("core secrets get a,b", "get core secrets c", false);
        check("core secrets list a,b", "list core secrets", false);
    }

    #[test]
    fn rules_allow_paths() {
        let user = UserInfo::default();
        let check = |urls: &str, path: &str, expected: bool| {
            let attributes = Attributes::non_resource(&user, "get", path);
            assert_eq!(path_rule(urls, "get").allows(&attributes), expected, "{urls} / {path}");
        };
        check("/healthz", "/healthz", true);
        check("/healthz", "/healthz/etcd", false);
        check("/healthz/*", "/healthz/etcd", true);
        check("*", "/metrics", true);
        check("/api,/apis", "/apis", true);
        let pods = Attributes::resource(&user, "get", "", "pods");
        assert!(!path_rule("*", "get").allows(&pods), "a path rule allows no resources");
        let path = Attributes::non_resource(&user, "get", "/metrics");
        assert!(!rule("* * *").allows(&path), "a resource rule allows no paths");
    }

    #[test]
    fn missing_permissions_are_found() {
        let check = |held: &[&str], asked: &[&str], expected: &[&str]| {
            let held: Vec<Rule> = held.iter().map(|text| rule(text)).collect();
            let asked: Vec<Rule> = asked.iter().map(|text| rule(text)).collect();
            let texts: Vec<String> = missing(&held, &asked).iter().map(Rule::describe).collect();
            assert_eq!(texts, expected, "{held:?} / {asked:?}");
        };
        check(&["core pods get,list"], &["core pods get"], &[]);
        check(&["core pods get", "core pods list"], &["core pods get,list"], &[]);
        check(
            &["core pods get"],
            &["core pods,services get,list"],
            &[
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
                r#"{APIGroups:[""], Resources:["services"], Verbs:["get" "list"]}"#,
            ],
        );
        check(
            &["core secrets get a"],
            &["core secrets get"],
            &[r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#],
        );
        check(&["core secrets get"], &["core secrets get a"], &[]);
        check(&["* */status update"], &["core pods/status update"], &[]);
        check(&["core pods get"], &["* * *"], &[r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#]);
        check(&["* * *"], &["* * *"], &[]);
    }

    #[test]
    fn missing_paths_are_found() {
        let check = |held: &str, asked: &str, expected: usize| {
            let found = missing(&[path_rule(held, "get")], &[path_rule(asked, "get")]);
            assert_eq!(found.len(), expected, "{held} / {asked}");
        };
        check("/a*", "/a/b", 0);
        check("/a*", "/a/*", 0);
        check("/a/*", "/a*", 1);
        check("*", "/x", 0);
    }
}
