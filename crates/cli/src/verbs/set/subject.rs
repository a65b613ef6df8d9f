//! `set subject`.

use serde_json::Value;

use super::{SET, Told, change_each, refused};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Given};
use crate::print::objects::PRINT;
use crate::select::{ALL, FILES, SELECTOR};
use crate::verbs::create::rolebinding::{GROUP, SERVICE_ACCOUNT, USER, subjects};

pub(super) const COMMAND: Command = Command::new(
    "subject",
    "(-f FILENAME | TYPE NAME) [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname] [--dry-run=server|client|none]",
    "Add users, groups and ServiceAccounts to a binding",
)
.examples("# One more administrator\nkubectl set subject clusterrolebinding boss --user=you")
.flags(&[FILES, PRINT, SET, &[USER, GROUP, SERVICE_ACCOUNT]])
.run(|cx, given| Box::pin(run(cx, given)));

const TOLD: Told = Told { done: "subjects updated", failed: "failed to patch subjects to rolebinding: " };

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    if given.is_on(&ALL) && given.is_given(&SELECTOR) {
        return Err(Error::usage("cannot set --all and --selector at the same time"));
    }
    let new = subjects(given)?;
    if new.is_empty() {
        return Err(Error::usage("you must specify at least one value of user, group or serviceaccount"));
    }
    change_each(cx, given, &given.words, TOLD, |object| add(object, &new)).await
}

fn add(object: &mut Value, new: &[Value]) -> Result<(), Error> {
    if !matches!(object["kind"].as_str(), Some("RoleBinding" | "ClusterRoleBinding")) {
        return Err(refused(object, "setting subjects is only supported for RoleBinding/ClusterRoleBinding"));
    }
    let mut subjects = object["subjects"].as_array().cloned().unwrap_or_default();
    for subject in new {
        if !subjects.contains(subject) {
            subjects.push(subject.clone());
        }
    }
    object["subjects"] = Value::Array(subjects);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::add;
    use serde_json::json;

    #[test]
    fn each_subject_is_there_once() {
        let subject = |name: &str| json!({"kind": "User", "name": name});
        let mut binding = json!({"kind": "RoleBinding", "subjects": [subject("a")]});
        add(&mut binding, &[subject("a"), subject("b")]).unwrap();
        assert_eq!(binding["subjects"], json!([subject("a"), subject("b")]));
    }
}
