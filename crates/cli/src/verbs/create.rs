//! `create` and `apply`.

use serde_json::{Value, json};

use crate::api::Api;
use crate::args::{CreateArgs, FileArgs};
use crate::error::{Error, Outcome};
use crate::manifest;
use crate::resources::{Resource, Resources};
use crate::verbs::with_query;

/// Who the fields belong to in `metadata.managedFields`.
const MANAGER: &str = "skiff-kubectl";

pub(crate) async fn run(api: &Api, args: &CreateArgs) -> Result<Outcome, Error> {
    if let [kind, name] = args.what.as_slice() {
        if !["namespace", "ns"].contains(&kind.as_str()) {
            return Err(Error::Usage(format!("cannot create a {kind} without a file; use -f")));
        }
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        return each(api, vec![object], args.dry_run.as_deref(), create_one).await;
    }
    each(api, read_all(&args.filename)?, args.dry_run.as_deref(), create_one).await
}

pub(crate) async fn apply(api: &Api, args: &FileArgs) -> Result<Outcome, Error> {
    each(api, read_all(&args.filename)?, args.dry_run.as_deref(), apply_one).await
}

pub(crate) fn read_all(paths: &[String]) -> Result<Vec<Value>, Error> {
    let objects: Result<Vec<Vec<Value>>, Error> = paths.iter().map(|path| manifest::read(path)).collect();
    Ok(objects?.concat())
}

/// Does the same with each object; one that fails does not keep the others from being tried.
async fn each(
    api: &Api,
    objects: Vec<Value>,
    dry_run: Option<&str>,
    action: impl AsyncFn(&Api, &Resource, &Value, Option<&str>) -> Result<&'static str, Error>,
) -> Result<Outcome, Error> {
    let dry_run = match dry_run {
        None | Some("none") => None,
        Some("server") => Some("All"),
        Some(other) => {
            return Err(Error::Usage(format!("--dry-run={other}: only \"server\" and \"none\" are known")));
        }
    };
    let resources = Resources::discover(api).await?;
    let mut outcome = Outcome::Done;
    for object in objects {
        let done = match resource_of(&resources, &object) {
            Ok(resource) => action(api, resource, &object, dry_run).await.map(|verb| (resource, verb)),
            Err(error) => Err(error),
        };
        match done {
            Ok((resource, verb)) => {
                let suffix = if dry_run.is_some() { " (server dry run)" } else { "" };
                skiff_print::line(format_args!("{}/{} {verb}{suffix}", resource.prefix(), name(&object)))?;
            }
            Err(error) => {
                skiff_print::note(&error);
                outcome = Outcome::Failed;
            }
        }
    }
    Ok(outcome)
}

pub(crate) fn resource_of<'a>(resources: &'a Resources, object: &Value) -> Result<&'a Resource, Error> {
    resources.of_kind(object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""))
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("")
}

/// The namespace that the object names, else that of the command.
pub(crate) fn namespace<'a>(api: &'a Api, object: &'a Value) -> &'a str {
    object["metadata"]["namespace"].as_str().unwrap_or(&api.namespace)
}

async fn create_one(
    api: &Api,
    resource: &Resource,
    object: &Value,
    dry_run: Option<&str>,
) -> Result<&'static str, Error> {
    let query = [("fieldManager", Some(MANAGER)), ("fieldValidation", Some("Strict")), ("dryRun", dry_run)];
    api.post(&with_query(&resource.path(Some(namespace(api, object)), None), &query), object).await?;
    Ok("created")
}

async fn apply_one(
    api: &Api,
    resource: &Resource,
    object: &Value,
    dry_run: Option<&str>,
) -> Result<&'static str, Error> {
    let path = resource.path(Some(namespace(api, object)), Some(name(object)));
    let before = match api.get(&path).await {
        Ok(before) => Some(before),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let query = [
        ("fieldManager", Some(MANAGER)),
        ("force", Some("true")),
        ("fieldValidation", Some("Strict")),
        ("dryRun", dry_run),
    ];
    let after = api.apply(&with_query(&path, &query), object).await?;
    Ok(match before {
        None => "created",
        Some(before) if before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"] => {
            "unchanged"
        }
        Some(_) => "configured",
    })
}
