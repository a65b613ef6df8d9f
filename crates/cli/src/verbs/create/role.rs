//! `create role` and `create clusterrole`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skiff_ordered::Ordered as _;

use super::{CREATE, Kind};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;
use crate::resources::Resources;

const VERB: Flag = Flag::list("verb", "What is allowed, e.g. get,list,watch");
const RESOURCE: Flag = Flag::list("resource", "Of what, e.g. pods,deployments.apps,pods/log");
const RESOURCE_NAME: Flag = Flag::each("resource-name", "Of the object of this name; may be repeated");
const NON_RESOURCE_URL: Flag = Flag::list("non-resource-url", "Of paths such as /healthz");
const AGGREGATION_RULE: Flag =
    Flag::list("aggregation-rule", "Labels of the ClusterRoles that this one is the sum of");

pub(super) const ROLE: Command = Command::new(
    "role",
    "NAME --verb=verb --resource=resource.group/subresource [--resource-name=resourcename] [--dry-run=server|client|none]",
    "Create a Role",
)
.examples("# What reads pods and their logs\nkubectl create role reader --verb=get,list,watch --resource=pods,pods/log")
.flags(&[&[VERB, RESOURCE, RESOURCE_NAME], PRINT, CREATE])
.run(|cx, given| Box::pin(role(cx, given)));

pub(super) const CLUSTER_ROLE: Command = Command::new(
    "clusterrole",
    "NAME --verb=verb --resource=resource.group [--resource-name=resourcename] [--dry-run=server|client|none]",
    "Create a ClusterRole",
)
.examples(
    "# What reads nodes
     kubectl create clusterrole nodes --verb=get,list,watch --resource=nodes
     # The sum of others
     kubectl create clusterrole sum --aggregation-rule=example.com/sum=true",
)
.flags(&[&[VERB, RESOURCE, RESOURCE_NAME, NON_RESOURCE_URL, AGGREGATION_RULE], PRINT, CREATE])
.run(|cx, given| Box::pin(cluster_role(cx, given)));

async fn role(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let (name, verbs) = (given.name()?, verbs(given));
    if verbs.is_empty() {
        return Err(Error::usage("at least one verb must be specified"));
    }
    warn(&verbs);
    let resources = asked(given.all(&RESOURCE));
    if resources.is_empty() {
        return Err(Error::usage("at least one resource must be specified"));
    }
    let found = find(cx.resources().await?, &verbs, &resources)?;
    let rules = rules(&verbs, &found, &unique(given.all(&RESOURCE_NAME)), &[]);
    let object = json!({"apiVersion": VERSION, "kind": "Role", "metadata": {"name": name}, "rules": rules});
    Kind::namespaced("roles", "").send(cx, given, object).await
}

async fn cluster_role(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let (name, verbs, urls) = (given.name()?, verbs(given), unique(given.all(&NON_RESOURCE_URL)));
    let (resources, names) = (asked(given.all(&RESOURCE)), unique(given.all(&RESOURCE_NAME)));
    let mut object = json!({"apiVersion": VERSION, "kind": "ClusterRole", "metadata": {"name": name}});
    if given.is_given(&AGGREGATION_RULE) {
        if !(urls.is_empty() && verbs.is_empty() && resources.is_empty() && names.is_empty()) {
            return Err(Error::usage(
                "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames",
            ));
        }
        let labels: BTreeMap<&str, &str> =
            given.all(&AGGREGATION_RULE).iter().filter_map(|label| label.split_once('=')).to_map();
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
        object["rules"] = Value::Null;
    } else {
        if verbs.is_empty() {
            return Err(Error::usage("at least one verb must be specified"));
        }
        if resources.is_empty() && urls.is_empty() {
            return Err(Error::usage("one of resource or nonResourceURL must be specified"));
        }
        let mut found = Vec::new();
        if !resources.is_empty() {
            warn(&verbs);
            found = find(cx.resources().await?, &verbs, &resources)?;
        }
        check_urls(&verbs, &urls)?;
        object["rules"] = Value::Array(rules(&verbs, &found, &names, &urls));
    }
    Kind::cluster("clusterroles", "").send(cx, given, object).await
}

const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// A resource as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    group: String,
    resource: String,
    part: String,
}

/// A resource as rules name it.
type Found = (String, String);

fn unique(words: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    words.iter().filter(|word| !word.is_empty()).for_each(|word| {
        if !found.contains(word) {
            found.push(word.clone());
        }
    });
    found
}

fn verbs(given: &Given) -> Vec<String> {
    let verbs = unique(given.all(&VERB));
    if verbs.iter().any(|verb| verb == "*") { vec!["*".to_owned()] } else { verbs }
}

fn asked(words: &[String]) -> Vec<Asked> {
    let one = |word: &String| {
        let (place, part) = word.split_once('/').unwrap_or((word, ""));
        let (resource, group) = place.split_once('.').unwrap_or((place, ""));
        Asked { group: group.to_owned(), resource: resource.to_owned(), part: part.to_owned() }
    };
    let all = words.iter().map(one);
    match words.iter().position(|word| word == "*") {
        Some(at) => all.skip(at).take(1).collect(),
        None => all.collect(),
    }
}

fn warn(verbs: &[String]) {
    const KNOWN: [&str; 14] = [
        "*",
        "get",
        "delete",
        "list",
        "create",
        "update",
        "patch",
        "watch",
        "proxy",
        "deletecollection",
        "use",
        "bind",
        "escalate",
        "impersonate",
    ];
    for verb in verbs.iter().filter(|verb| !KNOWN.contains(&verb.as_str())) {
        skiff_print::note(format_args!("Warning: '{verb}' is not a standard resource verb"));
    }
}

/// Verbs that only some resources have, with these.
const SPECIAL: [(&str, &[(&str, &str)]); 4] = [
    ("use", &[("policy", "podsecuritypolicies"), ("extensions", "podsecuritypolicies")]),
    ("bind", &[("rbac.authorization.k8s.io", "roles"), ("rbac.authorization.k8s.io", "clusterroles")]),
    ("escalate", &[("rbac.authorization.k8s.io", "roles"), ("rbac.authorization.k8s.io", "clusterroles")]),
    (
        "impersonate",
        &[("", "users"), ("", "serviceaccounts"), ("", "groups"), ("authentication.k8s.io", "userextras")],
    ),
];

fn find(served: &Resources, verbs: &[String], asked: &[Asked]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for resource in asked {
        if resource.resource.is_empty() {
            return Err(Error::usage("resource must be specified if apiGroup/subresource specified"));
        }
        let word = match resource.group.as_str() {
            "" => resource.resource.clone(),
            group => format!("{}.{group}", resource.resource),
        };
        let mut known = resource.resource == "*";
        let (group, plural) = match served.one(&word) {
            Some(served) => {
                known = true;
                (served.group.clone(), served.plural.clone())
            }
            None => (resource.group.clone(), resource.resource.clone()),
        };
        for (verb, places) in
            SPECIAL.iter().filter(|(verb, _)| resource.resource != "*" && verbs.iter().any(|v| v == verb))
        {
            if !places.contains(&(&group, &plural)) {
                return Err(Error::Usage(format!(
                    "can not perform '{verb}' on '{plural}' in group '{group}'"
                )));
            }
            known = true;
        }
        if !known {
            let place = if group.is_empty() { String::new() } else { format!(" in group \"{group}\"") };
            return Err(Error::Plain(format!(
                "the server doesn't have a resource type \"{}\"{place}",
                resource.resource
            )));
        }
        let name = if resource.part.is_empty() { plural } else { format!("{plural}/{}", resource.part) };
        if !found.contains(&(group.clone(), name.clone())) {
            found.push((group, name));
        }
    }
    Ok(found)
}

fn check_urls(verbs: &[String], urls: &[String]) -> Result<(), Error> {
    const KNOWN: [&str; 8] = ["*", "get", "post", "put", "delete", "patch", "head", "options"];
    if urls.is_empty() {
        return Ok(());
    }
    if let Some(verb) = verbs.iter().find(|verb| !KNOWN.contains(&verb.as_str())) {
        return Err(Error::Usage(format!("invalid verb: '{verb}' for nonResourceURL")));
    }
    for url in urls.iter().filter(|url| *url != "*") {
        if !url.starts_with('/') {
            return Err(Error::usage("nonResourceURL should start with /"));
        }
        if url[..url.len() - 1].contains('*') {
            return Err(Error::usage("nonResourceURL only supports wildcard matches when '*' is at the end"));
        }
    }
    Ok(())
}

/// A rule for each group, and one for paths.
fn rules(verbs: &[String], found: &[Found], names: &[String], urls: &[String]) -> Vec<Value> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (group, resource) in found {
        groups.entry(group).or_default().push(resource);
    }
    let mut rules: Vec<Value> = groups
        .into_iter()
        .map(|(group, resources)| {
            let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
            if !names.is_empty() {
                rule["resourceNames"] = json!(names);
            }
            rule
        })
        .collect();
    if !urls.is_empty() {
        rules.push(json!({"verbs": verbs, "nonResourceURLs": urls}));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn resources_are_named_by_group_and_part() {
        let one = |group: &str, resource: &str, part: &str| Asked {
            group: group.to_owned(),
            resource: resource.to_owned(),
            part: part.to_owned(),
        };
        assert_eq!(
            asked(&words(&["pods/log", "deployments.apps"])),
            [one("", "pods", "log"), one("apps", "deployments", "")]
        );
        assert_eq!(asked(&words(&["pods", "*"])), [one("", "*", "")]);
    }

    #[test]
    fn each_group_gets_a_rule() {
        let found = [
            ("".to_owned(), "pods".to_owned()),
            ("apps".to_owned(), "deployments".to_owned()),
            ("".to_owned(), "pods/log".to_owned()),
        ];
        assert_eq!(
            Value::Array(rules(&words(&["get"]), &found, &[], &words(&["/x"]))),
            json!([
                {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
                {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]},
                {"verbs": ["get"], "nonResourceURLs": ["/x"]},
            ])
        );
    }

    #[test]
    fn paths_are_checked() {
        let check = |verb: &str, url: &str| {
            check_urls(&words(&[verb]), &words(&[url])).err().map(|error| error.to_string())
        };
        assert_eq!(check("get", "/x/*"), None);
        assert_eq!(check("watch", "/x"), Some("error: invalid verb: 'watch' for nonResourceURL".to_owned()));
        assert_eq!(check("get", "x"), Some("error: nonResourceURL should start with /".to_owned()));
    }
}
