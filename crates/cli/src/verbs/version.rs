//! `version`, `api-versions`, `api-resources` and `cluster-info`: what the server is and serves.

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::columns::TABLE;
use crate::print::{Format, yaml};
use crate::resources::Resource;
use crate::uri::with_query;

const CLIENT: Flag = Flag::switch("client", "Only that of this program, without asking a server");
const OUTPUT: Flag = Flag::text("output", "json or yaml").short('o');

pub(crate) const VERSION: Command =
    Command::new("version", "[flags] [options]", "Print the versions of this program and of the server")
        .examples("# Of both\nkubectl version")
        .flags(&[&[CLIENT, OUTPUT]])
        .run(|cx, given| Box::pin(version(cx, given)));

pub(crate) const API_VERSIONS: Command =
    Command::new("api-versions", "[flags] [options]", "Print the versions of the API that the server serves")
        .run(|cx, given| Box::pin(api_versions(cx, given)));

const NAMESPACED: Flag =
    Flag::switch("namespaced", "Only kinds whose objects are in namespaces, or (=false) in none")
        .default("true");
const API_GROUP: Flag = Flag::text("api-group", "Only the kinds of this group");
const VERBS: Flag = Flag::list("verbs", "Only kinds that know all these verbs");
const CATEGORIES: Flag = Flag::list("categories", "Only kinds of all these categories");
const NO_HEADERS: Flag = Flag::switch("no-headers", "Leave the header line out");
const LIST_OUTPUT: Flag = Flag::text("output", "name or wide").short('o');
const SORT_BY: Flag = Flag::text("sort-by", "name or kind");

pub(crate) const API_RESOURCES: Command =
    Command::new("api-resources", "[flags] [options]", "List the kinds that the server serves")
        .examples(
            "# All, and those without a namespace
             kubectl api-resources
             kubectl api-resources --namespaced=false",
        )
        .flags(&[&[NAMESPACED, API_GROUP, VERBS, CATEGORIES, NO_HEADERS, LIST_OUTPUT, SORT_BY]])
        .run(|cx, given| Box::pin(api_resources(cx, given)));

pub(crate) const CLUSTER_INFO: Command = Command::new(
    "cluster-info",
    "[flags] [options]",
    "Tell where the server and the cluster's own Services are",
)
.run(|cx, given| Box::pin(cluster_info(cx, given)));

/// The version of Kubernetes whose kubectl this speaks like.
const SPEAKS_LIKE: &str = "v1.35.2";

async fn version(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    if !given.words.is_empty() {
        return Err(Error::Usage(format!("extra arguments: [{}]", given.words.join(" "))));
    }
    let format = match given.text(&OUTPUT) {
        "" => None,
        "json" => Some(Format::Json),
        "yaml" => Some(Format::Yaml),
        _ => return Err(Error::usage("--output must be 'yaml' or 'json'")),
    };
    let skiff = concat!("+skiff", env!("CARGO_PKG_VERSION"));
    let client = json!({"gitVersion": format!("{SPEAKS_LIKE}{skiff}"), "major": "1", "minor": "35", "compiler": "rustc"});
    let server = if given.is_on(&CLIENT) { None } else { Some(cx.api().await?.get("/version").await?) };
    let text = match format {
        Some(format) => {
            let mut versions = json!({"clientVersion": client});
            if let Some(server) = server {
                versions["serverVersion"] = server;
            }
            match format {
                Format::Yaml => yaml::document(&versions),
                _ => serde_json::to_string_pretty(&versions)? + "\n",
            }
        }
        None => {
            let number = |version: &Value| version["gitVersion"].as_str().unwrap_or_default().to_owned();
            let server =
                server.map_or_else(String::new, |server| format!("Server Version: {}\n", number(&server)));
            format!("Client Version: {}\n{server}", number(&client))
        }
    };
    skiff_print::text(text)?;
    Ok(Outcome::Done)
}

async fn api_versions(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    given.no_words()?;
    let mut versions: Vec<String> = cx.resources().await?.0.iter().map(Resource::api_version).collect();
    versions.sort();
    versions.dedup();
    skiff_print::line(versions.join("\n"))?;
    Ok(Outcome::Done)
}

async fn api_resources(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    given.no_words()?;
    let wide = match given.text(&LIST_OUTPUT) {
        "" | "name" => false,
        "wide" => true,
        other => return Err(Error::Usage(format!("--output {other} is not available"))),
    };
    let all = &cx.resources().await?.0;
    let mut shown: Vec<&Resource> = all
        .iter()
        .filter(|resource| is_preferred(all, resource))
        .filter(|resource| !given.is_given(&NAMESPACED) || resource.namespaced == given.is_on(&NAMESPACED))
        .filter(|resource| !given.is_given(&API_GROUP) || resource.group == given.text(&API_GROUP))
        .filter(|resource| given.all(&VERBS).iter().all(|verb| resource.verbs.contains(verb)))
        .filter(|resource| {
            given.all(&CATEGORIES).iter().all(|category| resource.categories.contains(category))
        })
        .collect();
    match given.text(&SORT_BY) {
        "name" => skiff_ordered::sort_by(&mut shown, |left, right| left.plural.cmp(&right.plural)),
        "kind" => skiff_ordered::sort_by(&mut shown, |left, right| left.kind.cmp(&right.kind)),
        "" => skiff_ordered::sort_by(&mut shown, |left, right| {
            (&left.group, &left.plural).cmp(&(&right.group, &right.plural))
        }),
        _ => return Err(Error::usage("--sort-by accepts only name or kind")),
    }
    if given.text(&LIST_OUTPUT) == "name" {
        for resource in shown {
            skiff_print::line(resource.group_resource())?;
        }
        return Ok(Outcome::Done);
    }
    let mut text = match (given.is_on(&NO_HEADERS), wide) {
        (true, _) => String::new(),
        (false, true) => "NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND\tVERBS\tCATEGORIES\n".to_owned(),
        (false, false) => "NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND\n".to_owned(),
    };
    for resource in shown {
        let more = match wide {
            true => format!("\t{}\t{}", resource.verbs.join(","), resource.categories.join(",")),
            false => String::new(),
        };
        text.push_str(&format!(
            "{}\t{}\t{}\t{}\t{}{more}\n",
            resource.plural,
            resource.short.join(","),
            resource.api_version(),
            resource.namespaced,
            resource.kind
        ));
    }
    skiff_print::text(TABLE.set(&text))?;
    Ok(Outcome::Done)
}

/// Whether the server names no other version of the kind's group first.
fn is_preferred(all: &[Resource], resource: &Resource) -> bool {
    let first = all.iter().find(|other| other.group == resource.group && other.plural == resource.plural);
    first.is_some_and(|first| first.version == resource.version)
}

async fn cluster_info(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    given.no_words()?;
    let api = cx.api().await?;
    let server = api.server.to_string();
    let server = server.trim_end_matches('/');
    let bright = |text: &str, colour: u8| match std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        true => format!("\u{1b}[0;{colour}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    };
    let tell = |name: &str, link: &str| {
        skiff_print::line(format_args!("{} is running at {}", bright(name, 32), bright(link, 33)))
    };
    tell("Kubernetes control plane", server)?;
    let namespace = cx.named_namespace().unwrap_or("kube-system");
    let path = format!("/api/v1/namespaces/{namespace}/services");
    let selector = ("labelSelector", Some("kubernetes.io/cluster-service=true"));
    let list = api.get(&with_query(&path, &[selector])).await?;
    for service in list["items"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &service["metadata"];
        let name = metadata["labels"]["kubernetes.io/name"]
            .as_str()
            .unwrap_or_else(|| metadata["name"].as_str().unwrap_or_default());
        let port = &service["spec"]["ports"][0];
        let scheme = if text(&port["name"]) == "https" || port["port"] == 443 { "https:" } else { "" };
        let place = match port["name"].as_str() {
            Some(port) => format!("{scheme}{}:{port}", text(&metadata["name"])),
            None => format!("{scheme}{}", text(&metadata["name"])),
        };
        let namespace = text(&metadata["namespace"]);
        tell(name, &format!("{server}/api/v1/namespaces/{namespace}/services/{place}/proxy"))?;
    }
    skiff_print::line("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.")?;
    Ok(Outcome::Done)
}
