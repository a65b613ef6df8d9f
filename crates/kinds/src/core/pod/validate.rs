//! Checks of a pod and of a pod spec as a whole; containers and volumes have files of their own.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{HostAlias, Pod, PodDNSConfig, PodSpec, ResourceRequirements, Toleration};
use serde_json::{Value, json};

pub(crate) use super::subject::Subject;
use super::{
    validate_claims, validate_containers, validate_env, validate_placement, validate_resources,
    validate_security, validate_volumes, validate_windows,
};
use crate::shared::check::{self, one_of};
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors, Object, addresses};

const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
/// What resolvers read at most.
const MOST_NAMESERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
const MOST_SEARCH_CHARACTERS: usize = 2048;

/// Checks a pod that is about to be created.
pub(super) fn validate(object: &Object) -> FieldErrors {
    let spec = match check::typed::<Pod>(object) {
        Ok(pod) => pod.spec.unwrap_or_default(),
        Err(errors) => return errors,
    };
    let mut errors = whole(object, &spec);
    if spec.ephemeral_containers.is_some_and(|list| !list.is_empty()) {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    let gated = spec.scheduling_gates.is_some_and(|gates| !gates.is_empty());
    if gated && spec.node_name.is_some_and(|node| !node.is_empty()) {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden("spec.nodeName", detail));
    }
    errors
}

/// Checks a pod as far as it does not matter whether it is there already.
pub(super) fn validate_whole(object: &Object) -> FieldErrors {
    match check::typed::<Pod>(object) {
        Ok(pod) => whole(object, &pod.spec.unwrap_or_default()),
        Err(errors) => errors,
    }
}

fn whole(object: &Object, spec: &PodSpec) -> FieldErrors {
    let tree = object.get(&["spec"]).unwrap_or(&Value::Null);
    let mut errors = validate_spec("spec", spec, tree, Subject::Pod);
    errors.extend(validate_containers::of_pod("spec", spec));
    errors
}

/// Checks a pod spec at `path`; `tree` is its JSON form. The errors are in the order in which Kubernetes finds them.
pub(crate) fn validate_spec(path: &str, spec: &PodSpec, tree: &Value, subject: Subject) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let (volumes, mut errors) = validate_volumes::validate(path, tree, subject);
    let claims = spec.resource_claims.as_deref().unwrap_or_default();
    errors.extend(validate_claims::of_pod(&at("resourceClaims"), claims));
    errors.extend(validate_containers::validate(path, spec, &volumes));
    errors.extend(validate_resources::whole_pod(&at("resources"), spec, tree));
    errors.extend(validate_containers::host_network(path, spec, subject));
    let policies = ["Always", "OnFailure", "Never"];
    errors.extend(one_of(&at("restartPolicy"), spec.restart_policy.as_deref(), &policies));
    errors.extend(one_of(&at("dnsPolicy"), spec.dns_policy.as_deref(), DNS_POLICIES));
    errors.extend(check::labels(&at("nodeSelector"), check::pairs(spec.node_selector.as_ref())));
    errors.extend(validate_security::pod(path, spec));
    errors.extend(validate_placement::affinity(&at("affinity"), spec.affinity.as_ref()));
    errors.extend(dns_config(path, spec.dns_policy.as_deref(), spec.dns_config.as_ref()));
    for (index, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let field = format!("{path}.readinessGates[{index}].conditionType");
        errors.extend(Form::QualifiedName.check(&field, &gate.condition_type));
    }
    let gates = spec.scheduling_gates.iter().flatten().map(|gate| gate.name.as_str());
    errors.extend(scheduling_gates(&at("schedulingGates"), gates));
    let spread = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    errors.extend(validate_placement::spread(&at("topologySpreadConstraints"), spread));
    errors.extend(validate_windows::host_processes(path, spec));
    errors.extend(validate_security::host_users(path, spec));
    errors.extend(host_name(path, spec));
    errors.extend(names(path, spec));
    let overhead = ResourceRequirements { limits: spec.overhead.clone(), ..ResourceRequirements::default() };
    errors.extend(validate_resources::requirements(&at("overhead"), &overhead));
    match spec.os.as_ref().map(|os| os.name.as_str()) {
        Some("") => errors.push(FieldError::required(at("os.name"), "")),
        name => errors.extend(check::one_of_optional(&at("os"), name, &["linux", "windows"])),
    }
    errors.extend(validate_windows::system(path, tree));
    errors.extend(validate_env::files(path, spec));
    errors
}

/// A name that a pod's processes see, instead of one that is made of the pod's.
fn host_name(path: &str, spec: &PodSpec) -> FieldErrors {
    const LONGEST: usize = 64;
    let Some(name) = &spec.hostname_override else { return FieldErrors::new() };
    let field = format!("{path}.hostnameOverride");
    let others = [("setHostnameAsFQDN", spec.set_hostname_as_fqdn), ("hostNetwork", spec.host_network)];
    let others = others.into_iter().filter(|(_, set)| *set == Some(true));
    let mut errors: FieldErrors = others
        .map(|(other, _)| {
            FieldError::forbidden(field.as_str(), format!("may not be specified when {other} is true"))
        })
        .collect();
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(field.as_str(), LONGEST));
    }
    errors.extend(Form::Subdomain.check(&field, name));
    errors
}

/// What holds a pod back, each once.
fn scheduling_gates<'a>(path: &str, gates: impl Iterator<Item = &'a str>) -> FieldErrors {
    let (mut seen, mut errors) = (BTreeSet::new(), FieldErrors::new());
    for (index, gate) in gates.enumerate() {
        let field = format!("{path}[{index}]");
        errors.extend(Form::QualifiedName.check(&field, gate));
        if !seen.insert(gate) {
            errors.push(FieldError::duplicate(field, gate));
        }
    }
    errors
}

/// Names of other things and of the pod itself, and what stands between them.
fn names(path: &str, spec: &PodSpec) -> FieldErrors {
    let check = |field: &str, name: &Option<String>, form: Form| {
        let name = name.as_deref().filter(|name| !name.is_empty());
        name.map(|name| form.check(&format!("{path}.{field}"), name)).unwrap_or_default()
    };
    let mut errors = check("serviceAccountName", &spec.service_account_name, Form::Subdomain);
    errors.extend(check("nodeName", &spec.node_name, Form::Subdomain));
    if let Some(seconds) = spec.active_deadline_seconds {
        errors.extend(active_deadline(&format!("{path}.activeDeadlineSeconds"), seconds));
    }
    errors.extend(check("hostname", &spec.hostname, Form::DnsLabel));
    errors.extend(check("subdomain", &spec.subdomain, Form::DnsLabel));
    for (index, toleration) in spec.tolerations.iter().flatten().enumerate() {
        errors.extend(self::toleration(&format!("{path}.tolerations[{index}]"), toleration));
    }
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        errors.extend(host_alias(&format!("{path}.hostAliases[{index}]"), alias));
    }
    errors.extend(check("priorityClassName", &spec.priority_class_name, Form::Subdomain));
    errors.extend(check("runtimeClassName", &spec.runtime_class_name, Form::Subdomain));
    if let Some(policy) = spec.preemption_policy.as_deref() {
        let field = format!("{path}.preemptionPolicy");
        errors.extend(one_of(&field, Some(policy), &["PreemptLowerPriority", "Never"]));
    }
    errors
}

/// The time that a pod may be active, in seconds.
pub(super) fn active_deadline(path: &str, seconds: i64) -> FieldErrors {
    let most = i64::from(i32::MAX);
    if (1..=most).contains(&seconds) {
        return FieldErrors::new();
    }
    [FieldError::invalid(path, seconds, format!("must be between 1 and {most}, inclusive"))].into()
}

/// One toleration.
pub(crate) fn toleration(path: &str, toleration: &Toleration) -> FieldErrors {
    let at = |field: &str| format!("{path}.{field}");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (key, operator, effect) =
        (text(&toleration.key), text(&toleration.operator), text(&toleration.effect));
    let mut errors = FieldErrors::new();
    if !key.is_empty() {
        errors.extend(Form::QualifiedName.check(&at("key"), &key));
    } else if operator != "Exists" {
        let detail =
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(at("operator"), operator.as_str(), detail));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(at("effect"), effect.as_str(), detail));
    }
    let value = text(&toleration.value);
    match operator.as_str() {
        "" | "Equal" => {
            let problems = Form::LabelValue.problems(&value);
            if !problems.is_empty() {
                errors.push(FieldError::invalid(at("operator"), value, problems.join(";")));
            }
        }
        "Exists" if !value.is_empty() => {
            let detail = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(at("operator"), value, detail));
        }
        "Exists" => {}
        "Gt" | "Lt" => {
            let known = ["Equal", "Exists", "Lt", "Gt"];
            errors.push(FieldError::not_supported(at("operator"), operator.as_str(), &known));
        }
        _ => errors.push(FieldError::not_supported(at("operator"), operator.as_str(), &["Equal", "Exists"])),
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !effects.contains(&effect.as_str()) {
        errors.push(FieldError::not_supported(at("effect"), effect, &effects));
    }
    errors
}

fn host_alias(path: &str, alias: &HostAlias) -> FieldErrors {
    let mut errors = FieldErrors::new();
    if let Err(detail) = addresses::ip(&alias.ip) {
        errors.push(FieldError::invalid(format!("{path}.ip"), alias.ip.as_str(), detail));
    }
    for (index, name) in alias.hostnames.iter().flatten().enumerate() {
        errors.extend(Form::Subdomain.check(&format!("{path}.hostnames[{index}]"), name));
    }
    errors
}

fn dns_config(path: &str, policy: Option<&str>, config: Option<&PodDNSConfig>) -> FieldErrors {
    let path = format!("{path}.dnsConfig");
    let at = |field: &str| format!("{path}.{field}");
    let mut errors = FieldErrors::new();
    if policy == Some("None") {
        match config {
            None => {
                let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
                errors.push(FieldError::required(path.clone(), detail));
            }
            Some(config) if config.nameservers.as_ref().is_none_or(Vec::is_empty) => {
                let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
                errors.push(FieldError::required(at("nameservers"), detail));
            }
            Some(_) => {}
        }
    }
    let Some(config) = config else { return errors };
    let nameservers = config.nameservers.as_deref().unwrap_or_default();
    if nameservers.len() > MOST_NAMESERVERS {
        let detail = format!("must not have more than {MOST_NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(at("nameservers"), json!(nameservers), detail));
    }
    for (index, ip) in nameservers.iter().enumerate() {
        if let Err(detail) = addresses::ip(ip) {
            errors.push(FieldError::invalid(format!("{path}.nameservers[{index}]"), ip.as_str(), detail));
        }
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > MOST_SEARCHES {
        let detail = format!("must not have more than {MOST_SEARCHES} search paths");
        errors.push(FieldError::invalid(at("searches"), json!(searches), detail));
    }
    if searches.join(" ").len() > MOST_SEARCH_CHARACTERS {
        let detail = format!(
            "must not have more than {MOST_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(at("searches"), json!(searches), detail));
    }
    // The root alone is a search domain, too: names are tried as they are.
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| search.as_str() != ".") {
        let name = search.strip_suffix('.').unwrap_or(search);
        errors.extend(Form::SearchDomain.check(&format!("{path}.searches[{index}]"), name));
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_ref().is_none_or(String::is_empty) {
            errors.push(FieldError::required(format!("{path}.options[{index}]"), "must not be empty"));
        }
    }
    errors
}
