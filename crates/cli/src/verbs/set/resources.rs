//! `set resources`.

use serde_json::{Map, Value, json};

use super::{SET, Told, change_each, refused};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::pods;
use crate::print::objects::PRINT;
use crate::select::{ALL, FILES, SELECTOR};
use crate::verbs::create::quota::amounts;

const CONTAINERS: Flag = Flag::text("containers", "Names of the containers, in which * stands for anything")
    .short('c')
    .default("*");
const LIMITS: Flag = Flag::text("limits", "What containers may use at most, e.g. cpu=200m,memory=512Mi");
const REQUESTS: Flag = Flag::text("requests", "What is set aside for containers, e.g. cpu=100m,memory=256Mi");

pub(super) const COMMAND: Command = Command::new(
    "resources",
    "(-f FILENAME | TYPE NAME)  ([--limits=LIMITS & --requests=REQUESTS]",
    "Set what containers request and may use",
)
.examples("# At most half a processor\nkubectl set resources deployment/kubia --limits=cpu=500m,memory=128Mi")
.flags(&[FILES, PRINT, SET, &[CONTAINERS, LIMITS, REQUESTS]])
.run(|cx, given| Box::pin(run(cx, given)));

const TOLD: Told = Told {
    done: "resource requirements updated",
    failed: "failed to patch resources update to pod template ",
};

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    if given.is_on(&ALL) && given.is_given(&SELECTOR) {
        return Err(Error::usage("cannot set --all and --selector at the same time"));
    }
    let read = |flag: &Flag| given.some(flag).map_or_else(|| Ok(Map::new()), amounts);
    if given.some(&LIMITS).is_none() && given.some(&REQUESTS).is_none() {
        return Err(Error::usage(
            "you must specify an update to requests or limits (in the form of --requests/--limits)",
        ));
    }
    let (limits, requests) = (read(&LIMITS)?, read(&REQUESTS)?);
    let pattern = given.text(&CONTAINERS);
    change_each(cx, given, &given.words, TOLD, |object| set(object, pattern, &limits, &requests)).await
}

fn set(
    object: &mut Value,
    pattern: &str,
    limits: &Map<String, Value>,
    requests: &Map<String, Value>,
) -> Result<(), Error> {
    if let Err(why) = pods::spec_mut(object) {
        return Err(refused(object, &why));
    }
    let containers = pods::containers_mut(pods::spec_mut(object).map_err(Error::Usage)?, pattern);
    if containers.is_empty() {
        return Err(Error::Usage(format!("unable to find container named {pattern}")));
    }
    for container in containers {
        for (field, amounts) in [("limits", limits), ("requests", requests)] {
            for (name, amount) in amounts {
                container["resources"][field][name] = json!(amount);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_set_beside_others() {
        let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "a", "resources": {"limits": {"memory": "1Gi"}}}]}});
        set(&mut pod, "*", &amounts("cpu=1").unwrap(), &Map::new()).unwrap();
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "1", "memory": "1Gi"}})
        );
        let error = set(&mut pod, "b", &Map::new(), &Map::new()).unwrap_err().to_string();
        assert_eq!(error, "error: unable to find container named b");
    }
}
