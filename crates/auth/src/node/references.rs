//! Which objects of the API a pod refers to: one that a node made known by itself may refer to none, as KEP-279
//! (limiting node access) and NodeRestriction have it.

use serde_json::Value;
use skiff_machinery::Object;

/// Volumes for which nobody asks the API, once their Secrets were looked for.
const LOCAL: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "cephfs",
    "cinder",
    "downwardAPI",
    "emptyDir",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

/// Other volumes, and what they refer to.
const REFERRING: [(&str, &str); 7] = [
    ("configMap", "configmaps (via configmap volumes)"),
    ("secret", "secrets (via secret volumes)"),
    ("csi", "csidrivers (via CSI volumes)"),
    ("glusterfs", "endpoints (via glusterFS volumes)"),
    ("persistentVolumeClaim", "persistentvolumeclaims"),
    ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
    ("azureFile", "secrets (via azureFile volumes)"),
];

/// What projected volumes are made of, and refer to.
const PROJECTED: [(&str, &str); 5] = [
    ("configMap", "configmaps (via projected volumes)"),
    ("secret", "secrets (via projected volumes)"),
    ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
    ("clusterTrustBundle", "clustertrustbundles"),
    ("podCertificate", "podcertificates"),
];

/// Fields of volumes that name a Secret.
const SECRETS: [&str; 11] = [
    // Of a source of a projected volume.
    "/secret/name",
    "/secret/secretName",
    "/azureFile/secretName",
    "/cephfs/secretRef/name",
    "/cinder/secretRef/name",
    "/csi/nodePublishSecretRef/name",
    "/flexVolume/secretRef/name",
    "/iscsi/secretRef/name",
    "/rbd/secretRef/name",
    "/scaleIO/secretRef/name",
    "/storageos/secretRef/name",
];

/// The first kind of objects that a pod refers to, as messages call it; an error for a volume of which that cannot be told.
pub(super) fn of_pod(pod: &Object) -> Result<Option<&'static str>, String> {
    if !pod.str(&["spec", "serviceAccountName"]).is_empty() {
        return Ok(Some("serviceaccounts"));
    }
    let pulls = list(pod, "imagePullSecrets").iter().any(|secret| is_named(secret, "/name"));
    if pulls || uses(pod, ["/valueFrom/secretKeyRef/name", "/secretRef/name"], &SECRETS) {
        return Ok(Some("secrets"));
    }
    if uses(pod, ["/valueFrom/configMapKeyRef/name", "/configMapRef/name"], &["/configMap/name"]) {
        return Ok(Some("configmaps"));
    }
    if !list(pod, "resourceClaims").is_empty() {
        return Ok(Some("resourceclaims"));
    }
    list(pod, "volumes").iter().find_map(|volume| of_volume(volume).transpose()).transpose()
}

/// Whether a variable or a volume, or a source of one, names something at one of these paths.
fn uses(pod: &Object, of_variables: [&str; 2], of_volumes: &[&str]) -> bool {
    let containers = ["initContainers", "containers", "ephemeralContainers"];
    let mut containers = containers.into_iter().flat_map(|field| list(pod, field));
    let in_variables = containers.any(|container| {
        let mut variables = items(&container["env"]).iter().chain(items(&container["envFrom"]));
        variables.any(|variable| of_variables.iter().any(|path| is_named(variable, path)))
    });
    let names = |value: &Value| of_volumes.iter().any(|path| is_named(value, path));
    in_variables
        || list(pod, "volumes")
            .iter()
            .any(|volume| names(volume) || items(&volume["projected"]["sources"]).iter().any(names))
}

fn of_volume(volume: &Value) -> Result<Option<&'static str>, String> {
    let has = |field: &str| !volume[field].is_null();
    if LOCAL.iter().any(|field| has(field)) {
        return Ok(None);
    }
    if let Some((_, referent)) = REFERRING.iter().find(|(field, _)| has(field)) {
        return Ok(Some(referent));
    }
    let name = volume["name"].as_str().unwrap_or_default();
    if !has("projected") {
        return Err(format!("unknown volume type for volume  {name:?}"));
    }
    for source in items(&volume["projected"]["sources"]) {
        match PROJECTED.iter().find(|(field, _)| !source[*field].is_null()) {
            Some((_, referent)) => return Ok(Some(referent)),
            None if !source["downwardAPI"].is_null() => {}
            None => return Err(format!("unknown source for projected volume {name:?}")),
        }
    }
    Ok(None)
}

fn is_named(value: &Value, path: &str) -> bool {
    value.pointer(path).and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn list<'p>(pod: &'p Object, field: &str) -> &'p [Value] {
    pod.get(&["spec", field]).map_or(&[], items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_reference_is_told() {
        let check = |spec: Value, expected: Result<Option<&str>, &str>| {
            let pod = Object::from_value(json!({ "spec": spec })).unwrap();
            assert_eq!(of_pod(&pod), expected.map_err(str::to_owned), "{spec}");
        };
        let variable = |of: &str| json!({"initContainers": [{"env": [{"name": "A", "valueFrom": {of: {"name": "x"}}}]}]});
        let variables = |of: &str| json!({"ephemeralContainers": [{"envFrom": [{of: {"name": "x"}}]}]});
        check(json!({"serviceAccountName": "a", "volumes": [{"secret": {}}]}), Ok(Some("serviceaccounts")));
        check(json!({"imagePullSecrets": [{"name": "x"}]}), Ok(Some("secrets")));
        check(json!({"imagePullSecrets": [{}]}), Ok(None));
        check(variable("secretKeyRef"), Ok(Some("secrets")));
        check(variables("secretRef"), Ok(Some("secrets")));
        check(variable("configMapKeyRef"), Ok(Some("configmaps")));
        check(variables("configMapRef"), Ok(Some("configmaps")));
        check(variable("fieldRef"), Ok(None));
        check(json!({"resourceClaims": [{"name": "x"}]}), Ok(Some("resourceclaims")));
        let volume = |source: Value, expected: Result<Option<&str>, &str>| {
            let mut volume = source;
            volume["name"] = "v".into();
            check(json!({"volumes": [{"name": "h", "hostPath": {"path": "/"}}, volume]}), expected);
        };
        volume(json!({"emptyDir": {}}), Ok(None));
        volume(json!({"secret": {"secretName": "x"}}), Ok(Some("secrets")));
        volume(json!({"secret": {}}), Ok(Some("secrets (via secret volumes)")));
        volume(json!({"rbd": {"secretRef": {"name": "x"}}}), Ok(Some("secrets")));
        volume(json!({"rbd": {"image": "x"}}), Ok(None));
        volume(json!({"configMap": {"name": "x"}}), Ok(Some("configmaps")));
        volume(json!({"csi": {"driver": "x"}}), Ok(Some("csidrivers (via CSI volumes)")));
        volume(json!({"persistentVolumeClaim": {"claimName": "x"}}), Ok(Some("persistentvolumeclaims")));
        volume(json!({"ephemeral": {}}), Ok(Some("persistentvolumeclaims (via ephemeral volumes)")));
        volume(json!({"other": {}}), Err(r#"unknown volume type for volume  "v""#));
        let projected = |source: Value, expected: Result<Option<&str>, &str>| {
            volume(json!({"projected": {"sources": [{"downwardAPI": {}}, source]}}), expected);
        };
        projected(json!({"secret": {"name": "x"}}), Ok(Some("secrets")));
        projected(json!({"configMap": {"name": "x"}}), Ok(Some("configmaps")));
        projected(
            json!({"serviceAccountToken": {"path": "x"}}),
            Ok(Some("serviceaccounts (via projected volumes)")),
        );
        projected(json!({"clusterTrustBundle": {"path": "x"}}), Ok(Some("clustertrustbundles")));
        projected(json!({"podCertificate": {}}), Ok(Some("podcertificates")));
        projected(json!({"downwardAPI": {}}), Ok(None));
        projected(json!({}), Err(r#"unknown source for projected volume "v""#));
    }
}
