//! `create`: objects from files, or from a few words.

mod configmap;
mod cronjob;
mod deployment;
mod ingress;
mod job;
mod namespace;
mod poddisruptionbudget;
mod priorityclass;
pub(crate) mod quota;
mod role;
pub(crate) mod rolebinding;
mod secret;
mod service;
mod serviceaccount;
pub(crate) mod sources;
mod token;

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::manifest;
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::FILES;
use crate::uri::with_query;

pub(crate) const VALIDATE: Flag = Flag::optional(
    "validate",
    "strict",
    "What unknown and duplicate fields are: errors (strict, true), warnings (warn) or ignored (ignore, false)",
)
.default("strict");
/// What every command that creates knows.
pub(super) const CREATE: &[Flag] = &[DRY_RUN, FIELD_MANAGER, VALIDATE];

pub(crate) const COMMAND: Command = Command::new(
    "create",
    "(-f FILENAME | KIND NAME) [options]",
    "Create objects from files or from a few words",
)
.examples(
    "# Create what a file describes
     kubectl create -f kubia.yaml
     # Create a Deployment of three pods
     kubectl create deployment kubia --image=luksa/kubia --replicas=3
     # Write the manifest of a Service and create nothing
     kubectl create service clusterip kubia --tcp=80:8080 --dry-run=client -o yaml",
)
.flags(&[FILES, PRINT, CREATE])
.commands(&[
    role::CLUSTER_ROLE,
    rolebinding::CLUSTER_ROLE_BINDING,
    configmap::COMMAND,
    cronjob::COMMAND,
    deployment::COMMAND,
    ingress::COMMAND,
    job::COMMAND,
    namespace::COMMAND,
    poddisruptionbudget::COMMAND,
    priorityclass::COMMAND,
    quota::COMMAND,
    role::ROLE,
    rolebinding::ROLE_BINDING,
    secret::COMMAND,
    service::COMMAND,
    serviceaccount::COMMAND,
    token::COMMAND,
])
.run(|cx, given| Box::pin(run(cx, given)));

/// Who the fields belong to when nobody is named.
const MANAGER: &str = "kubectl-create";

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let objects = manifest::given(given)?;
    let change = Change::of(given)?;
    let mut results = Vec::new();
    for object in &objects {
        results.push(create(cx, given, &change, object).await);
    }
    Error::of_all(results)?;
    Ok(Outcome::Done)
}

async fn create(cx: &Context, given: &Given, change: &Change, object: &Value) -> Result<(), Error> {
    let resource = cx.resources().await?.of_object(object)?;
    let namespace = crate::select::namespace_of(cx, resource, object).await?;
    let created = match change.dry_run.is_client() {
        true => object.clone(),
        false => post(cx, given, &resource.path(Some(namespace), None), object).await?,
    };
    change.print(&created, "created")
}

/// Sends an object to be created.
async fn post(cx: &Context, given: &Given, path: &str, object: &Value) -> Result<Value, Error> {
    let manager = given.some(&FIELD_MANAGER).unwrap_or(MANAGER);
    let query = [
        ("fieldManager", Some(manager)),
        ("fieldValidation", Some(validation(given)?)),
        ("dryRun", Change::of(given)?.dry_run.query()),
    ];
    cx.api().await?.post(&with_query(path, &query), object).await
}

/// What the server is asked to make of unknown fields.
pub(crate) fn validation(given: &Given) -> Result<&'static str, Error> {
    match given.text(&VALIDATE) {
        "strict" | "true" => Ok("Strict"),
        "warn" => Ok("Warn"),
        "ignore" | "false" => Ok("Ignore"),
        other => Err(Error::Usage(format!(
            "invalid - validate option {other}; must be one of: strict (or true), warn, ignore (or false)"
        ))),
    }
}

/// A kind that `create KIND` makes.
struct Kind {
    plural: &'static str,
    namespaced: bool,
    /// What precedes the server's reason when it refuses.
    failed: &'static str,
}

impl Kind {
    const fn namespaced(plural: &'static str, failed: &'static str) -> Self {
        Self { plural, namespaced: true, failed }
    }

    const fn cluster(plural: &'static str, failed: &'static str) -> Self {
        Self { plural, namespaced: false, failed }
    }

    /// Creates an object of the kind and says so.
    async fn send(&self, cx: &Context, given: &Given, mut object: Value) -> Result<Outcome, Error> {
        let change = Change::of(given)?;
        if let Some(namespace) = cx.named_namespace().filter(|_| self.namespaced) {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if !change.dry_run.is_client() {
            let path = self.path(cx, &object).await?;
            let created = post(cx, given, &path, &object).await;
            object = created.map_err(|error| match self.failed {
                "" => error,
                failed => error.context(failed),
            })?;
        }
        change.print(&object, "created")?;
        Ok(Outcome::Done)
    }

    async fn path(&self, cx: &Context, object: &Value) -> Result<String, Error> {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let root = if version.contains('/') { "apis" } else { "api" };
        Ok(match self.namespaced {
            true => format!("/{root}/{version}/namespaces/{}/{}", cx.namespace().await?, self.plural),
            false => format!("/{root}/{version}/{}", self.plural),
        })
    }
}

/// A container with nothing but an image and, if there is one, a command.
fn container(name: &str, image: &str, command: &[String]) -> Value {
    let mut container = json!({"name": name, "image": image, "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    container
}

/// A number, or a name or percentage.
fn number_or_text(text: &str) -> Value {
    text.parse::<i32>().map_or_else(|_| Value::from(text), Value::from)
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::line::{Parsed, parse};
    use crate::print::yaml;

    static ROOT: Command = Command::new("kubectl", "", "").commands(&[COMMAND]);

    /// What was given with a command line behind `kubectl create`.
    pub(super) fn given(line: &str) -> Given {
        let words: Vec<String> = format!("create {line}").split_whitespace().map(str::to_owned).collect();
        match parse(&ROOT, &words).unwrap() {
            Parsed::Run(_, given) => given,
            Parsed::Help { path, .. } => panic!("help of {path}"),
        }
    }

    /// The manifest of what a line makes, or the error.
    pub(super) fn made(line: &str, make: impl Fn(&Given) -> Result<Value, Error>) -> String {
        make(&given(line)).map_or_else(|error| error.to_string(), |object| yaml::document(&object))
    }
}
