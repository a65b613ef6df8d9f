//! `delete`, and waiting until the objects are gone.

use futures::{AsyncBufReadExt, TryStreamExt};
use serde_json::{Value, json};

use crate::api::Api;
use crate::args::DeleteArgs;
use crate::error::{Error, Outcome};
use crate::resources::{Resource, Resources};
use crate::verbs::create::{name, namespace, read_all, resource_of};
use crate::verbs::with_query;

/// An object to delete.
struct Doomed {
    resource: Resource,
    namespace: String,
    name: String,
}

pub(crate) async fn run(api: &Api, args: &DeleteArgs) -> Result<Outcome, Error> {
    if args.force && args.grace_period.is_some_and(|seconds| seconds > 0) {
        return Err(Error::Usage(
            "--force and --grace-period greater than 0 cannot be specified together".to_owned(),
        ));
    }
    let resources = Resources::discover(api).await?;
    let doomed = if args.filename.is_empty() {
        named(api, &resources, args).await?
    } else {
        described(api, &resources, args)?
    };
    if doomed.is_empty() {
        skiff_print::note("No resources found");
    }
    let mut outcome = Outcome::Done;
    let mut pending = Vec::new();
    for object in doomed {
        match delete(api, args, &object).await {
            Ok(answer) => {
                skiff_print::line(format_args!(
                    "{} \"{}\" deleted{}",
                    object.resource.prefix(),
                    object.name,
                    if args.force { " (forced)" } else { "" }
                ))?;
                pending.push((object, uid(&answer)));
            }
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            Err(error) => {
                skiff_print::note(&error);
                outcome = Outcome::Failed;
            }
        }
    }
    if args.wait {
        for (object, uid) in pending {
            wait_until_gone(api, &object, &uid).await?;
        }
    }
    Ok(outcome)
}

async fn named(api: &Api, resources: &Resources, args: &DeleteArgs) -> Result<Vec<Doomed>, Error> {
    let mut doomed = Vec::new();
    for target in resources.targets(&args.targets)? {
        let make = |name: &str| Doomed {
            resource: target.resource.clone(),
            namespace: api.namespace.clone(),
            name: name.to_owned(),
        };
        if let Some(name) = &target.name {
            doomed.push(make(name));
            continue;
        }
        if args.selector.is_none() && !args.all {
            return Err(Error::Usage("resource(s) were provided, but no name was specified".to_owned()));
        }
        let path = target.resource.path(Some(&api.namespace), None);
        let list = api.get(&with_query(&path, &[("labelSelector", args.selector.as_deref())])).await?;
        doomed.extend(list["items"].as_array().into_iter().flatten().map(|item| make(name(item))));
    }
    Ok(doomed)
}

fn described(api: &Api, resources: &Resources, args: &DeleteArgs) -> Result<Vec<Doomed>, Error> {
    let objects = read_all(&args.filename)?;
    let make = |object: &Value| {
        Ok(Doomed {
            resource: resource_of(resources, object)?.clone(),
            namespace: namespace(api, object).to_owned(),
            name: name(object).to_owned(),
        })
    };
    objects.iter().map(make).collect()
}

async fn delete(api: &Api, args: &DeleteArgs, object: &Doomed) -> Result<Value, Error> {
    let mut options = json!({"propagationPolicy": "Background"});
    if let Some(seconds) = args.grace_period.or(args.force.then_some(0)) {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    api.delete(&object.resource.path(Some(&object.namespace), Some(&object.name)), &options).await
}

/// The server answers with the object (still going) or with a Status about it.
fn uid(answer: &Value) -> String {
    let uid = answer["metadata"]["uid"].as_str().or(answer["details"]["uid"].as_str());
    uid.unwrap_or_default().to_owned()
}

async fn wait_until_gone(api: &Api, object: &Doomed, uid: &str) -> Result<(), Error> {
    let field = format!("metadata.name={}", object.name);
    let path = object.resource.path(Some(&object.namespace), None);
    let list = api.get(&with_query(&path, &[("fieldSelector", Some(&field))])).await?;
    let there =
        list["items"].as_array().is_some_and(|items| items.iter().any(|item| item["metadata"]["uid"] == uid));
    if !there {
        return Ok(());
    }
    let version = list["metadata"]["resourceVersion"].as_str();
    let query =
        [("fieldSelector", Some(field.as_str())), ("watch", Some("true")), ("resourceVersion", version)];
    let stream = api.watch_table(&with_query(&path, &query)).await?;
    let mut lines = std::pin::pin!(stream.lines());
    while let Some(line) = lines.try_next().await? {
        let event: Value = serde_json::from_str(&line)?;
        if event["type"] == "DELETED" {
            return Ok(());
        }
    }
    Err(Error::Connection(format!("the watch of {} ended before it was gone", object.name)))
}
