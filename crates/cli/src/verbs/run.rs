//! `run`: a pod made from an image.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::{DRY_RUN, FIELD_MANAGER, PRINT};
use crate::select::Item;
use crate::uri::with_query;
use crate::verbs::attach::{self, Streams};
use crate::watch::{Place, Seen, until};

const IMAGE: Flag = Flag::text("image", "Image of the container").required();
const RESTART: Flag = Flag::text("restart", "Always, OnFailure or Never").default("Always");
const ENV: Flag = Flag::each("env", "NAME=VALUE; may be repeated");
const PORT: Flag = Flag::text("port", "Port that the container serves");
const LABELS: Flag = Flag::text("labels", "KEY=VALUE,…; run=NAME when not given").short('l');
const ANNOTATIONS: Flag = Flag::each("annotations", "KEY=VALUE; may be repeated");
const COMMAND_FLAG: Flag =
    Flag::switch("command", "The words after -- are the command instead of its arguments");
const PULL_POLICY: Flag = Flag::text("image-pull-policy", "Always, IfNotPresent or Never");
const STDIN: Flag = Flag::switch("stdin", "Give the container standard input, and connect to it").short('i');
const TTY: Flag = Flag::switch("tty", "Give the container a terminal").short('t');
const ATTACH: Flag = Flag::switch("attach", "Connect to the container when it runs");
const RM: Flag = Flag::switch("rm", "Delete the pod when the connection ends");
const QUIET: Flag = Flag::switch("quiet", "Say nothing of what is done").short('q');
const TIMEOUT: Flag = Flag::duration("pod-running-timeout", "1m0s", "How long to wait until the pod runs");
const PRIVILEGED: Flag = Flag::switch("privileged", "Give the container all rights of the node");

pub(crate) const COMMAND: Command = Command::new(
    "run",
    "NAME --image=image [--env=\"key=value\"] [--port=port] [--dry-run=server|client] [--command] -- [COMMAND] [args...]",
    "Make a pod from an image",
)
.examples(
    "# A pod that serves
     kubectl run kubia --image=luksa/kubia --port=8080
     # A shell that is gone when it ends
     kubectl run -it --rm shell --image=busybox --restart=Never -- sh",
)
.flags(&[
    PRINT,
    &[
        IMAGE,
        RESTART,
        ENV,
        PORT,
        LABELS,
        ANNOTATIONS,
        COMMAND_FLAG,
        PULL_POLICY,
        STDIN,
        TTY,
        ATTACH,
        RM,
        QUIET,
        TIMEOUT,
        PRIVILEGED,
        DRY_RUN,
        FIELD_MANAGER,
    ],
])
.run(|cx, given| Box::pin(run(cx, given)));

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let mut pod = pod(given)?;
    let (stdin, attach) = (given.is_on(&STDIN), given.is_on(&ATTACH) || given.is_on(&STDIN));
    if given.is_on(&TTY) && !stdin {
        return Err(Error::usage("--stdin is required for containers with -t/--tty=true"));
    }
    if given.is_on(&RM) && !attach {
        return Err(Error::usage("--rm should only be used for attached containers"));
    }
    let change = Change::of(given)?;
    if attach && change.dry_run != crate::print::DryRun::None {
        return Err(Error::usage(
            "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
        ));
    }
    if let Some(namespace) = cx.named_namespace() {
        pod["metadata"]["namespace"] = json!(namespace);
    }
    if change.dry_run.is_client() {
        change.print(&pod, "created")?;
        return Ok(Outcome::Done);
    }
    let namespace = cx.namespace().await?;
    let manager = given.some(&FIELD_MANAGER).unwrap_or("kubectl-run");
    let query = [("fieldManager", Some(manager)), ("dryRun", change.dry_run.query())];
    let path = with_query(&format!("/api/v1/namespaces/{namespace}/pods"), &query);
    let made = cx.api().await?.post(&path, &pod).await?;
    if !attach {
        if !given.is_on(&QUIET) {
            change.print(&made, "created")?;
        }
        return Ok(Outcome::Done);
    }
    let ended = connect(cx, given, &made).await;
    if given.is_on(&RM) {
        let name = given.words[0].as_str();
        cx.api().await?.delete(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), &json!({})).await?;
        if !given.is_on(&QUIET) {
            skiff_print::line(format_args!("pod \"{name}\" deleted from {namespace} namespace"))?;
        }
    }
    ended
}

fn pod(given: &Given) -> Result<Value, Error> {
    let Some(name) = given.words.first().filter(|_| given.before_dash != Some(0)) else {
        return Err(given.misuse("NAME is required for run"));
    };
    let image = given.text(&IMAGE);
    if image.is_empty() || image.contains(char::is_whitespace) {
        return Err(Error::Usage(format!("Invalid image name \"{image}\": invalid reference format")));
    }
    let restart = given.text(&RESTART);
    if !["Always", "OnFailure", "Never"].contains(&restart) {
        return Err(Error::Usage(format!("invalid restart policy: {restart}")));
    }
    let labels = match given.some(&LABELS) {
        Some(labels) => pairs(labels.split(','), "unexpected label spec")?,
        None => Map::from_iter([("run".to_owned(), json!(name))]),
    };
    let mut container = json!({"name": name, "image": image, "resources": {}});
    let words = &given.words[1..];
    if !words.is_empty() {
        container[if given.is_on(&COMMAND_FLAG) { "command" } else { "args" }] = json!(words);
    }
    let mut env = Vec::new();
    for variable in given.all(&ENV) {
        let (name, value) = variable
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Error::Usage(format!("invalid env: {variable}")))?;
        env.push(if value.is_empty() {
            json!({"name": name})
        } else {
            json!({"name": name, "value": value})
        });
    }
    if !env.is_empty() {
        container["env"] = Value::Array(env);
    }
    if let Some(port) = given.some(&PORT) {
        let port: i32 = port
            .parse()
            .map_err(|_| Error::Usage(format!("strconv.Atoi: parsing \"{port}\": invalid syntax")))?;
        container["ports"] = json!([{"containerPort": port}]);
    }
    if let Some(policy) = given.some(&PULL_POLICY) {
        container["imagePullPolicy"] = json!(policy);
    }
    if given.is_on(&PRIVILEGED) {
        container["securityContext"] = json!({"privileged": true});
    }
    for (flag, field) in [(&STDIN, "stdin"), (&TTY, "tty")] {
        if given.is_on(flag) {
            container[field] = json!(true);
        }
    }
    if given.is_on(&STDIN) && restart == "Never" {
        container["stdinOnce"] = json!(true);
    }
    let mut metadata = json!({"name": name, "labels": labels});
    let annotations = pairs(given.all(&ANNOTATIONS).iter().map(String::as_str), "invalid annotation")?;
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [container], "restartPolicy": restart, "dnsPolicy": "ClusterFirst"},
        "status": {},
    }))
}

fn pairs<'a>(words: impl Iterator<Item = &'a str>, wrong: &str) -> Result<Map<String, Value>, Error> {
    let pair = |word: &str| {
        let (key, value) = word.split_once('=').ok_or_else(|| Error::Usage(format!("{wrong}: {word}")))?;
        Ok((key.to_owned(), json!(value)))
    };
    words.map(pair).collect()
}

/// Waits until the pod runs, or has ended, and connects to it.
async fn connect(cx: &Context, given: &Given, pod: &Value) -> Result<Outcome, Error> {
    let resource = cx.resources().await?.one("pods").cloned();
    let resource =
        resource.ok_or_else(|| Error::usage("the server doesn't have a resource type \"pods\""))?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let namespace = cx.namespace().await?.to_owned();
    let item = Item { resource, namespace: Some(namespace), name, object: pod.clone() };
    let place = Place { resource: &item.resource, namespace: item.namespace.as_deref(), name: &item.name };
    let time = given.time(&TIMEOUT).unwrap_or(Duration::from_secs(60));
    let phase = |seen: Seen| match seen {
        Seen::There(pod) => Ok(match pod["status"]["phase"].as_str() {
            Some("Running") => Some(true),
            Some("Succeeded" | "Failed") => Some(false),
            _ => None,
        }),
        _ => Err(Error::Usage(format!("pods \"{}\" not found", item.name))),
    };
    let runs = until(cx.api().await?, place, Some(time), phase).await?;
    match runs.ok_or_else(|| Error::usage("timed out waiting for the condition"))? {
        true => {
            let streams =
                Streams { stdin: given.is_on(&STDIN), tty: given.is_on(&TTY), quiet: given.is_on(&QUIET) };
            attach::connect(cx, &item.name, None, streams).await
        }
        // It was quicker: what it wrote is left.
        false => crate::verbs::logs::print(cx, &item.name).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Parsed, parse};
    use crate::print::yaml;

    static ROOT: Command = Command::new("kubectl", "", "").commands(&[COMMAND]);

    fn made(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Parsed::Run(_, given) = parse(&ROOT, &words).unwrap() else { panic!("help") };
        pod(&given).map_or_else(|error| error.to_string(), |pod| yaml::document(&pod))
    }

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    run: p\n  name: p\nspec:\n  containers:\n  - args:\n    - x\n    - \"y\"\n    env:\n    - name: A\n      value: b\n    image: luksa/kubia\n    name: p\n    ports:\n    - containerPort: 80\n    resources: {}\n  dnsPolicy: ClusterFirst\n  restartPolicy: Always\nstatus: {}\n";
        assert_eq!(made("run p --image=luksa/kubia --env=A=b --port=80 -- x y"), text);
        assert_eq!(made("run p --image=a --restart=x"), "error: invalid restart policy: x");
        assert_eq!(made("run p --image=a --env=x"), "error: invalid env: x");
    }
}
