//! The notation in which default roles are written.
//!
//! One rule a line: `VERBS GROUPS RESOURCES [NAMES]`, or `VERBS path PATHS`; lists are comma-separated,
//! `core` is the core group. `read` stands for get, list and watch, `write` for the verbs that change.

use super::Rule;

/// The rules of a text; lines are trimmed and empty ones skipped.
pub fn parse(text: &str) -> Vec<Rule> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(rule).collect()
}

fn rule(line: &str) -> Rule {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_default();
    let (verbs, group, targets, names) = (next(), next(), next(), next());
    let verbs = verbs.split(',').flat_map(expand).map(str::to_owned).collect();
    if group == "path" {
        return Rule { non_resource_urls: list(targets), verbs, ..Rule::default() };
    }
    let api_groups = list(group).into_iter().map(|g| if g == "core" { String::new() } else { g }).collect();
    Rule { api_groups, resources: list(targets), resource_names: list(names), verbs, ..Rule::default() }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn expand(verb: &str) -> Vec<&str> {
    match verb {
        "read" => vec!["get", "list", "watch"],
        "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
        verb => vec![verb],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation() {
        let check = |line: &str, expected: &str| assert_eq!(rule(line).describe(), expected);
        check(
            "read,create core,apps pods,pods/log a",
            r#"{APIGroups:["" "apps"], Resources:["pods" "pods/log"], ResourceNames:["a"], Verbs:["get" "list" "watch" "create"]}"#,
        );
        check("get path /healthz,/version/", r#"{NonResourceURLs:["/healthz" "/version/"], Verbs:["get"]}"#);
        check("* * *", r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#);
    }
}
