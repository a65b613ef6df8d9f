//! IPAddress: the reservation of one Service address.

use jiff::Timestamp;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::NETWORKING;
use crate::row::stored;
use crate::shared::check::immutable;
use skiff_machinery::cells::{self, age, name_column, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy, addresses,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        // As in Kubernetes, rows have a cell more: the age.
        columns: vec![name_column(), text("ParentRef", "The object that holds the address.")],
        print: Printer::Fixed(print),
        ..stored(schema, NETWORKING, "io.k8s.api.networking.v1.IPAddress", Scope::Cluster, AddressStrategy)
            .short(&["ip"])
            .plural("ipaddresses")
    }
}

fn parent<'a>(object: &'a Object, field: &str) -> &'a str {
    object.str(&["spec", "parentRef", field])
}

fn print(object: &Object, now: Timestamp) -> Row {
    let mut resource = parent(object, "resource").to_owned();
    if !parent(object, "group").is_empty() {
        resource = format!("{resource}.{}", parent(object, "group"));
    }
    let path = [resource.as_str(), parent(object, "namespace"), parent(object, "name")];
    let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
    cells::row([object.name().into(), path.join("/").into(), age(object, now)])
}

/// The parent as Kubernetes' own type has it.
fn shown(object: &Object) -> String {
    let field = |name: &str| serde_json::Value::from(parent(object, name));
    let (group, resource) = (field("group"), field("resource"));
    let (namespace, name) = (field("namespace"), field("name"));
    format!(r#"{{"Group":{group},"Resource":{resource},"Namespace":{namespace},"Name":{name}}}"#)
}

/// What is special about IPAddresses.
struct AddressStrategy;

impl Strategy for AddressStrategy {
    /// The core group is named by no group, not by an empty one.
    fn default(&self, object: &mut Object) {
        if object.get(&["spec", "parentRef", "group"]).is_some_and(|group| group == "") {
            object.remove(&["spec", "parentRef", "group"]);
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        if !object.get(&["spec", "parentRef"]).is_some_and(serde_json::Value::is_object) {
            return [FieldError::required("spec.parentRef", "")].into();
        }
        let mut errors = FieldErrors::new();
        for (field, needed) in [("resource", true), ("name", true), ("namespace", false)] {
            let path = format!("spec.parentRef.{field}");
            match parent(object, field) {
                "" if needed => errors.push(FieldError::required(path, "")),
                text => errors.extend(Form::PathSegment.check(&path, text)),
            }
        }
        let group = parent(object, "group");
        if !group.is_empty() {
            errors.extend(Form::Subdomain.check("spec.parentRef.group", group));
        }
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let parent = ["spec", "parentRef"];
        let mut errors = self.validate(cx, new);
        let wrong = immutable("spec.parentRef", new.get(&parent), old.get(&parent));
        let show = |error: FieldError| match new.get(&parent) {
            Some(_) => error.showing(shown(new)),
            None => error,
        };
        errors.extend(wrong.into_iter().map(show));
        errors
    }

    /// The name is the address in its one canonical form, so that an address is held once.
    fn validate_name(&self, name: &str) -> FieldErrors {
        let detail = match addresses::ip(name) {
            Ok(ip) if ip.to_string() == name => return FieldErrors::new(),
            Ok(ip) => format!("must be in canonical form ({:?})", ip.to_string()),
            Err(detail) => detail.to_owned(),
        };
        [FieldError::invalid("metadata.name", name, detail)].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};
    use serde_json::{Value, json};

    #[test]
    fn names_are_canonical_addresses() {
        let check = |name: &str, fine: bool| {
            assert_eq!(AddressStrategy.validate_name(name).is_empty(), fine, "{name}");
        };
        check("10.96.0.1", true);
        check("fd00::1", true);
        check("FD00::1", false);
        check("fd00:0:0::1", false);
        check("a", false);
    }

    #[test]
    fn the_parent_is_needed_and_stays() {
        let address = |parent: Value| object(json!({"spec": {"parentRef": parent}}));
        let check = |parent: Value, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| AddressStrategy.validate(cx, &address(parent)))), expected);
        };
        check(json!(null), &["spec.parentRef: Required value"]);
        check(json!({"resource": "services"}), &["spec.parentRef.name: Required value"]);
        let (old, new) =
            (json!({"resource": "services", "name": "a"}), json!({"resource": "services", "name": "b"}));
        let errors = with_context(|cx| AddressStrategy.validate_update(cx, &address(new), &address(old)));
        assert!(errors[0].to_string().ends_with("field is immutable"));
    }
}
