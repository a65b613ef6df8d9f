//! `get`: tables as the server prints them.

use futures::{AsyncBufReadExt, TryStreamExt};
use serde_json::Value;

use crate::api::Api;
use crate::args::{Format, GetArgs};
use crate::error::{Error, Outcome};
use crate::output::{Shown, TableText, whole};
use crate::resources::{Resources, Target};
use crate::verbs::with_query;

pub(crate) async fn run(api: &Api, args: &GetArgs) -> Result<Outcome, Error> {
    let targets = Resources::discover(api).await?.targets(&args.select.targets)?;
    if args.watch && targets.len() != 1 {
        return Err(Error::Usage("you may only specify a single resource type to watch".to_owned()));
    }
    match args.output {
        Some(Format::Yaml | Format::Json) => print_whole(api, args, &targets).await,
        format => print_tables(api, args, &targets, format).await,
    }
}

/// Where a target is listed or read.
fn path(api: &Api, args: &GetArgs, target: &Target, watch_from: Option<&str>) -> String {
    let namespace = (!args.select.all_namespaces).then_some(api.namespace.as_str());
    let single = watch_from.and(target.name.as_ref()).map(|name| format!("metadata.name={name}"));
    let fields = single.as_deref().or(args.select.field_selector.as_deref());
    let name = if watch_from.is_some() { None } else { target.name.as_deref() };
    let list = name.is_none();
    with_query(
        &target.resource.path(namespace, name),
        &[
            ("labelSelector", args.select.selector.as_deref().filter(|_| list)),
            ("fieldSelector", fields.filter(|_| list)),
            ("watch", watch_from.map(|_| "true")),
            ("resourceVersion", watch_from),
        ],
    )
}

async fn print_whole(api: &Api, args: &GetArgs, targets: &[Target]) -> Result<Outcome, Error> {
    let mut objects = Vec::new();
    let mut single = targets.len() == 1;
    for target in targets {
        let mut answer = api.get(&path(api, args, target, None)).await?;
        if target.name.is_none() {
            single = false;
            let kind = &target.resource.kind;
            for mut item in answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default() {
                item["kind"] = Value::from(kind.as_str());
                item["apiVersion"] = Value::from(api_version(target));
                objects.push(item);
            }
        } else {
            objects.push(answer);
        }
    }
    for object in &mut objects {
        // kubectl leaves them out as well: they are many lines that nobody asked for.
        object["metadata"].as_object_mut().map(|metadata| metadata.remove("managedFields"));
    }
    if !single {
        objects = vec![
            serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects, "metadata": {"resourceVersion": ""}}),
        ];
    }
    whole(objects, args.output == Some(Format::Yaml))?;
    Ok(Outcome::Done)
}

fn api_version(target: &Target) -> String {
    let resource = &target.resource;
    if resource.group.is_empty() {
        resource.version.clone()
    } else {
        format!("{}/{}", resource.group, resource.version)
    }
}

async fn print_tables(
    api: &Api,
    args: &GetArgs,
    targets: &[Target],
    format: Option<Format>,
) -> Result<Outcome, Error> {
    let many = targets.iter().any(|target| target.resource != targets[0].resource);
    let mut shown_any = false;
    let mut failed = false;
    let mut version = String::new();
    let mut columns = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let table = match api.get_table(&path(api, args, target, None)).await {
            Ok(table) => table,
            Err(error) if targets.len() > 1 => {
                skiff_print::note(&error);
                failed = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        version = table["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned();
        if format == Some(Format::Name) {
            shown_any |= print_names(&table, target)?;
            continue;
        }
        let prefix = target.resource.prefix();
        let text = TableText::of(&table, shown(args, many.then_some(prefix.as_str())), &mut columns);
        let same_kind = number > 0 && targets[number - 1].resource == target.resource;
        if text.is_empty() {
            continue;
        }
        if shown_any && !same_kind {
            skiff_print::line("")?;
        }
        text.print(!(args.no_headers || shown_any && same_kind))?;
        shown_any = true;
    }
    if args.watch {
        return watch(api, args, &targets[0], &version, columns, shown_any).await;
    }
    if !shown_any && !failed && format != Some(Format::Name) {
        match args.select.all_namespaces || !targets.iter().any(|target| target.resource.namespaced) {
            true => skiff_print::note("No resources found"),
            false => skiff_print::note(format_args!("No resources found in {} namespace.", api.namespace)),
        }
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

fn shown<'a>(args: &GetArgs, prefix: Option<&'a str>) -> Shown<'a> {
    Shown { wide: args.output == Some(Format::Wide), namespace: args.select.all_namespaces, prefix }
}

fn print_names(table: &Value, target: &Target) -> Result<bool, Error> {
    let rows = table["rows"].as_array().map_or(&[][..], Vec::as_slice);
    for row in rows {
        skiff_print::line(format_args!(
            "{}/{}",
            target.resource.prefix(),
            row["object"]["metadata"]["name"].as_str().unwrap_or("")
        ))?;
    }
    Ok(!rows.is_empty())
}

async fn watch(
    api: &Api,
    args: &GetArgs,
    target: &Target,
    version: &str,
    mut columns: Vec<Value>,
    mut headed: bool,
) -> Result<Outcome, Error> {
    let stream = api.watch_table(&path(api, args, target, Some(version))).await?;
    let mut lines = std::pin::pin!(stream.lines());
    while let Some(line) = lines.try_next().await? {
        let event: Value = serde_json::from_str(&line)?;
        match event["type"].as_str() {
            Some("BOOKMARK") => {}
            Some("ERROR") => {
                let status = serde_json::from_value(event["object"].clone())?;
                return Err(Error::Server(Box::new(status)));
            }
            _ => {
                let text = TableText::of(&event["object"], shown(args, None), &mut columns);
                text.print(!headed && !args.no_headers)?;
                headed = true;
            }
        }
    }
    Ok(Outcome::Done)
}
