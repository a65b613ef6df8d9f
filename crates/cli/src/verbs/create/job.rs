//! `create job`.

use serde_json::{Map, Value, json};

use super::{CREATE, Kind, container};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;
use crate::select::Selection;

const IMAGE: Flag = Flag::text("image", "Image of the container");
const FROM: Flag = Flag::text("from", "CronJob whose Job is made now, e.g. cronjob/backup");

pub(super) const COMMAND: Command = Command::new(
    "job",
    "NAME --image=image [--from=cronjob/name] -- [COMMAND] [args...]",
    "Create a Job, or the Job of a CronJob now",
)
.examples(
    "# Run a command to its end
     kubectl create job clock --image=busybox -- date
     # Run now what a CronJob runs
     kubectl create job backup-now --from=cronjob/backup",
)
.flags(&[&[IMAGE, FROM], PRINT, CREATE])
.run(|cx, given| Box::pin(run(cx, given)));

const KIND: Kind = Kind::namespaced("jobs", "failed to create job: ");

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let (name, image, from) = (given.name()?, given.some(&IMAGE), given.some(&FROM));
    let job = match (image, from) {
        (Some(image), None) => make(name, image, given.after_dash()),
        (None, Some(_)) if !given.after_dash().is_empty() => {
            return Err(Error::usage("cannot specify --from and command"));
        }
        (None, Some(from)) => of_cron_job(name, &cron_job(cx, from).await?)?,
        _ => return Err(Error::usage("either --image or --from must be specified")),
    };
    KIND.send(cx, given, job).await
}

fn make(name: &str, image: &str, command: &[String]) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {}, "spec": {"containers": [container(name, image, command)], "restartPolicy": "Never"},
        }},
        "status": {},
    })
}

async fn cron_job(cx: &Context, from: &str) -> Result<Value, Error> {
    let selection = Selection { words: vec![from.to_owned()], ..Selection::default() };
    let mut found = selection.find(cx).await?;
    Error::all(found.errors)?;
    match found.items.len() {
        1 => Ok(found.items.remove(0).object),
        _ => Err(Error::usage("from must be an existing cronjob")),
    }
}

fn of_cron_job(name: &str, cron_job: &Value) -> Result<Value, Error> {
    if cron_job["kind"] != "CronJob" {
        let version = cron_job["apiVersion"].as_str().unwrap_or_default();
        let version = version.rsplit('/').next().unwrap_or(version);
        let kind = cron_job["kind"].as_str().unwrap_or_default();
        return Err(Error::Usage(format!("unknown object type *{version}.{kind}")));
    }
    let template = &cron_job["spec"]["jobTemplate"];
    let mut annotations = Map::from_iter([("cronjob.kubernetes.io/instantiate".to_owned(), json!("manual"))]);
    annotations.extend(template["metadata"]["annotations"].as_object().cloned().unwrap_or_default());
    let mut metadata = json!({"name": name, "annotations": annotations, "ownerReferences": [{
        "apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
        "name": cron_job["metadata"]["name"], "uid": cron_job["metadata"]["uid"],
    }]});
    if template["metadata"]["labels"].is_object() {
        metadata["labels"] = template["metadata"]["labels"].clone();
    }
    Ok(
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"], "status": {}}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::yaml;

    #[test]
    fn makes_what_kubectl_makes() {
        let job = make("j", "busybox", &["date".to_owned(), "-x".to_owned()]);
        let text = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: j\nspec:\n  template:\n    metadata: {}\n    spec:\n      containers:\n      - command:\n        - date\n        - -x\n        image: busybox\n        name: j\n        resources: {}\n      restartPolicy: Never\nstatus: {}\n";
        assert_eq!(yaml::document(&job), text);
    }

    #[test]
    fn a_cron_job_owns_the_job_made_of_it() {
        let cron_job = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "uid": "u"},
            "spec": {"jobTemplate": {"metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}}, "spec": {"completions": 1}}},
        });
        let job = of_cron_job("j", &cron_job).unwrap();
        assert_eq!(
            job["metadata"],
            json!({
                "name": "j", "labels": {"a": "b"},
                "annotations": {"cronjob.kubernetes.io/instantiate": "manual", "x": "y"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "controller": true, "name": "c", "uid": "u"}],
            })
        );
        assert_eq!(job["spec"], json!({"completions": 1}));
        let pod = of_cron_job("j", &json!({"apiVersion": "v1", "kind": "Pod"}));
        assert_eq!(pod.unwrap_err().to_string(), "error: unknown object type *v1.Pod");
    }
}
