//! `create poddisruptionbudget`.

use serde_json::{Value, json};

use super::{CREATE, Kind, number_or_text};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;
use crate::selector;

const SELECTOR: Flag = Flag::text("selector", "Label selector of the pods, e.g. app=kubia");
const MIN_AVAILABLE: Flag =
    Flag::text("min-available", "How many of the pods stay, as a number or percentage");
const MAX_UNAVAILABLE: Flag =
    Flag::text("max-unavailable", "How many of the pods may go, as a number or percentage");

pub(super) const COMMAND: Command = Command::new(
    "poddisruptionbudget",
    "NAME --selector=SELECTOR --min-available=N [--dry-run=server|client|none]",
    "Create a PodDisruptionBudget",
)
.aliases(&["pdb"])
.examples("# Two pods stay whatever is drained\nkubectl create poddisruptionbudget kubia --selector=app=kubia --min-available=2")
.flags(&[&[SELECTOR, MIN_AVAILABLE, MAX_UNAVAILABLE], PRINT, CREATE])
.run(|cx, given| {
    Box::pin(async move {
        let kind = Kind::namespaced("poddisruptionbudgets", "failed to create poddisruptionbudgets: ");
        kind.send(cx, given, make(given)?).await
    })
});

fn make(given: &Given) -> Result<Value, Error> {
    let name = given.name()?;
    let Some(selector) = given.some(&SELECTOR) else {
        return Err(Error::usage("a selector must be specified"));
    };
    let (field, amount, flag) = match (given.some(&MIN_AVAILABLE), given.some(&MAX_UNAVAILABLE)) {
        (None, None) => {
            return Err(Error::usage("one of min-available or max-unavailable must be specified"));
        }
        (Some(_), Some(_)) => {
            return Err(Error::usage("min-available and max-unavailable cannot be both specified"));
        }
        (Some(amount), None) => ("minAvailable", amount, "min-available"),
        (None, Some(amount)) => ("maxUnavailable", amount, "max-unavailable"),
    };
    let digits = amount.strip_suffix('%').unwrap_or(amount);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Err(Error::Usage(format!("invalid format specified for {flag}")));
    }
    Ok(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"selector": selector::of_text(selector).map_err(Error::Usage)?, field: number_or_text(amount)},
        "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0},
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata:\n  name: p\nspec:\n  minAvailable: 50%\n  selector:\n    matchLabels:\n      app: x\nstatus:\n  currentHealthy: 0\n  desiredHealthy: 0\n  disruptionsAllowed: 0\n  expectedPods: 0\n";
        assert_eq!(made("pdb p --selector=app=x --min-available=50%", make), text);
        for (line, text) in [
            ("pdb p --min-available=1", "a selector must be specified"),
            ("pdb p --selector=a=b", "one of min-available or max-unavailable must be specified"),
            ("pdb p --selector=a=b --max-unavailable=1x", "invalid format specified for max-unavailable"),
        ] {
            assert_eq!(made(line, make), format!("error: {text}"), "{line}");
        }
    }
}
