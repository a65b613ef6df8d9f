//! APIService: a group version of the API, and which Service serves it, if not this server itself.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, items, name_column, str_of, text};
use skiff_machinery::names::{Form, path_name};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, Object, Printer, Row, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use super::service::{self, Availability};
use crate::groups::API_REGISTRATION;
use crate::row::stored;
use crate::shared::check;
use crate::shared::defaults::{existing_mut, fill};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let definition = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService";
    Kind {
        columns: vec![
            name_column(),
            text("Service", "Which Service serves the group version, or that this server does."),
            text("Available", "Whether it can be used."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..stored(schema, API_REGISTRATION, definition, Scope::Cluster, ServiceStrategy)
            .in_category("api-extensions")
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let by = |field: &str| object.str(&["spec", "service", field]);
    let service = match object.get(&["spec", "service"]) {
        Some(Value::Object(_)) => format!("{}/{}", by("namespace"), by("name")),
        _ => "Local".to_owned(),
    };
    let available = match service::condition(object) {
        None => "Unknown".to_owned(),
        Some(told) => match (str_of(told, "status"), str_of(told, "reason")) {
            (status @ "True", _) | (status, "") => status.to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    };
    cells::row([object.name().into(), service.into(), available.into(), age(object, now)])
}

/// What is special about APIServices.
struct ServiceStrategy;

fn is_local(object: &Object) -> bool {
    !object.get(&["spec", "service"]).is_some_and(Value::is_object)
}

impl Strategy for ServiceStrategy {
    fn status_changes_metadata(&self) -> bool {
        false
    }

    fn status_has_table(&self) -> bool {
        false
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    fn folder(&self) -> Option<&'static str> {
        Some("apiregistration.k8s.io/apiservices")
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Object) {
        let spec = existing_mut(object.as_map_mut(), "spec");
        if let Some(service) = spec.and_then(|spec| existing_mut(spec, "service")) {
            fill(service, "port", 443);
        }
    }

    /// What this server serves can be used at once.
    fn prepare_create(&self, cx: Context<'_>, object: &mut Object) {
        object.set(&["status"], json!({}));
        if is_local(object) {
            let conditions = Availability::local().among(object, cx.now);
            object.set(&["status", "conditions"], conditions);
        }
    }

    /// What else there is to a name depends on the object, see [`Strategy::validate`].
    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::PathSegment.check("metadata.name", name)
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let mut errors = validate_names(object);
        errors.extend(validate_priorities(object));
        errors.extend(if is_local(object) { validate_local(object) } else { validate_service(object) });
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        let conditions = items(new, &["status", "conditions"]).iter().enumerate();
        let checked = conditions.flat_map(|(index, condition)| {
            let path = format!("status.conditions[{index}].status");
            let status = Some(str_of(condition, "status"));
            check::one_of_optional(&path, status, &["False", "True", "Unknown"])
        });
        checked.collect()
    }
}

/// The name of an APIService is made of its version and its group.
fn validate_names(object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let gv = service::group_version(object);
    let (name, wanted) = (object.name(), service::name(&gv));
    if !name.is_empty() && path_name(name).is_none() && name != wanted {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        errors.push(FieldError::invalid("metadata.name", name, detail));
    }
    if gv.group.is_empty() && gv.version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required("spec.group", detail));
    }
    if !gv.group.is_empty() {
        errors.extend(Form::Subdomain.check("spec.group", &gv.group));
    }
    errors.extend(Form::Rfc1035Label.check("spec.version", &gv.version));
    errors
}

fn validate_priorities(object: &Object) -> FieldErrors {
    let bounds = [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)];
    let wrong = bounds.into_iter().filter_map(|(field, most)| {
        let number = object.get(&["spec", field]).and_then(Value::as_i64).unwrap_or_default();
        let detail = format!("must be positive and less than {most}");
        (number <= 0 || number > most).then(|| FieldError::invalid(format!("spec.{field}"), number, detail))
    });
    wrong.collect()
}

const INSECURE: &str = "spec.insecureSkipTLSVerify";

fn is_insecure(object: &Object) -> bool {
    object.get(&["spec", "insecureSkipTLSVerify"]) == Some(&Value::Bool(true))
}

fn validate_local(object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let bytes = bytes_of(object.str(&["spec", "caBundle"]));
    if bytes > 0 {
        let detail = "local APIServices may not have a caBundle";
        errors.push(FieldError::invalid("spec.caBundle", format!("{bytes} bytes"), detail));
    }
    if is_insecure(object) {
        let detail = "local APIServices may not have insecureSkipTLSVerify";
        errors.push(FieldError::invalid(INSECURE, true, detail));
    }
    errors
}

/// How many bytes a text in base64 stands for.
fn bytes_of(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

fn validate_service(object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    for field in ["namespace", "name"] {
        if object.str(&["spec", "service", field]).is_empty() {
            errors.push(FieldError::required(format!("spec.service.{field}"), ""));
        }
    }
    let port = object.get(&["spec", "service", "port"]).and_then(Value::as_i64).unwrap_or_default();
    for mut error in check::port("spec.service.port", port) {
        error.detail = format!("port is not valid: {}", error.detail);
        errors.push(error);
    }
    if is_insecure(object) && !object.str(&["spec", "caBundle"]).is_empty() {
        errors.push(FieldError::invalid(INSECURE, true, "may not be true if caBundle is present"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn service(spec: Value) -> Object {
        let mut whole = json!({
            "group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"name": "s", "namespace": "n"},
        });
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        let mut service = object(json!({"metadata": {"name": "v1.example.com"}, "spec": whole}));
        ServiceStrategy.default(&mut service);
        service
    }

    #[test]
    fn a_service_listens_at_443_unless_told_otherwise() {
        assert_eq!(service(json!({})).get(&["spec", "service", "port"]), Some(&json!(443)));
        let told = service(json!({"service": {"name": "s", "namespace": "n", "port": 8443}}));
        assert_eq!(told.get(&["spec", "service", "port"]), Some(&json!(8443)));
        assert!(is_local(&service(json!({"service": null}))));
    }

    #[test]
    fn refuses_what_kubernetes_refuses_in_its_words() {
        let check = |spec: Value, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| ServiceStrategy.validate(cx, &service(spec)))), expected);
        };
        check(json!({}), &[]);
        check(json!({"service": null}), &[]);
        check(
            json!({"version": "v2"}),
            &[
                r#"metadata.name: Invalid value: "v1.example.com": must be `spec.version+"."+spec.group`: "v2.example.com""#,
            ],
        );
        check(
            json!({"groupPriorityMinimum": 0, "versionPriority": 1001}),
            &[
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
            ],
        );
        check(json!({"groupPriorityMinimum": 20_000, "versionPriority": 1000}), &[]);
        check(
            json!({"service": {"port": 70_000}}),
            &[
                "spec.service.namespace: Required value",
                "spec.service.name: Required value",
                "spec.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
            ],
        );
        check(
            json!({"insecureSkipTLSVerify": true, "caBundle": "Y2E="}),
            &["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"],
        );
        check(
            json!({"service": null, "insecureSkipTLSVerify": true, "caBundle": "Y2E="}),
            &[
                r#"spec.caBundle: Invalid value: "2 bytes": local APIServices may not have a caBundle"#,
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ],
        );
        let core = object(json!({
            "metadata": {"name": "v2."},
            "spec": {"version": "v2", "groupPriorityMinimum": 1, "versionPriority": 1},
        }));
        assert_eq!(
            texts(with_context(|cx| ServiceStrategy.validate(cx, &core))),
            ["spec.group: Required value: only v1 may have an empty group and it better be legacy kube"]
        );
    }

    #[test]
    fn conditions_are_true_false_or_unknown() {
        let odd = object(json!({"status": {"conditions": [{"type": "Available", "status": "Odd"}]}}));
        assert_eq!(
            texts(with_context(|cx| ServiceStrategy.validate_status(cx, &odd, &odd))),
            [
                r#"status.conditions[0].status: Unsupported value: "Odd": supported values: "False", "True", "Unknown""#
            ]
        );
    }

    #[test]
    fn only_what_this_server_serves_is_available_from_the_start() {
        let created = |spec: Value| {
            let mut service = service(spec);
            service.set(&["status"], json!({"conditions": [{"type": "Available", "status": "True"}]}));
            with_context(|cx| ServiceStrategy.prepare_create(cx, &mut service));
            service
        };
        let print = |service: &Object| print(service, Timestamp::UNIX_EPOCH).cells[1..3].to_vec();
        assert_eq!(print(&created(json!({}))), ["n/s", "Unknown"]);
        let local = created(json!({"service": null}));
        assert_eq!(print(&local), ["Local", "True"]);
        assert!(Availability::local().is_told_by(&local));
        let mut failing = service(json!({}));
        let state = Availability { status: "False", reason: "ServiceNotFound", message: String::new() };
        failing.set(&["status", "conditions"], state.among(&local, Timestamp::UNIX_EPOCH));
        assert_eq!(print(&failing), ["n/s", "False (ServiceNotFound)"]);
    }
}
