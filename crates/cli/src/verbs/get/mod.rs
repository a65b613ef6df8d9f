//! `get`: tables as the server prints them, and objects in other formats.

mod custom_columns;
mod watch;

use serde_json::Value;

use crate::api::Api;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Format;
use crate::print::jsonpath::JsonPath;
use crate::print::objects::{self, OUTPUT, PRINT};
use crate::print::server_table::{Shown, TableText};
use crate::resources::{Resource, Target};
use crate::select::{ALL_NAMESPACES, FIELD_SELECTOR, FILENAME, FILES, SELECTOR, Selection};
use crate::uri::with_query;

use custom_columns::Columns;

const WATCH: Flag = Flag::switch("watch", "Then show changes as they happen").short('w');
const WATCH_ONLY: Flag = Flag::switch("watch-only", "Show only changes, as they happen");
const NO_HEADERS: Flag = Flag::switch("no-headers", "Leave the header line out");
const SHOW_LABELS: Flag = Flag::switch("show-labels", "Show all labels in the last column");
const LABEL_COLUMNS: Flag = Flag::list("label-columns", "Labels that get a column each").short('L');
const SORT_BY: Flag = Flag::text("sort-by", "Order by a field, e.g. .metadata.creationTimestamp");
const IGNORE_NOT_FOUND: Flag = Flag::switch("ignore-not-found", "Do not fail when an object is not there");
const RAW: Flag = Flag::text("raw", "Path on the server whose answer is printed as it is");

pub(crate) const COMMAND: Command = Command::new(
    "get",
    "(TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags] [options]",
    "Show objects as a table, or whole",
)
.examples(
    "# What runs, what keeps it running and how it is reached
     kubectl get all
     # Pods with their addresses, as they change
     kubectl get pods -o wide -w
     # One object as YAML, or one field of it
     kubectl get deployment kubia -o yaml
     kubectl get deployment kubia -o jsonpath='{.spec.replicas}'
     # Columns of one's own
     kubectl get pods -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image",
)
.flags(&[
    FILES,
    &[
        SELECTOR,
        FIELD_SELECTOR,
        ALL_NAMESPACES,
        WATCH,
        WATCH_ONLY,
        NO_HEADERS,
        SHOW_LABELS,
        LABEL_COLUMNS,
        SORT_BY,
        IGNORE_NOT_FOUND,
        RAW,
    ],
    PRINT,
])
.run(|cx, given| Box::pin(run(cx, given)));

const NOTHING_NAMED: &str = "Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).";

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    if let Some(path) = given.some(&RAW) {
        return raw(cx, path).await;
    }
    if given.words.is_empty() && !given.is_given(&FILENAME) {
        skiff_print::note(
            "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n",
        );
        return Err(given.misuse(NOTHING_NAMED));
    }
    match given.text(&OUTPUT) {
        "" | "wide" => {}
        text => match Columns::of(text, given.is_on(&NO_HEADERS))? {
            Some(columns) => return print_columns(cx, given, &columns).await,
            None => return print_whole(cx, given, &Format::parse(text)?).await,
        },
    }
    let mut targets = cx.resources().await?.targets(&given.words)?;
    if given.is_given(&FILENAME) {
        let found = Selection::of(given, &given.words).local().find(cx).await?;
        Error::all(found.errors)?;
        targets = found
            .items
            .into_iter()
            .map(|item| Target { resource: item.resource, name: Some(item.name) })
            .collect();
    }
    if is_watch(given) && targets.len() != 1 {
        return Err(Error::usage("you may only specify a single resource type"));
    }
    print_tables(cx.api().await?, given, &targets).await
}

fn is_watch(given: &Given) -> bool {
    given.is_on(&WATCH) || given.is_on(&WATCH_ONLY)
}

async fn raw(cx: &Context, path: &str) -> Result<Outcome, Error> {
    use futures::AsyncReadExt;
    let mut text = Vec::new();
    let stream = cx.api().await?.stream(path, "application/json").await?;
    std::pin::pin!(stream).read_to_end(&mut text).await?;
    skiff_print::bytes(&text)?;
    Ok(Outcome::Done)
}

/// Where a target is listed or read.
fn path(api: &Api, given: &Given, target: &Target, watch_from: Option<&str>) -> String {
    let namespace = (!given.is_on(&ALL_NAMESPACES)).then_some(api.namespace.as_str());
    let single = watch_from.and(target.name.as_ref()).map(|name| format!("metadata.name={name}"));
    let fields = single.as_deref().or(given.some(&FIELD_SELECTOR));
    let name = if watch_from.is_some() { None } else { target.name.as_deref() };
    let list = name.is_none();
    with_query(
        &target.resource.path(namespace, name),
        &[
            ("labelSelector", given.some(&SELECTOR).filter(|_| list)),
            ("fieldSelector", fields.filter(|_| list)),
            ("watch", watch_from.map(|_| "true")),
            ("resourceVersion", watch_from),
            ("includeObject", given.is_given(&SORT_BY).then_some("Object")),
        ],
    )
}

/// The objects, as one: that which was named, or a list.
async fn objects(cx: &Context, given: &Given) -> Result<(Value, Vec<Error>), Error> {
    let selection = Selection::of(given, &given.words).or_all();
    let mut found = selection.find(cx).await?;
    if given.is_on(&IGNORE_NOT_FOUND) {
        found.errors.retain(|error| !error.is_not_found());
    }
    let single = selection.words.iter().all(|word| !word.contains(',')) && {
        let targets = cx.resources().await?.targets(&selection.words)?;
        targets.len() == 1 && targets[0].name.is_some()
    };
    let mut items: Vec<Value> = found.items.into_iter().map(|item| item.object).collect();
    if let Some(field) = given.some(&SORT_BY) {
        sort(&mut items, field, |item| item)?;
    }
    let whole = if single && items.len() == 1 { items.remove(0) } else { objects::list(items) };
    Ok((whole, found.errors))
}

async fn print_whole(cx: &Context, given: &Given, format: &Format) -> Result<Outcome, Error> {
    let (object, errors) = objects(cx, given).await?;
    let items = object["items"].as_array().map(Vec::as_slice);
    if let (Format::Name, Some(items)) = (format, items) {
        items.iter().try_for_each(|item| objects::print(format, item, given))?;
    } else if errors.is_empty() || items.is_none_or(|items| !items.is_empty()) {
        objects::print(format, &object, given)?;
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn print_columns(cx: &Context, given: &Given, columns: &Columns) -> Result<Outcome, Error> {
    let (object, errors) = objects(cx, given).await?;
    let alone = std::slice::from_ref(&object);
    let items = object["items"].as_array().map_or(alone, Vec::as_slice);
    skiff_print::text(columns.text(items)?)?;
    Error::all(errors)?;
    Ok(Outcome::Done)
}

/// Puts things in the order of a field of the objects that they hold.
fn sort<T>(things: &mut [T], field: &str, object: impl Fn(&T) -> &Value) -> Result<(), Error> {
    let path = JsonPath::relaxed(field).map_err(Error::Usage)?;
    for thing in things.iter() {
        path.values(object(thing)).map_err(Error::Usage)?;
    }
    let value =
        |thing: &T| path.values(object(thing)).ok().and_then(|values| values.first().copied().cloned());
    skiff_ordered::sort_by(things, |left, right| {
        let (left, right) = (value(left), value(right));
        match (left.as_ref(), right.as_ref()) {
            (Some(Value::Number(a)), Some(Value::Number(b))) => {
                a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(std::cmp::Ordering::Equal)
            }
            (Some(a), Some(b)) => crate::print::jsonpath::word(a).cmp(&crate::print::jsonpath::word(b)),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    });
    Ok(())
}

/// Shows tables one below the other; those of one kind as one.
async fn print_tables(api: &Api, given: &Given, targets: &[Target]) -> Result<Outcome, Error> {
    let many = targets.iter().any(|target| target.resource != targets[0].resource);
    let (mut errors, mut version, mut columns) = (Vec::new(), String::new(), Vec::new());
    let mut printed: Vec<(&Resource, TableText)> = Vec::new();
    for target in targets {
        let mut table = match api.get_table(&path(api, given, target, None)).await {
            Ok(table) => table,
            Err(error) if error.is_not_found() && given.is_on(&IGNORE_NOT_FOUND) => continue,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        version = table["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned();
        if let (Some(field), Some(rows)) = (given.some(&SORT_BY), table["rows"].as_array_mut()) {
            sort(rows, field, |row| &row["object"])?;
        }
        let prefix = target.resource.prefix();
        let text = TableText::of(
            &table,
            shown(given, &target.resource, many.then_some(prefix.as_str())),
            &mut columns,
        );
        match printed.last_mut() {
            _ if text.is_empty() => {}
            Some((resource, last)) if **resource == target.resource => last.append(text),
            _ => printed.push((&target.resource, text)),
        }
    }
    if !given.is_on(&WATCH_ONLY) {
        for (number, (_, text)) in printed.iter().enumerate() {
            if number > 0 {
                skiff_print::line("")?;
            }
            text.print(!given.is_on(&NO_HEADERS))?;
        }
    }
    let failed = !errors.is_empty();
    Error::all(errors)?;
    if is_watch(given) {
        let headed = !printed.is_empty() && !given.is_on(&WATCH_ONLY);
        return watch::run(api, given, &targets[0], &version, columns, headed).await;
    }
    if printed.is_empty() && !failed && !given.is_on(&IGNORE_NOT_FOUND) {
        match given.is_on(&ALL_NAMESPACES) || !targets.iter().any(|target| target.resource.namespaced) {
            true => skiff_print::note("No resources found"),
            false => skiff_print::note(format_args!("No resources found in {} namespace.", api.namespace)),
        }
    }
    Ok(Outcome::Done)
}

fn shown<'a>(given: &'a Given, resource: &Resource, prefix: Option<&'a str>) -> Shown<'a> {
    Shown {
        wide: given.text(&OUTPUT) == "wide",
        namespace: given.is_on(&ALL_NAMESPACES) && resource.namespaced,
        prefix,
        labels: given.all(&LABEL_COLUMNS),
        all_labels: given.is_on(&SHOW_LABELS),
    }
}

#[cfg(test)]
mod tests {
    use super::sort;
    use serde_json::json;

    #[test]
    fn sorts_numbers_and_texts() {
        let sorted = |field: &str| {
            let mut items = vec![json!({"n": 10, "t": "a"}), json!({"n": 9, "t": "b"}), json!({"t": "c"})];
            sort(&mut items, field, |item| item).unwrap();
            items.iter().filter_map(|item| item["t"].as_str().map(str::to_owned)).collect::<String>()
        };
        assert_eq!(sorted(".n"), "cba");
        assert_eq!(sorted("{.t}"), "abc");
    }
}
