//! CertificateSigningRequest: a certificate that somebody asks a signer for.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use skiff_machinery::cells::{self, age, age_column, name_column, or_none, str_of, text};
use skiff_machinery::{
    Context, FieldErrors, Kind, Object, Printer, Row, Scope, Selectable, Strategy, Subresource, duration,
    names::Form,
};
use skiff_schema::Schema;

use super::conditions;
use super::validate::{self, Change};
use crate::groups::CERTIFICATES;
use crate::row::stored;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    const DEFINITION: &str = "io.k8s.api.certificates.v1.CertificateSigningRequest";
    Kind {
        columns: vec![
            name_column(),
            age_column(),
            text("SignerName", "The signer that is asked."),
            text("Requestor", "The user who asks."),
            text("RequestedDuration", "How long the certificate is to be valid."),
            text("Condition", "What has become of the request."),
        ],
        print: Printer::Fixed(print),
        selectable: vec![Selectable::fixed("spec.signerName", |object| {
            object.str(&["spec", "signerName"]).to_owned()
        })]
        .into(),
        ..stored(schema, CERTIFICATES, DEFINITION, Scope::Cluster, RequestStrategy)
            .short(&["csr"])
            .below(&[Subresource::Approval, Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let seconds = object.get(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    cells::row([
        object.name().into(),
        age(object, now),
        or_none(object.str(&["spec", "signerName"]).to_owned()).into(),
        object.str(&["spec", "username"]).into(),
        or_none(seconds.map(duration::human).unwrap_or_default()).into(),
        state(object).into(),
    ])
}

/// What has become of a request, e.g. `Approved,Issued`.
fn state(object: &Object) -> String {
    let has = |kind: &str| conditions::of(object).iter().any(|condition| str_of(condition, "type") == kind);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !object.str(&["status", "certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}

/// What is special about requests for certificates.
struct RequestStrategy;

impl Strategy for RequestStrategy {
    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::PathSegment.check("metadata.name", name)
    }

    /// What is asked stays, and each part has its own members of the status.
    fn settled(&self, part: &str) -> &'static [&'static [&'static str]] {
        match part {
            "status" => &[&["spec"], &["status", "conditions"]],
            "approval" => &[&["spec"], &["status", "certificate"]],
            _ => &[&["spec"], &["status"]],
        }
    }

    /// Who asks is told by the server, and nothing has been decided.
    fn prepare_create(&self, cx: Context<'_>, object: &mut Object) {
        let who = cx.requester;
        for (field, value) in [
            ("username", json!(who.name)),
            ("uid", json!(who.uid)),
            ("groups", json!(who.groups)),
            ("extra", json!(who.extra)),
        ] {
            let is_empty = matches!(&value, Value::Array(list) if list.is_empty())
                || matches!(&value, Value::Object(map) if map.is_empty())
                || value == "";
            if is_empty {
                object.remove(&["spec", field]);
            } else {
                object.set(&["spec", field], value);
            }
        }
        object.set(&["status"], Map::new());
    }

    /// A request is what it was.
    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        keep(new, old, "spec");
    }

    /// Decisions stay as they are told, unless there are more or fewer, which is refused later.
    fn prepare_status(&self, cx: Context<'_>, new: &mut Object, old: &Object) {
        for kind in conditions::DECISIONS {
            let before: Vec<Value> =
                conditions::of(old).iter().filter(|c| str_of(c, "type") == kind).cloned().collect();
            let mut list = conditions::of(new).to_vec();
            let same: Vec<&mut Value> = list.iter_mut().filter(|c| str_of(c, "type") == kind).collect();
            if same.len() == before.len() && !before.is_empty() {
                same.into_iter().zip(before).for_each(|(now, before)| *now = before);
                new.set(&["status", "conditions"], list);
            }
        }
        note_times(cx, new, old);
    }

    /// Of an approval only the conditions count.
    fn prepare_part(&self, cx: Context<'_>, _: Subresource, new: &mut Object, old: &Object) {
        note_times(cx, new, old);
        let decided = new.get(&["status", "conditions"]).cloned();
        keep(new, old, "spec");
        keep(new, old, "status");
        match decided {
            Some(conditions) => new.set(&["status", "conditions"], conditions),
            None => drop(new.remove(&["status", "conditions"])),
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate::new(object)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate::change(new, old, Change::Whole)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate::change(new, old, Change::Status)
    }

    fn validate_part(&self, _: Context<'_>, _: Subresource, new: &Object, old: &Object) -> FieldErrors {
        validate::change(new, old, Change::Approval)
    }
}

fn keep(new: &mut Object, old: &Object, member: &str) {
    match old.get(&[member]) {
        Some(value) => new.set(&[member], value.clone()),
        None => drop(new.remove(&[member])),
    }
}

/// Conditions without a time are of now, or, of a state that does not change, as old as they were.
fn note_times(cx: Context<'_>, new: &mut Object, old: &Object) {
    let now = format!("{:.0}", cx.now);
    let mut list = conditions::of(new).to_vec();
    for condition in &mut list {
        let is = |other: &&Value| {
            ["type", "status"].iter().all(|field| str_of(other, field) == str_of(condition, field))
        };
        let before = conditions::of(old).iter().find(is).map(|other| str_of(other, "lastTransitionTime"));
        let since = before.filter(|time| !time.is_empty()).unwrap_or(&now).to_owned();
        for (field, time) in [("lastUpdateTime", &now), ("lastTransitionTime", &since)] {
            if str_of(condition, field).is_empty() {
                condition[field] = time.as_str().into();
            }
        }
    }
    if !list.is_empty() {
        new.set(&["status", "conditions"], list);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use skiff_machinery::Requester;

    use super::*;
    use crate::shared::testing::{object, with_context};

    #[test]
    fn the_server_says_who_asks() {
        let groups = ["people".to_owned()];
        let extra = BTreeMap::new();
        let requester = Requester { name: "someone", uid: "", groups: &groups, extra: &extra };
        let mut request = object(json!({"spec": {"username": "forged", "uid": "1", "extra": {"a": ["b"]}}}));
        with_context(|cx| RequestStrategy.prepare_create(Context { requester, ..cx }, &mut request));
        assert_eq!(request.get(&["spec"]), Some(&json!({"username": "someone", "groups": ["people"]})));
    }

    #[test]
    fn states_are_told_in_one_word_and_more() {
        let check = |kinds: &[&str], certificate: &str, expected: &str| {
            let list: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
            let request = object(json!({"status": {"conditions": list, "certificate": certificate}}));
            assert_eq!(state(&request), expected);
        };
        check(&[], "", "Pending");
        check(&["Approved"], "YQ==", "Approved,Issued");
        check(&["Approved", "Failed"], "", "Approved,Failed");
        check(&["Denied", "Approved"], "", "Denied");
    }

    #[test]
    fn an_approval_changes_conditions_alone() {
        let old = object(json!({"spec": {"a": 1}, "status": {"certificate": "YQ=="}}));
        let mut new = object(json!({"spec": {"a": 2}, "status": {"certificate": "Yg==", "conditions": [
            {"type": "Approved", "status": "True"},
        ]}}));
        with_context(|cx| RequestStrategy.prepare_part(cx, Subresource::Approval, &mut new, &old));
        let time = "1970-01-01T00:00:00Z";
        let condition =
            json!({"type": "Approved", "status": "True", "lastUpdateTime": time, "lastTransitionTime": time});
        assert_eq!(
            new,
            object(json!({"spec": {"a": 1}, "status": {"certificate": "YQ==", "conditions": [condition]}}))
        );
    }
}
