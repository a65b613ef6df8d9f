//! AuthorizationConfiguration (`apiserver.config.k8s.io`), read and checked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use skiff_auth::Policies;
use skiff_machinery::{FieldError, FieldErrors, duration, names};

use super::conditions::Conditions;
use super::hook::WebhookOptions;

/// The schema of the file, in the words of the crate `schema`: `io.k8s.apiserver.config.AuthorizationConfiguration`.
pub(super) const SCHEMA: &str = include_str!("authorization.txt");

/// How long an answer that allows something holds, if nothing is said.
const AUTHORIZED: Duration = Duration::from_secs(5 * 60);
/// How long one that does not.
const UNAUTHORIZED: Duration = Duration::from_secs(30);
/// How long any answer may take.
const LONGEST: Duration = Duration::from_secs(30);

/// Who decides.
#[derive(Clone, Debug)]
pub(super) enum Decider {
    Node,
    Rbac,
    Abac(Arc<Policies>),
    AlwaysAllow,
    AlwaysDeny,
    Webhook(Webhook),
}

/// A server that decides.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    /// By which the server is reached.
    pub(super) kubeconfig: PathBuf,
    /// Of `authorization.k8s.io`.
    pub(super) version: String,
    pub(super) timeout: Duration,
    /// How long an answer holds that allows something.
    pub(super) authorized: Duration,
    /// How long one that does not.
    pub(super) unauthorized: Duration,
    /// Whether what it does not answer is forbidden.
    pub(super) denies: bool,
    pub(super) conditions: Arc<Conditions>,
}

impl Webhook {
    /// As the older options have it.
    pub(super) fn of_options(kubeconfig: PathBuf, options: &WebhookOptions) -> Self {
        Self {
            kubeconfig,
            version: options.version.clone(),
            timeout: LONGEST,
            authorized: options.ttl,
            unauthorized: options.unauthorized_ttl,
            denies: false,
            conditions: Arc::default(),
        }
    }
}

/// What decides without being told more than its name.
pub(super) fn plain(name: &str) -> Option<Decider> {
    Some(match name {
        "Node" => Decider::Node,
        "RBAC" => Decider::Rbac,
        "AlwaysAllow" => Decider::AlwaysAllow,
        "AlwaysDeny" => Decider::AlwaysDeny,
        _ => return None,
    })
}

const TYPES: [&str; 5] = ["AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Reads what was decoded against [`SCHEMA`].
pub(super) fn read(file: &Value) -> Result<Vec<Decider>, FieldErrors> {
    let (mut errors, mut deciders) = (FieldErrors::new(), Vec::new());
    let (mut types, mut used) = (BTreeSet::new(), BTreeSet::new());
    let given = file["authorizers"].as_array().map_or(&[][..], Vec::as_slice);
    if given.is_empty() {
        errors.push(FieldError::required("authorizers", "at least one authorization mode must be defined"));
    }
    for (i, one) in given.iter().enumerate() {
        let (path, of, name) = (format!("authorizers[{i}]"), text(one, "type"), text(one, "name"));
        if of.is_empty() {
            errors.push(FieldError::required(format!("{path}.type"), ""));
            continue;
        }
        if !TYPES.contains(&of) {
            errors.push(FieldError::not_supported(format!("{path}.type"), of, &TYPES));
            continue;
        }
        if !types.insert(of) && of != "Webhook" {
            errors.push(FieldError::duplicate(format!("{path}.type"), of));
            continue;
        }
        check_name(name, &mut used, &format!("{path}.name"), &mut errors);
        let hook = Some(&one["webhook"]).filter(|hook| hook.is_object());
        match (plain(of), hook) {
            (Some(decider), hook) => {
                if hook.is_some() {
                    let detail = "may only be specified when type=Webhook";
                    errors.push(FieldError::invalid(format!("{path}.webhook"), "non-null", detail));
                }
                deciders.push(decider);
            }
            (None, Some(hook)) => {
                deciders.extend(webhook(hook, &path, &mut errors).map(Decider::Webhook));
            }
            (None, None) => {
                errors.push(FieldError::required(format!("{path}.webhook"), "required when type=Webhook"));
            }
        }
    }
    if errors.is_empty() { Ok(deciders) } else { Err(errors) }
}

fn check_name<'a>(name: &'a str, used: &mut BTreeSet<&'a str>, path: &str, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !used.insert(name) {
        errors.push(FieldError::duplicate(path, name));
    } else if let Some(wrong) = names::subdomain(name) {
        let detail = format!("authorizer name is invalid: {}", wrong.detail);
        errors.push(FieldError::invalid(path, name, detail));
    }
}

fn webhook(hook: &Value, path: &str, errors: &mut FieldErrors) -> Option<Webhook> {
    let before = errors.len();
    let field = |name: &str| format!("{path}.{name}");
    let timeout = time(hook, "timeout", None, Some(LONGEST), path, errors);
    let authorized = time(hook, "authorizedTTL", Some(AUTHORIZED), None, path, errors);
    let unauthorized = time(hook, "unauthorizedTTL", Some(UNAUTHORIZED), None, path, errors);
    let version = text(hook, "subjectAccessReviewVersion");
    match version {
        "" => errors.push(FieldError::required(field("subjectAccessReviewVersion"), "")),
        "v1" | "v1beta1" => {}
        other => errors.push(FieldError::not_supported(
            field("subjectAccessReviewVersion"),
            other,
            &["v1", "v1beta1"],
        )),
    }
    let conditions = hook["matchConditions"].as_array().map_or(&[][..], Vec::as_slice);
    match text(hook, "matchConditionSubjectAccessReviewVersion") {
        "" if !conditions.is_empty() => errors.push(FieldError::required(
            field("matchConditionSubjectAccessReviewVersion"),
            "required if match conditions are specified",
        )),
        "" | "v1" => {}
        other => errors.push(FieldError::not_supported(
            field("matchConditionSubjectAccessReviewVersion"),
            other,
            &["v1"],
        )),
    }
    let denies = match text(hook, "failurePolicy") {
        "" => {
            errors.push(FieldError::required(field("failurePolicy"), ""));
            false
        }
        "Deny" => true,
        "NoOpinion" => false,
        other => {
            errors.push(FieldError::not_supported(field("failurePolicy"), other, &["NoOpinion", "Deny"]));
            false
        }
    };
    let kubeconfig = connection(&hook["connectionInfo"], &field("connectionInfo"), errors);
    let conditions = Conditions::compile(conditions, &field("matchConditions"), errors);
    let holds = |flag: &str, time: Duration| if hook[flag] == false { Duration::ZERO } else { time };
    (errors.len() == before).then_some(())?;
    Some(Webhook {
        kubeconfig: kubeconfig?,
        version: version.to_owned(),
        timeout,
        authorized: holds("cacheAuthorizedRequests", authorized),
        unauthorized: holds("cacheUnauthorizedRequests", unauthorized),
        denies,
        conditions: Arc::new(conditions),
    })
}

/// A time of a webhook, as Go writes it.
fn time(
    hook: &Value,
    name: &str,
    usual: Option<Duration>,
    most: Option<Duration>,
    path: &str,
    errors: &mut FieldErrors,
) -> Duration {
    let (given, path) = (text(hook, name), format!("{path}.{name}"));
    let read = match (duration::parse(if given.is_empty() { "0" } else { given }), usual) {
        (Ok(time), Some(usual)) if time.is_zero() => return usual,
        (Ok(time), None) if time.is_zero() => {
            errors.push(FieldError::required(path, ""));
            return Duration::ZERO;
        }
        (Ok(time), _) => time,
        (Err(why), _) => {
            errors.push(FieldError::invalid(path, given, why.to_string()));
            return Duration::ZERO;
        }
    };
    let must = if most.is_some() { "must be > 0s and <= 30s" } else { "must be > 0s" };
    match Duration::try_from(read) {
        Ok(time) if most.is_none_or(|most| time <= most) => time,
        _ => {
            errors.push(FieldError::invalid(path, given, must));
            Duration::ZERO
        }
    }
}

fn connection(given: &Value, path: &str, errors: &mut FieldErrors) -> Option<PathBuf> {
    let file = given["kubeConfigFile"].as_str();
    let file_path = format!("{path}.kubeConfigFile");
    match text(given, "type") {
        "" => errors.push(FieldError::required(format!("{path}.type"), "")),
        "KubeConfigFile" => match file.unwrap_or_default() {
            "" => errors.push(FieldError::required(file_path, "")),
            name if !Path::new(name).is_absolute() => {
                errors.push(FieldError::invalid(file_path, name, "must be an absolute path"));
            }
            name => match std::fs::metadata(name) {
                Err(error) => {
                    let detail = format!("error loading file: {error}");
                    errors.push(FieldError::invalid(file_path, name, detail));
                }
                Ok(found) if !found.is_file() => {
                    errors.push(FieldError::invalid(file_path, name, "must be a regular file"));
                }
                Ok(_) => return Some(name.into()),
            },
        },
        "InClusterConfig" => {
            if let Some(name) = file {
                let detail = "can only be set when type=KubeConfigFile";
                errors.push(FieldError::invalid(file_path, name, detail));
            }
            // It is the API server of a pod that is meant, and this is none.
            let detail = "this server does not run in a pod of a cluster";
            errors.push(FieldError::invalid(format!("{path}.type"), "InClusterConfig", detail));
        }
        other => {
            let types = ["InClusterConfig", "KubeConfigFile"];
            errors.push(FieldError::not_supported(format!("{path}.type"), other, &types));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(file: Value) -> Vec<String> {
        read(&file).err().map(|errors| errors.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    fn hook(change: impl FnOnce(&mut Value)) -> Value {
        let file = std::env::current_exe().unwrap();
        let mut hook = json!({
            "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": file},
        });
        change(&mut hook);
        json!({"authorizers": [{"type": "Webhook", "name": "w", "webhook": hook}]})
    }

    #[test]
    fn what_is_wrong_is_told_in_kubernetes_words() {
        let check = |file: Value, expected: &[&str]| assert_eq!(problems(file), expected);
        check(json!({}), &["authorizers: Required value: at least one authorization mode must be defined"]);
        check(
            json!({"authorizers": [{"name": "a"}, {"type": "ABAC", "name": "b"}, {"type": "RBAC", "name": "c"}, {"type": "RBAC", "name": "d"}, {"type": "Node"}]}),
            &[
                "authorizers[0].type: Required value",
                r#"authorizers[1].type: Unsupported value: "ABAC": supported values: "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook""#,
                r#"authorizers[3].type: Duplicate value: "RBAC""#,
                "authorizers[4].name: Required value",
            ],
        );
        check(
            json!({"authorizers": [{"type": "Webhook", "name": "a"}, {"type": "Node", "name": "a", "webhook": {}}]}),
            &[
                "authorizers[0].webhook: Required value: required when type=Webhook",
                r#"authorizers[1].name: Duplicate value: "a""#,
                r#"authorizers[1].webhook: Invalid value: "non-null": may only be specified when type=Webhook"#,
            ],
        );
        check(hook(|_| {}), &[]);
        check(
            hook(|hook| *hook = json!({})),
            &[
                "authorizers[0].timeout: Required value",
                "authorizers[0].subjectAccessReviewVersion: Required value",
                "authorizers[0].failurePolicy: Required value",
                "authorizers[0].connectionInfo.type: Required value",
            ],
        );
        check(
            hook(|hook| {
                hook["timeout"] = "31s".into();
                hook["authorizedTTL"] = "-1s".into();
                hook["failurePolicy"] = "Ignore".into();
                hook["connectionInfo"]["kubeConfigFile"] = "relative".into();
                hook["matchConditions"] = json!([{"expression": " "}, {"expression": "request.user"}]);
            }),
            &[
                r#"authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s"#,
                r#"authorizers[0].authorizedTTL: Invalid value: "-1s": must be > 0s"#,
                "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified",
                r#"authorizers[0].failurePolicy: Unsupported value: "Ignore": supported values: "NoOpinion", "Deny""#,
                r#"authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "relative": must be an absolute path"#,
                "authorizers[0].matchConditions[0].expression: Required value",
                r#"authorizers[0].matchConditions[1].expression: Invalid value: "request.user": must evaluate to bool"#,
            ],
        );
    }

    #[test]
    fn what_is_not_said_is_as_in_kubernetes() {
        let read = read(&hook(|hook| hook["cacheUnauthorizedRequests"] = false.into())).unwrap();
        let Decider::Webhook(hook) = &read[0] else { panic!("no webhook") };
        let times = [hook.timeout, hook.authorized, hook.unauthorized].map(|time| time.as_secs());
        assert_eq!((times, hook.denies), ([3, 300, 0], true));
    }
}
