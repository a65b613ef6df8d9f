//! `auth`: what one may do, and who one is.

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Format;
use crate::print::columns::TABLE;
use crate::print::objects::{self, PRINT};
use crate::select::ALL_NAMESPACES;

const LIST: Flag = Flag::switch("list", "Everything that is allowed in the namespace");
const QUIET: Flag = Flag::switch("quiet", "Print nothing; the exit code tells").short('q');
const SUBRESOURCE: Flag = Flag::text("subresource", "Of a part of the object, such as log or scale");
const NO_HEADERS: Flag = Flag::switch("no-headers", "With --list: leave the header line out");

pub(crate) const COMMAND: Command =
    Command::new("auth", "[flags] [options]", "Ask what one may do, and who one is").commands(&[
        Command::new("can-i", "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]", "Ask whether something is allowed")
            .examples(
                "# Oneself, and somebody else
         kubectl auth can-i create deployments
         kubectl auth can-i list secrets --as=system:serviceaccount:default:robot
         # Everything
         kubectl auth can-i --list",
            )
            .flags(&[&[ALL_NAMESPACES, LIST, QUIET, SUBRESOURCE, NO_HEADERS]])
            .run(|cx, given| Box::pin(can_i(cx, given))),
        Command::new("whoami", "[flags] [options]", "Ask who one is")
            .examples("# By these credentials\nkubectl auth whoami")
            .flags(&[PRINT])
            .run(|cx, given| Box::pin(whoami(cx, given))),
    ]);

const TWO: &str = "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.";

async fn can_i(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    if given.is_on(&LIST) {
        if !given.words.is_empty() {
            return Err(Error::usage("list option must be specified with no arguments"));
        }
        if given.is_on(&QUIET) || given.is_on(&ALL_NAMESPACES) || given.is_given(&SUBRESOURCE) {
            return Err(Error::usage(
                "list option can't be specified with neither quiet, all-namespaces nor subresource options",
            ));
        }
        return list(cx, given).await;
    }
    let [verb, what] = given.words.as_slice() else { return Err(Error::usage(TWO)) };
    let attributes = attributes(cx, given, verb, what).await?;
    if given.is_on(&NO_HEADERS) {
        return Err(Error::usage("--no-headers cannot be set without --list specified"));
    }
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": attributes});
    let answer =
        cx.api().await?.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await?;
    let status = &answer["status"];
    let allowed = status["allowed"] == true;
    if !given.is_on(&QUIET) {
        let mut text = if allowed { "yes".to_owned() } else { "no".to_owned() };
        for field in ["reason", "evaluationError"] {
            if let Some(why) = status[field].as_str().filter(|why| !allowed && !why.is_empty()) {
                text.push_str(&format!(" - {why}"));
            }
        }
        skiff_print::line(text)?;
    }
    Ok(if allowed { Outcome::Done } else { Outcome::Failed })
}

/// What is asked for, as the review has it.
async fn attributes(cx: &Context, given: &Given, verb: &str, what: &str) -> Result<Value, Error> {
    const VERBS: [&str; 16] = [
        "*",
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "use",
        "bind",
        "impersonate",
        "proxy",
        "escalate",
        "approve",
        "sign",
    ];
    const PATH_VERBS: [&str; 8] = ["get", "put", "post", "head", "options", "delete", "patch", "*"];
    let unknown = |known: &[&str]| {
        if !known.contains(&verb) {
            skiff_print::note(format_args!("Warning: verb '{verb}' is not a known verb\n"));
        }
    };
    if what.starts_with('/') {
        if given.is_given(&SUBRESOURCE) {
            return Err(Error::usage("--subresource can not be used with NonResourceURL"));
        }
        unknown(&PATH_VERBS);
        return Ok(json!({"nonResourceAttributes": {"verb": verb, "path": what}}));
    }
    let (word, name) = what.split_once('/').unwrap_or((what, ""));
    let everywhere = given.is_on(&ALL_NAMESPACES);
    let (mut group, mut resource) = (String::new(), word.to_owned());
    if word != "*" {
        match cx.resources().await?.one(word) {
            Some(found) => {
                (group, resource) = (found.group.clone(), found.plural.clone());
                if !found.namespaced && !everywhere {
                    let place = if group.is_empty() { String::new() } else { format!(" in group '{group}'") };
                    skiff_print::note(format_args!(
                        "Warning: resource '{resource}' is not namespace scoped{place}\n"
                    ));
                }
            }
            None if ["users", "groups"].contains(&word) => {}
            None => match word.split_once('.') {
                Some((name, group)) => skiff_print::note(format_args!(
                    "Warning: the server doesn't have a resource type '{name}' in group '{group}'\n"
                )),
                None => skiff_print::note(format_args!(
                    "Warning: the server doesn't have a resource type '{word}'\n"
                )),
            },
        }
    }
    if !everywhere {
        unknown(&VERBS);
    }
    let namespace = if everywhere { "" } else { cx.namespace().await? };
    Ok(json!({"resourceAttributes": {
        "namespace": namespace, "verb": verb, "group": group, "resource": resource,
        "subresource": given.text(&SUBRESOURCE), "name": name,
    }}))
}

async fn list(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": cx.namespace().await?},
    });
    let answer =
        cx.api().await?.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &review).await?;
    let status = &answer["status"];
    if status["incomplete"] == true {
        let why = status["evaluationError"].as_str().unwrap_or_default();
        skiff_print::note(format_args!("Warning: the list may be incomplete: {why}"));
    }
    let mut text = String::new();
    if !given.is_on(&NO_HEADERS) {
        text.push_str("Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    }
    rules(status).iter().for_each(|rule| text.push_str(&rule.line()));
    skiff_print::text(TABLE.set(&text))?;
    Ok(Outcome::Done)
}

/// A rule about one resource or one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    verbs: Vec<String>,
    group: Option<String>,
    resource: Option<String>,
    name: Option<String>,
    url: Option<String>,
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// The rules, taken apart, with what concerns the same resource put together again.
fn rules(status: &Value) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for rule in status["resourceRules"].as_array().into_iter().flatten() {
        let names = words(&rule["resourceNames"]);
        let names: Vec<Option<String>> =
            if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        for (group, resource) in words(&rule["apiGroups"]).iter().flat_map(|group| {
            words(&rule["resources"]).into_iter().map(move |resource| (group.clone(), resource))
        }) {
            for name in &names {
                let verbs = words(&rule["verbs"]);
                let (group, resource) = (Some(group.clone()), Some(resource.clone()));
                let same =
                    |rule: &&mut Rule| rule.group == group && rule.resource == resource && rule.name == *name;
                match rules.iter_mut().find(same) {
                    Some(rule) => rule.verbs.extend(verbs),
                    None => rules.push(Rule { verbs, group, resource, name: name.clone(), url: None }),
                }
            }
        }
    }
    for rule in status["nonResourceRules"].as_array().into_iter().flatten() {
        for url in words(&rule["nonResourceURLs"]) {
            for verb in words(&rule["verbs"]) {
                rules.push(Rule { verbs: vec![verb], url: Some(url.clone()), ..Rule::default() });
            }
        }
    }
    skiff_ordered::sort_by_key(&mut rules, Rule::order);
    rules
}

impl Rule {
    fn order(&self) -> String {
        let one = |value: &Option<String>| value.clone().unwrap_or_default();
        format!(
            "Verbs:[{}],APIGroups:[{}],Resources:[{}],ResourceNames:[{}],NonResourceURLs:[{}]",
            self.verbs.join(" "),
            one(&self.group),
            one(&self.resource),
            one(&self.name),
            one(&self.url)
        )
    }

    fn line(&self) -> String {
        let one = |value: &Option<String>| {
            value.as_deref().map_or_else(|| "[]".to_owned(), |text| format!("[{text}]"))
        };
        let resource = self.resource.clone().unwrap_or_default();
        let (base, part) = resource
            .split_once('/')
            .map_or((resource.as_str(), String::new()), |(base, part)| (base, format!("/{part}")));
        let group = match self.group.as_deref() {
            None | Some("") => String::new(),
            Some(group) => format!(".{group}"),
        };
        format!("{base}{group}{part}\t{}\t{}\t[{}]\n", one(&self.url), one(&self.name), self.verbs.join(" "))
    }
}

async fn whoami(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let format = Format::of(given)?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = cx.api().await?.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await?;
    if let Some(format) = format {
        objects::print(&format, &answer, given)?;
        return Ok(Outcome::Done);
    }
    let user = &answer["status"]["userInfo"];
    let mut text = "ATTRIBUTE\tVALUE\n".to_owned();
    for (title, field) in [("Username", "username"), ("UID", "uid")] {
        if let Some(value) = user[field].as_str().filter(|value| !value.is_empty()) {
            text.push_str(&format!("{title}\t{value}\n"));
        }
    }
    let groups = words(&user["groups"]);
    if !groups.is_empty() {
        text.push_str(&format!("Groups\t[{}]\n", groups.join(" ")));
    }
    for (key, values) in user["extra"].as_object().into_iter().flatten() {
        text.push_str(&format!("Extra: {key}\t[{}]\n", words(values).join(" ")));
    }
    skiff_print::text(TABLE.set(&text))?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_one_resource_stand_together() {
        let status = json!({
            "resourceRules": [
                {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
                {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            ],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/livez"]}],
        });
        let lines: String = rules(&status).iter().map(Rule::line).collect();
        assert_eq!(
            lines,
            "*.*\t[]\t[]\t[*]\npods\t[]\t[]\t[get list]\n\t[/livez]\t[]\t[get]\npods/log\t[]\t[]\t[get]\n"
        );
    }
}
