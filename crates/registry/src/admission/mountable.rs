//! Which Secrets a pod may name: a mirror pod none, and a pod whose ServiceAccount enforces it only those of the account.

use serde_json::Value;
use skiff_machinery::Object;

/// With this annotation a ServiceAccount names all Secrets that its pods may use.
const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";

/// Why a mirror pod is refused, if it is: it stands for what a node runs by itself, and gives access to nothing.
pub(super) fn mirror_refusal(pod: &Object) -> Option<&'static str> {
    if !pod.str(&["spec", "serviceAccountName"]).is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    let names_any = LISTS.iter().any(|(list, _)| !references(pod, list).is_empty())
        || !items(pod, "imagePullSecrets").is_empty()
        || items(pod, "volumes").iter().any(names_secret);
    if names_any {
        return Some("a mirror pod may not reference secrets");
    }
    let has_token = |volume: &Value| {
        let sources = volume["projected"]["sources"].as_array();
        sources.into_iter().flatten().any(|source| !source["serviceAccountToken"].is_null())
    };
    let any_token = items(pod, "volumes").iter().any(has_token);
    any_token.then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// Whether a volume is made of a Secret, or needs one.
fn names_secret(volume: &Value) -> bool {
    const REFERENCES: &[(&str, &str)] = &[
        ("cephfs", "secretRef"),
        ("cinder", "secretRef"),
        ("csi", "nodePublishSecretRef"),
        ("flexVolume", "secretRef"),
        ("iscsi", "secretRef"),
        ("rbd", "secretRef"),
        ("scaleIO", "secretRef"),
        ("storageos", "secretRef"),
    ];
    let is_named = |value: &Value| value.as_str().is_some_and(|name| !name.is_empty());
    let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
    is_named(&volume["secret"]["secretName"])
        || is_named(&volume["azureFile"]["secretName"])
        || REFERENCES.iter().any(|(of, field)| is_named(&volume[*of][*field]["name"]))
        || sources.into_iter().any(|source| is_named(&source["secret"]["name"]))
}

/// Whether an account says which Secrets its pods may use.
pub(super) fn is_enforced(account: &Object) -> bool {
    let value = account.get(&["metadata", "annotations", ENFORCED]).and_then(Value::as_str);
    value.is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// Lists of containers, as messages call one of them.
const LISTS: &[(&str, &str)] = &[
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", "ephemeral container"),
];

/// Why a new pod is refused that names a Secret which its account does not.
pub(super) fn refusal(pod: &Object, account: &Object) -> Option<String> {
    let who = account.name();
    let unknown =
        |name: &str| format!("is not allowed because service account {who} does not reference that {name}");
    let allowed = names(account, "secrets");
    let volumes = items(pod, "volumes").iter().filter_map(|volume| volume["secret"]["secretName"].as_str());
    for name in volumes {
        if !allowed.contains(&name) {
            return Some(format!("volume with secret.secretName=\"{name}\" {}", unknown("secret")));
        }
    }
    let containers = LISTS.iter().filter(|(list, _)| *list != "ephemeralContainers");
    for (list, what) in containers {
        if let Some(why) = refusal_of(pod, list, what, account) {
            return Some(why);
        }
    }
    let allowed = names(account, "imagePullSecrets");
    let pulls =
        items(pod, "imagePullSecrets").iter().map(|secret| secret["name"].as_str().unwrap_or_default());
    pulls.enumerate().find(|(_, name)| !allowed.contains(name)).map(|(index, name)| {
        format!("imagePullSecrets[{index}].name=\"{name}\" {}", unknown("imagePullSecret"))
    })
}

/// The same of the containers that are added to a pod that runs.
pub(super) fn ephemeral_refusal(pod: &Object, account: &Object) -> Option<String> {
    refusal_of(pod, "ephemeralContainers", "ephemeral container", account)
}

fn refusal_of(pod: &Object, list: &str, what: &str, account: &Object) -> Option<String> {
    let allowed = names(account, "secrets");
    let refused = references(pod, list).into_iter().find(|reference| !allowed.contains(&reference.secret))?;
    let Reference { container, how, secret } = refused;
    Some(format!(
        "{what} {container} with {how} referencing secret.secretName=\"{secret}\" is not allowed because service account {} does not reference that secret",
        account.name()
    ))
}

/// An environment variable, or several, from a Secret.
struct Reference<'a> {
    container: &'a str,
    /// `envVar NAME` or `envFrom`.
    how: String,
    secret: &'a str,
}

fn references<'a>(pod: &'a Object, list: &str) -> Vec<Reference<'a>> {
    let mut found = Vec::new();
    for container in items(pod, list) {
        let name = container["name"].as_str().unwrap_or_default();
        let of = |field: &str| container[field].as_array().map_or(&[][..], Vec::as_slice);
        let variables = of("env").iter().filter_map(|variable| {
            let secret = variable["valueFrom"]["secretKeyRef"]["name"].as_str()?;
            Some((format!("envVar {}", variable["name"].as_str().unwrap_or_default()), secret))
        });
        let all = of("envFrom").iter().filter_map(|from| from["secretRef"]["name"].as_str());
        let all = all.map(|secret| ("envFrom".to_owned(), secret));
        found.extend(variables.chain(all).map(|(how, secret)| Reference { container: name, how, secret }));
    }
    found
}

fn items<'a>(pod: &'a Object, field: &str) -> &'a [Value] {
    pod.get(&["spec", field]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn names<'a>(account: &'a Object, field: &str) -> Vec<&'a str> {
    let named = account.get(&[field]).and_then(Value::as_array);
    named.into_iter().flatten().filter_map(|reference| reference["name"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: Value) -> Object {
        Object::from_value(json!({ "spec": spec })).unwrap()
    }

    #[test]
    fn mirror_pods_give_access_to_nothing() {
        let check = |spec: Value, expected: Option<&str>| {
            assert_eq!(mirror_refusal(&pod(spec.clone())), expected, "{spec}");
        };
        let secrets = Some("a mirror pod may not reference secrets");
        check(json!({"containers": [{"name": "a", "env": [{"name": "x", "value": "y"}]}]}), None);
        check(json!({"serviceAccountName": "a"}), Some("a mirror pod may not reference service accounts"));
        check(json!({"imagePullSecrets": [{"name": "a"}]}), secrets);
        check(json!({"volumes": [{"name": "v", "secret": {"secretName": "a"}}]}), secrets);
        check(json!({"volumes": [{"name": "v", "csi": {"nodePublishSecretRef": {"name": "a"}}}]}), secrets);
        check(json!({"containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "s"}}]}]}), secrets);
        let sources = json!([{"serviceAccountToken": {"path": "token"}}]);
        check(
            json!({"volumes": [{"name": "v", "projected": {"sources": sources}}]}),
            Some("a mirror pod may not use ServiceAccountToken volume projections"),
        );
    }

    #[test]
    fn pods_of_strict_accounts_use_what_these_name() {
        let account = Object::from_value(json!({
            "metadata": {"name": "strict", "annotations": {ENFORCED: "true"}},
            "secrets": [{"name": "mine"}], "imagePullSecrets": [{"name": "pull"}],
        }))
        .unwrap();
        assert!(is_enforced(&account) && !is_enforced(&Object::default()));
        let check = |spec: Value, start: &str| {
            let why = refusal(&pod(spec.clone()), &account).unwrap_or_default();
            match start {
                "" => assert_eq!(why, "", "{spec}"),
                start => assert!(
                    why.starts_with(start)
                        && why.contains(
                            "is not allowed because service account strict does not reference that"
                        ),
                    "{why}"
                ),
            }
        };
        let variable = |secret: &str| json!([{"name": "x", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        check(
            json!({"containers": [{"name": "c", "env": variable("mine")}], "imagePullSecrets": [{"name": "pull"}]}),
            "",
        );
        check(
            json!({"containers": [{"name": "c", "env": variable("other")}]}),
            r#"container c with envVar x referencing secret.secretName="other""#,
        );
        check(
            json!({"initContainers": [{"name": "c", "envFrom": [{"secretRef": {"name": "other"}}]}]}),
            r#"init container c with envFrom referencing secret.secretName="other""#,
        );
        check(
            json!({"volumes": [{"name": "v", "secret": {"secretName": "other"}}]}),
            r#"volume with secret.secretName="other""#,
        );
        check(json!({"imagePullSecrets": [{"name": "mine"}]}), r#"imagePullSecrets[0].name="mine""#);
        let added = pod(json!({"ephemeralContainers": [{"name": "e", "env": variable("other")}]}));
        assert_eq!(refusal(&added, &account), None);
        let why = ephemeral_refusal(&added, &account).unwrap();
        assert!(why.starts_with("ephemeral container e with envVar x"), "{why}");
    }
}
