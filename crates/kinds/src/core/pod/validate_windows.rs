//! Checks of what only pods of Windows, or of Linux, may ask for.
//!
//! Source: `kubernetes/pkg/apis/core/validation`, whose order the errors have.

use k8s_openapi::api::core::v1::{Container, PodSpec, WindowsSecurityContextOptions};
use serde_json::Value;

use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

/// Fields of a Linux pod, in its security context if they do not say otherwise.
const OF_LINUX_PODS: [&str; 15] = [
    "/securityContext/appArmorProfile",
    "/securityContext/seLinuxOptions",
    "/hostUsers",
    "/hostPID",
    "/hostIPC",
    "/securityContext/seccompProfile",
    "/securityContext/fsGroup",
    "/securityContext/fsGroupChangePolicy",
    "/securityContext/sysctls",
    "/shareProcessNamespace",
    "/securityContext/runAsUser",
    "/securityContext/runAsGroup",
    "/securityContext/supplementalGroups",
    "/securityContext/supplementalGroupsPolicy",
    "/securityContext/seLinuxChangePolicy",
];

/// Fields of a Linux container's security context.
const OF_LINUX_CONTAINERS: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

/// Checks a pod spec at `path`, of which `tree` is the JSON form, against the system that it says to be for.
pub(super) fn system(path: &str, tree: &Value) -> FieldErrors {
    let os = tree.pointer("/os/name").and_then(Value::as_str);
    let (fields, of_containers, detail): (&[&str], &[&str], _) = match os {
        Some("windows") => (&OF_LINUX_PODS, &OF_LINUX_CONTAINERS, "cannot be set for a windows pod"),
        Some("linux") => (
            &["/securityContext/windowsOptions"],
            &["windowsOptions"],
            "windows options cannot be set for a linux pod",
        ),
        _ => return FieldErrors::new(),
    };
    let is_set = |pointer: &&&str| match tree.pointer(pointer) {
        None | Some(Value::Null) => false,
        Some(Value::Bool(set)) => *set || **pointer == "/hostUsers" || **pointer == "/shareProcessNamespace",
        Some(_) => true,
    };
    let named =
        |pointer: &&str| FieldError::forbidden(format!("{path}{}", pointer.replace('/', ".")), detail);
    let mut errors: FieldErrors = fields.iter().filter(is_set).map(named).collect();
    for list in ["initContainers", "containers"] {
        let containers = tree.get(list).and_then(Value::as_array).into_iter().flatten();
        for (index, container) in containers.enumerate() {
            let context = &container["securityContext"];
            let set = of_containers.iter().filter(|field| !context[**field].is_null());
            errors.extend(set.map(|field| {
                FieldError::forbidden(format!("{path}.{list}[{index}].securityContext.{field}"), detail)
            }));
        }
    }
    errors
}

/// Containers that are processes of the host: all of a pod, which then has the host's network.
pub(super) fn host_processes(path: &str, spec: &PodSpec) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let of_pod =
        spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref()?.host_process);
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let (mut count, mut on_host) = (0, 0);
    for (list, containers) in [("initContainers", inits), ("containers", &spec.containers)] {
        for (index, container) in containers.iter().enumerate() {
            let own = of_container(container);
            if let (Some(pod), Some(own)) = (of_pod, own)
                && pod != own
            {
                let field = format!("{path}.{list}[{index}].securityContext.windowsOptions.hostProcess");
                let detail =
                    format!("pod hostProcess value must be identical if both are specified, was {pod}");
                errors.push(FieldError::invalid(field, own, detail));
            }
            count += 1;
            on_host += usize::from(own.or(of_pod) == Some(true));
        }
    }
    if on_host > 0 && on_host != count {
        let detail =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, "", detail));
    }
    if on_host > 0 && spec.host_network != Some(true) {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(format!("{path}.hostNetwork"), false, detail));
    }
    errors
}

fn of_container(container: &Container) -> Option<bool> {
    container.security_context.as_ref()?.windows_options.as_ref()?.host_process
}

/// Checks the options at `path`: the user of a process, and the credentials that it has in the domain.
pub(super) fn options(path: &str, options: Option<&WindowsSecurityContextOptions>) -> FieldErrors {
    const LARGEST_KIB: usize = 64;
    let Some(options) = options else { return FieldErrors::new() };
    let mut errors = FieldErrors::new();
    if let Some(name) = &options.gmsa_credential_spec_name {
        errors.extend(Form::Subdomain.check(&format!("{path}.gmsaCredentialSpecName"), name));
    }
    if let Some(spec) = &options.gmsa_credential_spec {
        let field = format!("{path}.gmsaCredentialSpec");
        if spec.is_empty() {
            let detail = "gmsaCredentialSpec cannot be an empty string";
            errors.push(FieldError::invalid(field, "", detail));
        } else if spec.len() > LARGEST_KIB << 10 {
            let detail = format!("gmsaCredentialSpec size must be under {LARGEST_KIB} KiB");
            errors.push(FieldError::invalid(field, spec.as_str(), detail));
        }
    }
    if let Some(name) = &options.run_as_user_name {
        let field = format!("{path}.runAsUserName");
        let problems = user_problems(name).into_iter();
        errors.extend(
            problems
                .map(|it| FieldError::invalid(field.as_str(), name.as_str(), format!("runAsUserName{it}"))),
        );
    }
    errors
}

/// What is wrong with a user's name, `[domain\]user`.
fn user_problems(name: &str) -> Vec<&'static str> {
    const LONGEST_DOMAIN: usize = 256;
    const LONGEST_USER: usize = 104;
    if name.is_empty() {
        return vec![" cannot be an empty string"];
    }
    if name.bytes().any(|byte| byte.is_ascii_control()) {
        return vec![" cannot contain control characters"];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, user)) if user.contains('\\') => return vec![" cannot contain more than one backslash"],
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut problems = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= LONGEST_DOMAIN) {
        problems.push("'s Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_netbios(domain) && !is_dns(domain)) {
        problems.push("'s Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        problems.push("'s User cannot be empty");
    } else if user.len() > LONGEST_USER {
        problems.push("'s User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        problems.push("'s User cannot contain only periods or spaces");
    }
    if user.contains(|c| r#""/\:;|=,+*?<>@[]"#.contains(c)) {
        problems.push(r#"'s User cannot contain the following characters: "/\:;|=,+*?<>@[]"#);
    }
    problems
}

fn is_netbios(domain: &str) -> bool {
    (1..=15).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(|c| r#"\/:*?"<>|"#.contains(c))
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| Form::DnsLabel.fits(&label.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::texts;
    use serde_json::json;

    #[test]
    fn users_of_windows_have_names() {
        let check = |name: &str, expected: &[&str]| assert_eq!(user_problems(name), expected, "{name}");
        check("ContainerAdministrator", &[]);
        check(r"domain.example\user", &[]);
        check("", &[" cannot be an empty string"]);
        check(r"a\b\c", &[" cannot contain more than one backslash"]);
        check(r"\", &["'s Domain doesn't match the NetBios nor the DNS format", "'s User cannot be empty"]);
        check("..", &["'s User cannot contain only periods or spaces"]);
    }

    #[test]
    fn pods_ask_for_what_their_system_has() {
        let check = |tree: Value, expected: &[&str]| {
            let errors = texts(system("spec", &tree));
            let fields: Vec<&str> = errors.iter().map(|text| text.split(": ").next().unwrap()).collect();
            assert_eq!(fields, expected);
        };
        check(json!({"hostPID": true, "securityContext": {"windowsOptions": {}}}), &[]);
        check(
            json!({"os": {"name": "windows"}, "hostPID": false, "hostUsers": false, "securityContext": {"fsGroup": 1},
                "containers": [{"securityContext": {"privileged": false}}]}),
            &[
                "spec.hostUsers",
                "spec.securityContext.fsGroup",
                "spec.containers[0].securityContext.privileged",
            ],
        );
        check(
            json!({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}}),
            &["spec.securityContext.windowsOptions"],
        );
    }

    #[test]
    fn all_containers_of_a_pod_are_processes_of_the_host_or_none() {
        let own =
            |own: bool| json!({"name": "c", "securityContext": {"windowsOptions": {"hostProcess": own}}});
        let check = |spec: Value, expected: &[&str]| {
            let errors = texts(host_processes("spec", &serde_json::from_value(spec).unwrap()));
            let fields: Vec<&str> = errors.iter().map(|text| text.split(": ").next().unwrap()).collect();
            assert_eq!(fields, expected);
        };
        check(json!({"containers": [own(false)]}), &[]);
        check(json!({"containers": [own(true)], "hostNetwork": true}), &[]);
        check(json!({"containers": [own(true), own(false)]}), &["spec", "spec.hostNetwork"]);
    }
}
