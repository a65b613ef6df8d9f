//! `set selector`.

use serde_json::{Value, json};

use super::{SET, Told, change_each};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Given};
use crate::print::objects::PRINT;
use crate::select::FILES;
use crate::selector;

pub(super) const COMMAND: Command =
    Command::new("selector", "(-f FILENAME | TYPE NAME) EXPRESSIONS", "Set the selector of a Service")
        .examples("# Lead a Service to other pods\nkubectl set selector service kubia app=kubia,track=stable")
        .flags(&[FILES, PRINT, SET])
        .run(|cx, given| Box::pin(run(cx, given)));

const TOLD: Told = Told { done: "selector updated", failed: "" };

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let Some((expression, resources)) = given.words.split_last() else {
        return Err(Error::usage("one selector is required"));
    };
    let new = selector::of_text(expression).map_err(Error::Usage)?;
    change_each(cx, given, resources, TOLD, |object| set(object, &new)).await
}

fn set(object: &mut Value, new: &Value) -> Result<(), Error> {
    if object["kind"] != "Service" {
        return Err(Error::usage("setting a selector is only supported for Services"));
    }
    if let Some(expressions) = new["matchExpressions"].as_array() {
        return Err(Error::Usage(format!("match expression {expressions:?} not supported on this object")));
    }
    let labels = &new["matchLabels"];
    object["spec"]["selector"] = if labels.is_null() { json!({}) } else { labels.clone() };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_have_selectors_to_set() {
        let mut service = json!({"kind": "Service", "spec": {"selector": {"a": "b"}}});
        set(&mut service, &json!({"matchLabels": {"c": "d"}})).unwrap();
        assert_eq!(service["spec"]["selector"], json!({"c": "d"}));
        let error = set(&mut json!({"kind": "Pod"}), &json!({})).unwrap_err().to_string();
        assert_eq!(error, "error: setting a selector is only supported for Services");
    }
}
