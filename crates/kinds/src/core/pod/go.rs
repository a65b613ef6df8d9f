//! The spec of a pod as errors of Kubernetes show it: with all fields of Go's structs, by their names and in their order. What
//! is in fields of other structs than those named here is shown as the API has it.

use serde_json::Value;

/// A field: its name in Go, its name in the API, what is shown where it is absent, and of which struct it is.
type Field = (&'static str, &'static str, &'static str, Of);

/// What is in a field.
#[derive(Clone, Copy)]
enum Of {
    /// What the API has there.
    Api,
    /// A struct that is there or not.
    Struct(&'static [Field]),
    /// A struct that is always there.
    Always(&'static [Field]),
    /// A list of structs.
    List(&'static [Field]),
    /// Fields that the API has one level above.
    Above(&'static [Field]),
}

use Of::{Above, Always, Api, List, Struct};

const POD: &[Field] = &[
    ("Volumes", "volumes", "null", Api),
    ("InitContainers", "initContainers", "null", List(CONTAINER)),
    ("Containers", "containers", "null", List(CONTAINER)),
    ("EphemeralContainers", "ephemeralContainers", "null", List(&EPHEMERAL)),
    ("RestartPolicy", "restartPolicy", "\"\"", Api),
    ("TerminationGracePeriodSeconds", "terminationGracePeriodSeconds", "null", Api),
    ("ActiveDeadlineSeconds", "activeDeadlineSeconds", "null", Api),
    ("DNSPolicy", "dnsPolicy", "\"\"", Api),
    ("NodeSelector", "nodeSelector", "null", Api),
    ("ServiceAccountName", "serviceAccountName", "\"\"", Api),
    ("AutomountServiceAccountToken", "automountServiceAccountToken", "null", Api),
    ("NodeName", "nodeName", "\"\"", Api),
    ("SecurityContext", "securityContext", "null", Above(SECURITY)),
    ("ImagePullSecrets", "imagePullSecrets", "null", List(&[("Name", "name", "\"\"", Api)])),
    ("Hostname", "hostname", "\"\"", Api),
    ("Subdomain", "subdomain", "\"\"", Api),
    ("SetHostnameAsFQDN", "setHostnameAsFQDN", "null", Api),
    ("Affinity", "affinity", "null", Api),
    ("SchedulerName", "schedulerName", "\"\"", Api),
    ("Tolerations", "tolerations", "null", List(TOLERATION)),
    ("HostAliases", "hostAliases", "null", Api),
    ("PriorityClassName", "priorityClassName", "\"\"", Api),
    ("Priority", "priority", "null", Api),
    ("PreemptionPolicy", "preemptionPolicy", "null", Api),
    ("DNSConfig", "dnsConfig", "null", Api),
    ("ReadinessGates", "readinessGates", "null", List(&[("ConditionType", "conditionType", "\"\"", Api)])),
    ("RuntimeClassName", "runtimeClassName", "null", Api),
    ("Overhead", "overhead", "null", Api),
    ("EnableServiceLinks", "enableServiceLinks", "null", Api),
    ("TopologySpreadConstraints", "topologySpreadConstraints", "null", Api),
    ("OS", "os", "null", Struct(&[("Name", "name", "\"\"", Api)])),
    ("SchedulingGates", "schedulingGates", "null", List(&[("Name", "name", "\"\"", Api)])),
    ("ResourceClaims", "resourceClaims", "null", Api),
    ("Resources", "resources", "null", Struct(RESOURCES)),
    ("HostnameOverride", "hostnameOverride", "null", Api),
    ("SchedulingGroup", "schedulingGroup", "null", Api),
];

const SECURITY: &[Field] = &[
    ("HostNetwork", "^hostNetwork", "false", Api),
    ("HostPID", "^hostPID", "false", Api),
    ("HostIPC", "^hostIPC", "false", Api),
    ("ShareProcessNamespace", "^shareProcessNamespace", "null", Api),
    ("HostUsers", "^hostUsers", "null", Api),
    ("SELinuxOptions", "seLinuxOptions", "null", Api),
    ("WindowsOptions", "windowsOptions", "null", Api),
    ("RunAsUser", "runAsUser", "null", Api),
    ("RunAsGroup", "runAsGroup", "null", Api),
    ("RunAsNonRoot", "runAsNonRoot", "null", Api),
    ("SupplementalGroups", "supplementalGroups", "null", Api),
    ("SupplementalGroupsPolicy", "supplementalGroupsPolicy", "null", Api),
    ("FSGroup", "fsGroup", "null", Api),
    ("FSGroupChangePolicy", "fsGroupChangePolicy", "null", Api),
    ("Sysctls", "sysctls", "null", List(NAMED_VALUE)),
    ("SeccompProfile", "seccompProfile", "null", Api),
    ("AppArmorProfile", "appArmorProfile", "null", Api),
    ("SELinuxChangePolicy", "seLinuxChangePolicy", "null", Api),
];

const CONTAINER: &[Field] = &[
    ("Name", "name", "\"\"", Api),
    ("Image", "image", "\"\"", Api),
    ("Command", "command", "null", Api),
    ("Args", "args", "null", Api),
    ("WorkingDir", "workingDir", "\"\"", Api),
    ("Ports", "ports", "null", List(PORT)),
    ("EnvFrom", "envFrom", "null", Api),
    ("Env", "env", "null", List(VARIABLE)),
    ("Resources", "resources", "null", Always(RESOURCES)),
    ("ResizePolicy", "resizePolicy", "null", Api),
    ("RestartPolicy", "restartPolicy", "null", Api),
    ("RestartPolicyRules", "restartPolicyRules", "null", Api),
    ("VolumeMounts", "volumeMounts", "null", List(MOUNT)),
    ("VolumeDevices", "volumeDevices", "null", Api),
    ("LivenessProbe", "livenessProbe", "null", Api),
    ("ReadinessProbe", "readinessProbe", "null", Api),
    ("StartupProbe", "startupProbe", "null", Api),
    ("Lifecycle", "lifecycle", "null", Api),
    ("TerminationMessagePath", "terminationMessagePath", "\"\"", Api),
    ("TerminationMessagePolicy", "terminationMessagePolicy", "\"\"", Api),
    ("ImagePullPolicy", "imagePullPolicy", "\"\"", Api),
    ("SecurityContext", "securityContext", "null", Api),
    ("Stdin", "stdin", "false", Api),
    ("StdinOnce", "stdinOnce", "false", Api),
    ("TTY", "tty", "false", Api),
];

/// A container with the one that it looks into.
const EPHEMERAL: [Field; CONTAINER.len() + 1] = {
    let mut fields = [("TargetContainerName", "targetContainerName", "\"\"", Api); CONTAINER.len() + 1];
    let mut at = 0;
    while at < CONTAINER.len() {
        fields[at] = CONTAINER[at];
        at += 1;
    }
    fields
};

const RESOURCES: &[Field] = &[
    ("Limits", "limits", "null", Api),
    ("Requests", "requests", "null", Api),
    ("Claims", "claims", "null", Api),
];

const PORT: &[Field] = &[
    ("Name", "name", "\"\"", Api),
    ("HostPort", "hostPort", "0", Api),
    ("ContainerPort", "containerPort", "0", Api),
    ("Protocol", "protocol", "\"\"", Api),
    ("HostIP", "hostIP", "\"\"", Api),
];

const VARIABLE: &[Field] = &[
    ("Name", "name", "\"\"", Api),
    ("Value", "value", "\"\"", Api),
    ("ValueFrom", "valueFrom", "null", Api),
];

const NAMED_VALUE: &[Field] = &[("Name", "name", "\"\"", Api), ("Value", "value", "\"\"", Api)];

const MOUNT: &[Field] = &[
    ("Name", "name", "\"\"", Api),
    ("ReadOnly", "readOnly", "false", Api),
    ("RecursiveReadOnly", "recursiveReadOnly", "null", Api),
    ("MountPath", "mountPath", "\"\"", Api),
    ("SubPath", "subPath", "\"\"", Api),
    ("MountPropagation", "mountPropagation", "null", Api),
    ("SubPathExpr", "subPathExpr", "\"\"", Api),
];

const TOLERATION: &[Field] = &[
    ("Key", "key", "\"\"", Api),
    ("Operator", "operator", "\"\"", Api),
    ("Value", "value", "\"\"", Api),
    ("Effect", "effect", "\"\"", Api),
    ("TolerationSeconds", "tolerationSeconds", "null", Api),
];

/// The metadata of a template, whose fields Go has beside the spec.
const METADATA: [&str; 6] = ["name", "generateName", "namespace", "labels", "annotations", "finalizers"];

/// A template of pods.
pub(crate) fn template(tree: &Value) -> String {
    let there = METADATA.iter().filter_map(|name| Some((name, tree["metadata"].get(name)?)));
    let metadata: String = there.map(|(name, value)| format!("\"{name}\":{value},")).collect();
    format!("{{{metadata}\"Spec\":{}}}", spec(&tree["spec"]))
}

/// The spec of a pod.
pub(crate) fn spec(tree: &Value) -> String {
    object(POD, tree, &Value::Null)
}

/// An ephemeral container.
pub(super) fn ephemeral(tree: &Value) -> String {
    object(&EPHEMERAL, tree, &Value::Null)
}

fn object(fields: &[Field], tree: &Value, above: &Value) -> String {
    let shown = fields.iter().map(|(go, api, zero, of)| {
        let value = match api.strip_prefix('^') {
            Some(api) => &above[api],
            None => &tree[*api],
        };
        format!("\"{go}\":{}", field(*of, value, tree, zero))
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

fn field(of: Of, value: &Value, around: &Value, zero: &str) -> String {
    match (of, value) {
        (Always(fields), value) => object(fields, value, around),
        (_, Value::Null) => zero.to_owned(),
        (Struct(fields) | Above(fields), value) => object(fields, value, around),
        (List(fields), Value::Array(items)) => {
            let items = items.iter().map(|item| object(fields, item, around));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        (_, value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_ephemeral_container_is_a_container_and_tells_into_which_it_looks() {
        let shown = ephemeral(&json!({"name": "e", "image": "i", "targetContainerName": "c"}));
        assert!(shown.starts_with(r#"{"Name":"e","Image":"i","Command":null,"#), "{shown}");
        assert!(shown.ends_with(r#""TTY":false,"TargetContainerName":"c"}"#), "{shown}");
        let within = spec(&json!({"ephemeralContainers": [{"name": "e"}]}));
        assert!(within.contains(r#""TargetContainerName":""}]"#), "{within}");
    }

    #[test]
    fn fields_have_the_names_of_go_and_all_are_there() {
        let shown = spec(&json!({
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "hostNetwork": true, "securityContext": {"fsGroup": 5}, "nodeSelector": {"a": "b"},
        }));
        for part in [
            r#"{"Volumes":null,"InitContainers":null,"Containers":[{"Name":"c","Image":"i","Command":null,"#,
            r#""Ports":[{"Name":"","HostPort":0,"ContainerPort":80,"Protocol":"TCP","HostIP":""}],"#,
            r#""Resources":{"Limits":null,"Requests":null,"Claims":null},"#,
            r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"#,
            r#""FSGroup":5,"#,
            r#""NodeSelector":{"a":"b"},"ServiceAccountName":"","#,
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
    }
}
