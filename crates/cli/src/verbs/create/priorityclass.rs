//! `create priorityclass`.

use serde_json::{Value, json};

use super::{CREATE, Kind};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const VALUE: Flag = Flag::number("value", "0", "The priority of pods of the class");
const GLOBAL_DEFAULT: Flag =
    Flag::switch("global-default", "Whether pods that name no class are of this one");
const DESCRIPTION: Flag = Flag::text("description", "What the class is for");
const PREEMPTION_POLICY: Flag =
    Flag::text("preemption-policy", "PreemptLowerPriority or Never").default("PreemptLowerPriority");

pub(super) const COMMAND: Command = Command::new(
    "priorityclass",
    "NAME --value=VALUE --global-default=BOOL [--dry-run=server|client|none]",
    "Create a PriorityClass",
)
.aliases(&["pc"])
.examples("# Pods that others make room for\nkubectl create priorityclass high --value=1000 --description='what must run'")
.flags(&[&[VALUE, GLOBAL_DEFAULT, DESCRIPTION, PREEMPTION_POLICY], PRINT, CREATE])
.run(|cx, given| {
    Box::pin(async move {
        Kind::cluster("priorityclasses", "failed to create priorityclass: ").send(cx, given, make(given)?).await
    })
});

fn make(given: &Given) -> Result<Value, Error> {
    let mut object = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": given.name()?},
        "value": given.number(&VALUE), "preemptionPolicy": given.text(&PREEMPTION_POLICY),
    });
    if given.is_on(&GLOBAL_DEFAULT) {
        object["globalDefault"] = json!(true);
    }
    if let Some(description) = given.some(&DESCRIPTION) {
        object["description"] = json!(description);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: scheduling.k8s.io/v1\ndescription: x\nglobalDefault: true\nkind: PriorityClass\nmetadata:\n  name: p\npreemptionPolicy: PreemptLowerPriority\nvalue: 10\n";
        assert_eq!(made("pc p --value=10 --global-default --description=x", make), text);
    }
}
