//! `create cronjob`.

use serde_json::{Value, json};

use super::{CREATE, Kind, container};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const IMAGE: Flag = Flag::text("image", "Image of the container").required();
const SCHEDULE: Flag = Flag::text("schedule", "When the Job runs, as cron writes it").required();
const RESTART: Flag = Flag::text("restart", "OnFailure or Never");

pub(super) const COMMAND: Command = Command::new(
    "cronjob",
    "NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...] [flags]",
    "Create a CronJob",
)
.aliases(&["cj"])
.examples("# Run a command every five minutes\nkubectl create cronjob clock --image=busybox --schedule='*/5 * * * *' -- date")
.flags(&[&[IMAGE, SCHEDULE, RESTART], PRINT, CREATE])
.run(|cx, given| Box::pin(async move { KIND.send(cx, given, make(given)?).await }));

const KIND: Kind = Kind::namespaced("cronjobs", "failed to create cronjob: ");

fn make(given: &Given) -> Result<Value, Error> {
    let name = given.name()?;
    let pod = json!({
        "containers": [container(name, given.text(&IMAGE), given.after_dash())],
        "restartPolicy": given.some(&RESTART).unwrap_or("OnFailure"),
    });
    Ok(json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {
            "schedule": given.text(&SCHEDULE),
            "jobTemplate": {
                "metadata": {"name": name},
                "spec": {"template": {"metadata": {}, "spec": pod}},
            },
        },
        "status": {},
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: c\nspec:\n  jobTemplate:\n    metadata:\n      name: c\n    spec:\n      template:\n        metadata: {}\n        spec:\n          containers:\n          - command:\n            - date\n            image: busybox\n            name: c\n            resources: {}\n          restartPolicy: Never\n  schedule: '@hourly'\nstatus: {}\n";
        assert_eq!(made("cj c --image=busybox --schedule=@hourly --restart=Never -- date", make), text);
    }
}
