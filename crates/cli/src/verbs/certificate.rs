//! `certificate`: decisions upon requests for certificates.

use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::print::Change;
use crate::print::objects::PRINT;
use crate::select::{FILENAME, FILES, Item, SELECTOR, Selection};

const FORCE: Flag = Flag::switch("force", "Decide anew upon what was decided");

pub(crate) const COMMAND: Command =
    Command::new("certificate", "SUBCOMMAND [options]", "Approve or deny requests for certificates")
        .commands(&[
            Command::new(
                "approve",
                "(-f FILENAME | NAME)",
                "Approve a request, so that its signer may sign it",
            )
            .examples("# Let somebody in\nkubectl certificate approve someone")
            .flags(&[FILES, PRINT, &[SELECTOR, FORCE]])
            .run(|cx, given| Box::pin(decide(cx, given, &APPROVE))),
            Command::new("deny", "(-f FILENAME | NAME)", "Deny a request")
                .examples("# Keep somebody out\nkubectl certificate deny someone")
                .flags(&[FILES, PRINT, &[SELECTOR, FORCE]])
                .run(|cx, given| Box::pin(decide(cx, given, &DENY))),
        ]);

struct Decision {
    condition: &'static str,
    opposite: &'static str,
    reason: &'static str,
    message: &'static str,
    done: &'static str,
}

const APPROVE: Decision = Decision {
    condition: "Approved",
    opposite: "Denied",
    reason: "KubectlApprove",
    message: "This CSR was approved by kubectl certificate approve.",
    done: "approved",
};
const DENY: Decision = Decision {
    condition: "Denied",
    opposite: "Approved",
    reason: "KubectlDeny",
    message: "This CSR was denied by kubectl certificate deny.",
    done: "denied",
};

async fn decide(cx: &Context, given: &Given, decision: &Decision) -> Result<Outcome, Error> {
    if given.words.is_empty() && !given.is_given(&FILENAME) && !given.is_given(&SELECTOR) {
        return Err(Error::usage("one or more CSRs must be specified as <name> or -f <filename>"));
    }
    let told = Change::without_dry_run(given)?;
    let kind = "certificatesigningrequests";
    let words: Vec<String> = match given.is_given(&FILENAME) {
        true => Vec::new(),
        false => std::iter::once(kind.to_owned()).chain(given.words.iter().cloned()).collect(),
    };
    let found = Selection::of(given, &words).find(cx).await?;
    let mut errors = found.errors;
    if found.items.is_empty() && errors.is_empty() {
        skiff_print::note("No resources found");
    }
    for item in &found.items {
        match send(cx, item, decision, given.is_on(&FORCE)).await {
            Ok(()) => told.print(&item.object, decision.done)?,
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)?;
    Ok(Outcome::Done)
}

async fn send(cx: &Context, item: &Item, decision: &Decision, force: bool) -> Result<(), Error> {
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let Some(decided) = decided(&item.object, decision, force, &now).map_err(Error::Usage)? else {
        return Ok(());
    };
    cx.api().await?.put(&format!("{}/approval", item.path()), &decided).await?;
    Ok(())
}

/// The request with the decision; `None` when it was decided so already.
fn decided(request: &Value, decision: &Decision, force: bool, now: &str) -> Result<Option<Value>, String> {
    let mut conditions = request["status"]["conditions"].as_array().cloned().unwrap_or_default();
    if conditions.iter().any(|condition| condition["type"] == decision.opposite) {
        let name = request["metadata"]["name"].as_str().unwrap_or_default();
        return Err(format!("certificate signing request \"{name}\" is already {}", decision.opposite));
    }
    if conditions.iter().any(|condition| condition["type"] == decision.condition) && !force {
        return Ok(None);
    }
    conditions.retain(|condition| condition["type"] != decision.condition);
    conditions.push(json!({
        "type": decision.condition, "status": "True", "reason": decision.reason, "message": decision.message,
        "lastUpdateTime": now,
    }));
    let mut request = request.clone();
    request["status"]["conditions"] = Value::Array(conditions);
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_decided_once() {
        let request = json!({"metadata": {"name": "x"}});
        let approved = decided(&request, &APPROVE, false, "t").unwrap().unwrap();
        assert_eq!(approved["status"]["conditions"][0]["reason"], "KubectlApprove");
        assert_eq!(decided(&approved, &APPROVE, false, "t"), Ok(None));
        assert_eq!(
            decided(&approved, &DENY, false, "t"),
            Err("certificate signing request \"x\" is already Approved".to_owned())
        );
    }
}
