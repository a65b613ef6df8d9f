//! What the files of configMap, secret, downwardAPI and projected volumes contain; a pure function of the
//! objects they show.

use super::ownership::fs_group;
use crate::container::downward::{metadata_field, resource_field};
use crate::container::references::Sources;
use crate::pod::local::{LocalPod, Role};
use crate::quantity::Amounts;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Secret, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use skiff_ordered::Ordered as _;
use skiff_runtime::IdRange;
use std::collections::BTreeMap;

/// Permissions of a file nobody set permissions for.
const DEFAULT_MODE: u32 = 0o644;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileContent {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
    /// User who owns it; root without.
    pub(crate) user: Option<u32>,
}

/// The files of a volume by relative path.
pub(crate) type Payload = BTreeMap<String, FileContent>;

/// Why a volume cannot be filled.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("{kind} {name:?} not found")]
    NotFound { kind: &'static str, name: String },
    #[error("references non-existent {kind} key: {key}")]
    NoKey { kind: &'static str, key: String },
    #[error("unsupported fieldPath: {path}")]
    Field { path: String },
    #[error("invalid resourceFieldRef {resource:?}")]
    Resource { resource: String },
    #[error("projected volume source {source_kind} is not supported on this node")]
    Projection { source_kind: &'static str },
    #[error("the token for audience {audience:?} has not been issued")]
    Token { audience: String },
    #[error("invalid path {path:?} in a volume")]
    Path { path: String },
}

/// What identifies a token of the pod's service account: audience and lifetime in seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenKey {
    pub(crate) audience: String,
    pub(crate) seconds: i64,
}

impl TokenKey {
    /// The token a projection asks for.
    pub(crate) fn of(projection: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: projection.audience.clone().unwrap_or_default(),
            seconds: projection.expiration_seconds.unwrap_or(3600),
        }
    }
}

/// What volumes may show.
pub(crate) struct ContentContext<'a> {
    pub(crate) pod: &'a LocalPod,
    pub(crate) sources: &'a Sources,
    pub(crate) tokens: &'a BTreeMap<TokenKey, String>,
    pub(crate) allocatable: &'a Amounts,
    /// The pod's IDs on the node, if it has a user namespace.
    pub(crate) users: Option<IdRange>,
}

/// The tokens that the volumes of `pod` show.
pub(crate) fn tokens(pod: &LocalPod) -> Vec<TokenKey> {
    let projected = pod.spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
    sources.filter_map(|source| source.service_account_token.as_ref()).map(TokenKey::of).collect()
}

/// The files of `volume`; `None` when it is of a kind that does not show objects.
pub(crate) fn payload(
    volume: &Volume,
    context: &ContentContext<'_>,
) -> Option<Result<Payload, ContentError>> {
    if let Some(source) = &volume.config_map {
        let mode = mode(source.default_mode);
        return Some(config_map(context, &source.name, source.items.as_deref(), source.optional, mode));
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        return Some(secret(
            context,
            name,
            source.items.as_deref(),
            source.optional,
            mode(source.default_mode),
        ));
    }
    if let Some(source) = &volume.downward_api {
        return Some(downward(context, source.items.as_deref(), mode(source.default_mode)));
    }
    let projected = volume.projected.as_ref()?;
    let mode = mode(projected.default_mode);
    let mut all = Payload::new();
    for source in projected.sources.iter().flatten() {
        match projection(context, source, mode) {
            Ok(files) => all.extend(files),
            Err(error) => return Some(Err(error)),
        }
    }
    Some(check_paths(all))
}

fn projection(
    context: &ContentContext<'_>,
    source: &VolumeProjection,
    mode: u32,
) -> Result<Payload, ContentError> {
    if let Some(source) = &source.config_map {
        return config_map(context, &source.name, source.items.as_deref(), source.optional, mode);
    }
    if let Some(source) = &source.secret {
        return secret(context, &source.name, source.items.as_deref(), source.optional, mode);
    }
    if let Some(source) = &source.downward_api {
        return downward(context, source.items.as_deref(), mode);
    }
    if let Some(source) = &source.service_account_token {
        let key = TokenKey::of(source);
        let token = context.tokens.get(&key).ok_or(ContentError::Token { audience: key.audience })?;
        let data = token.clone().into_bytes();
        let user = only_user(context.pod);
        // As the kubelet: the fewest readers that leave the pod's user able to read it. The group is given it later.
        let mode = if user.is_some() || fs_group(context.pod).is_some() { 0o600 } else { mode };
        return Ok([(source.path.clone(), FileContent { data, mode, user })].into());
    }
    if source.cluster_trust_bundle.is_some() {
        return Err(ContentError::Projection { source_kind: "clusterTrustBundle" });
    }
    if source.pod_certificate.is_some() {
        return Err(ContentError::Projection { source_kind: "podCertificate" });
    }
    Ok(Payload::new())
}

/// The user that all containers of the pod run as by its specification; `None` when they differ or one does not say.
fn only_user(pod: &LocalPod) -> Option<u32> {
    let pods_own = pod.spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let lasting = pod.containers.iter().filter(|container| container.role != Role::Ephemeral);
    let mut users = lasting.map(|container| {
        let own = container.spec.security_context.as_ref().and_then(|context| context.run_as_user);
        own.or(pods_own)
    });
    let first = users.next()??;
    if users.all(|user| user == Some(first)) { u32::try_from(first).ok() } else { None }
}

fn mode(value: Option<i32>) -> u32 {
    value.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(DEFAULT_MODE) & 0o7777
}

fn config_map(
    context: &ContentContext<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<Payload, ContentError> {
    match context.sources.config_maps.get(name) {
        Some(map) => select("config", config_map_entries(map), items, optional, mode),
        None if optional == Some(true) => Ok(Payload::new()),
        None => Err(ContentError::NotFound { kind: "configmap", name: name.into() }),
    }
}

fn config_map_entries(map: &ConfigMap) -> BTreeMap<&str, &[u8]> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    text.chain(binary).one_by_one()
}

fn secret(
    context: &ContentContext<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<Payload, ContentError> {
    match context.sources.secrets.get(name) {
        Some(secret) => select("secret", secret_entries(secret), items, optional, mode),
        None if optional == Some(true) => Ok(Payload::new()),
        None => Err(ContentError::NotFound { kind: "secret", name: name.into() }),
    }
}

fn secret_entries(secret: &Secret) -> BTreeMap<&str, &[u8]> {
    secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice())).one_by_one()
}

/// The entries that `items` names, at the paths it gives them; all of them without `items`.
fn select(
    kind: &'static str,
    entries: BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<Payload, ContentError> {
    let file = |data: &[u8], mode| FileContent { data: data.to_vec(), mode, user: None };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(entries.into_iter().map(|(key, data)| (key.to_owned(), file(data, mode))).one_by_one());
    };
    let mut files = Payload::new();
    for item in items {
        match entries.get(item.key.as_str()) {
            Some(data) => {
                let mode = item.mode.map_or(mode, |own| self::mode(Some(own)));
                files.insert(item.path.clone(), file(data, mode));
            }
            None if optional == Some(true) => {}
            None => return Err(ContentError::NoKey { kind, key: item.key.clone() }),
        }
    }
    check_paths(files)
}

fn downward(
    context: &ContentContext<'_>,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: u32,
) -> Result<Payload, ContentError> {
    let mut files = Payload::new();
    for item in items.unwrap_or_default() {
        let text = if let Some(field) = &item.field_ref {
            let path = &field.field_path;
            metadata_field(context.pod, path).ok_or_else(|| ContentError::Field { path: path.clone() })?
        } else if let Some(selector) = &item.resource_field_ref {
            let name = selector.container_name.as_deref().unwrap_or_default();
            let container = context.pod.containers.iter().find(|container| container.name.as_str() == name);
            container
                .and_then(|container| resource_field(&container.spec, selector, context.allocatable))
                .ok_or_else(|| ContentError::Resource { resource: selector.resource.clone() })?
        } else {
            continue;
        };
        let mode = item.mode.map_or(mode, |own| self::mode(Some(own)));
        files.insert(item.path.clone(), FileContent { data: text.into_bytes(), mode, user: None });
    }
    check_paths(files)
}

/// Refuses paths that would leave the volume or collide with its bookkeeping.
fn check_paths(files: Payload) -> Result<Payload, ContentError> {
    let bad = |path: &String| {
        path.is_empty()
            || path.starts_with('/')
            || path.starts_with("..")
            || path.split('/').any(|part| part.is_empty() || part == "." || part == "..")
    };
    match files.keys().find(|path| bad(path)) {
        Some(path) => Err(ContentError::Path { path: path.clone() }),
        None => Ok(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod;
    use std::sync::Arc;

    fn check(volume: &str, expected: Result<&[(&str, &str, u32)], &str>) {
        let pod = pod(
            r#"{"metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "1"}}, "spec": {"containers": []}}"#,
        );
        let map = serde_json::from_str(r#"{"data": {"k": "v"}, "binaryData": {"b": "AAE="}}"#).unwrap();
        let secret = serde_json::from_str(r#"{"data": {"s": "eA=="}}"#).unwrap();
        let sources = Sources {
            config_maps: [("m".to_owned(), Arc::new(map))].into(),
            secrets: [("s".to_owned(), Arc::new(secret))].into(),
        };
        let tokens = [(TokenKey { audience: String::new(), seconds: 3607 }, "tok".to_owned())].into();
        let context = ContentContext {
            pod: &pod,
            sources: &sources,
            tokens: &tokens,
            allocatable: &Amounts::new(),
            users: None,
        };
        let volume: Volume = serde_json::from_str(&format!(r#"{{"name": "v", {volume}}}"#)).unwrap();
        let actual = payload(&volume, &context).unwrap();
        match (actual, expected) {
            (Ok(files), Ok(expected)) => {
                let files: Vec<(&str, String, u32)> = files
                    .iter()
                    .map(|(path, file)| {
                        (path.as_str(), String::from_utf8(file.data.clone()).unwrap(), file.mode)
                    })
                    .collect();
                let expected: Vec<_> = expected.iter().map(|(p, d, m)| (*p, (*d).to_owned(), *m)).collect();
                assert_eq!(files, expected);
            }
            (Err(error), Err(text)) => assert_eq!(error.to_string(), text),
            (actual, expected) => panic!("{actual:?} is not {expected:?}"),
        }
    }

    #[test]
    fn config_maps_and_secrets() {
        check(r#""configMap": {"name": "m"}"#, Ok(&[("b", "\0\x01", 0o644), ("k", "v", 0o644)]));
        check(
            r#""configMap": {"name": "m", "defaultMode": 256, "items": [{"key": "k", "path": "d/f"}, {"key": "b", "path": "g", "mode": 511}]}"#,
            Ok(&[("d/f", "v", 0o400), ("g", "\0\x01", 0o777)]),
        );
        check(
            r#""configMap": {"name": "m", "items": [{"key": "z", "path": "z"}]}"#,
            Err("references non-existent config key: z"),
        );
        check(
            r#""configMap": {"name": "m", "optional": true, "items": [{"key": "z", "path": "z"}]}"#,
            Ok(&[]),
        );
        check(r#""configMap": {"name": "no"}"#, Err("configmap \"no\" not found"));
        check(r#""secret": {"secretName": "no", "optional": true}"#, Ok(&[]));
        check(r#""secret": {"secretName": "s"}"#, Ok(&[("s", "x", 0o644)]));
        check(
            r#""configMap": {"name": "m", "items": [{"key": "k", "path": "../x"}]}"#,
            Err("invalid path \"../x\" in a volume"),
        );
    }

    #[test]
    fn projections_are_merged() {
        check(
            r#""projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"configMap": {"name": "m", "items": [{"key": "k", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}"#,
            Ok(&[("ca.crt", "v", 0o644), ("namespace", "ns", 0o644), ("token", "tok", 0o644)]),
        );
        check(
            r#""downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}"#,
            Ok(&[("labels", "a=\"1\"", 0o644)]),
        );
    }

    #[test]
    fn tokens_are_for_the_pods_user() {
        let check = |spec: &str, expected: (u32, Option<u32>)| {
            let pod = crate::pod::testing::pod_of(spec);
            let tokens = [(TokenKey { audience: String::new(), seconds: 3600 }, "tok".to_owned())].into();
            let (sources, allocatable) = (Sources::default(), Amounts::new());
            let context = ContentContext {
                pod: &pod,
                sources: &sources,
                tokens: &tokens,
                allocatable: &allocatable,
                users: None,
            };
            let volume =
                r#"{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}"#;
            let files = payload(&serde_json::from_str(volume).unwrap(), &context).unwrap().unwrap();
            assert_eq!((files["t"].mode, files["t"].user), expected, "{spec}");
        };
        let own = r#"{"name": "a", "securityContext": {"runAsUser": 1000}}"#;
        check(r#"{"containers": [{"name": "a"}]}"#, (0o644, None));
        check(&format!(r#"{{"containers": [{own}]}}"#), (0o600, Some(1000)));
        check(&format!(r#"{{"containers": [{own}, {{"name": "b"}}]}}"#), (0o644, None));
        check(
            &format!(
                r#"{{"securityContext": {{"runAsUser": 1000}}, "containers": [{own}, {{"name": "b"}}]}}"#
            ),
            (0o600, Some(1000)),
        );
        check(
            &format!(r#"{{"securityContext": {{"runAsUser": 7}}, "containers": [{own}, {{"name": "b"}}]}}"#),
            (0o644, None),
        );
        check(r#"{"securityContext": {"fsGroup": 5}, "containers": [{"name": "a"}]}"#, (0o600, None));
        check(
            &format!(
                r#"{{"securityContext": {{"fsGroup": 5}}, "initContainers": [{own}], "containers": [{own}]}}"#
            ),
            (0o600, Some(1000)),
        );
    }
}
