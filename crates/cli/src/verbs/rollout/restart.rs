//! `rollout restart`, `pause` and `resume`.

use serde_json::{Value, json};

use super::{CHANGE, change_each};
use crate::line::Command;

pub(super) const RESTART: Command =
    Command::new("restart", "RESOURCE", "Replace all pods, one after the other")
        .examples("# New pods of the same kind\nkubectl rollout restart deployment/kubia")
        .flags(CHANGE)
        .run(|cx, given| {
            let now = now();
            Box::pin(async move {
                change_each(cx, given, ("restarted", "restarted"), |object| restart(object, &now)).await
            })
        });

pub(super) const PAUSE: Command = Command::new("pause", "RESOURCE", "Let changes of a Deployment wait")
    .examples("# Change several things and roll out once\nkubectl rollout pause deployment/kubia")
    .flags(CHANGE)
    .run(|cx, given| Box::pin(change_each(cx, given, ("paused", "already paused"), pause)));

pub(super) const RESUME: Command =
    Command::new("resume", "RESOURCE", "Let the changes of a paused Deployment happen")
        .examples("# Roll out what was changed meanwhile\nkubectl rollout resume deployment/kubia")
        .flags(CHANGE)
        .run(|cx, given| Box::pin(change_each(cx, given, ("resumed", "already resumed"), resume)));

/// The time in whole seconds, as templates note when they were restarted.
fn now() -> String {
    k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn restart(object: &mut Value, now: &str) -> Result<(), String> {
    match object["kind"].as_str() {
        Some("Deployment") if object["spec"]["paused"] == true => {
            Err("can't restart paused deployment (run rollout resume first)".to_owned())
        }
        Some("Deployment" | "DaemonSet" | "StatefulSet") => {
            let metadata = &mut object["spec"]["template"]["metadata"];
            metadata["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!(now);
            Ok(())
        }
        _ => Err("restarting is not supported".to_owned()),
    }
}

fn pause(object: &mut Value) -> Result<(), String> {
    match object["kind"].as_str() {
        Some("Deployment") if object["spec"]["paused"] == true => Err("is already paused".to_owned()),
        Some("Deployment") => {
            object["spec"]["paused"] = json!(true);
            Ok(())
        }
        _ => Err("pausing is not supported".to_owned()),
    }
}

fn resume(object: &mut Value) -> Result<(), String> {
    match object["kind"].as_str() {
        Some("Deployment") if object["spec"]["paused"] != true => Err("is not paused".to_owned()),
        Some("Deployment") => {
            object["spec"].as_object_mut().map(|spec| spec.remove("paused"));
            Ok(())
        }
        _ => Err("resuming is not supported".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_is_not_restarted() {
        let mut web = json!({"kind": "Deployment", "spec": {"template": {}}});
        assert_eq!(pause(&mut web), Ok(()));
        assert_eq!(pause(&mut web), Err("is already paused".to_owned()));
        assert_eq!(
            restart(&mut web, "t"),
            Err("can't restart paused deployment (run rollout resume first)".to_owned())
        );
        assert_eq!(resume(&mut web), Ok(()));
        assert_eq!(resume(&mut web), Err("is not paused".to_owned()));
        assert_eq!(restart(&mut web, "t"), Ok(()));
        assert_eq!(
            web["spec"],
            json!({"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "t"}}}})
        );
        assert_eq!(pause(&mut json!({"kind": "DaemonSet"})), Err("pausing is not supported".to_owned()));
    }
}
