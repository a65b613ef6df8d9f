//! The scale of objects of whatever kind: read and written through the subresource `scale`.

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::{Api, Client};
use parking_lot::Mutex;
use skiff_informer::is_not_found;

use crate::discovery::{ResourceKind, discover};

/// Which kind of object is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KindName<'a> {
    pub(crate) group: &'a str,
    /// `None` if any will do.
    pub(crate) version: Option<&'a str>,
    pub(crate) kind: &'a str,
}

impl<'a> KindName<'a> {
    /// That of an `apiVersion` and a `kind`.
    pub(crate) fn of(api_version: &'a str, kind: &'a str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group, version: Some(version), kind }
    }

    /// The same in any version.
    pub(crate) fn of_any_version(self) -> Self {
        Self { version: None, ..self }
    }

    fn missing(self) -> ScaleError {
        let Self { group, version, kind } = self;
        let place = match version {
            None => format!("group \"{group}\""),
            Some(version) if group.is_empty() => format!("version \"{version}\""),
            Some(version) => format!("version \"{group}/{version}\""),
        };
        ScaleError::NoKind { kind: kind.to_owned(), place }
    }
}

/// Why there is no scale, in Kubernetes' words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScaleError {
    /// No such kind is served.
    #[error("no matches for kind \"{kind}\" in {place}")]
    NoKind {
        /// The kind.
        kind: String,
        /// Where it was looked for.
        place: String,
    },
    /// The request failed.
    #[error("{}", skiff_informer::describe(.0))]
    Api(#[from] kube::Error),
}

/// Reads and writes scales, and remembers what kinds there are.
pub(crate) struct Scales {
    client: Client,
    kinds: Mutex<Vec<ResourceKind>>,
}

impl Scales {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::default() }
    }

    /// Where objects of the kind are. What is not known is asked for anew.
    pub(crate) async fn resource(&self, kind: KindName<'_>) -> Result<ResourceKind, ScaleError> {
        if let Some(found) = find(&self.kinds.lock(), kind) {
            return Ok(found);
        }
        let kinds = discover(&self.client).await?.kinds;
        let found = find(&kinds, kind);
        *self.kinds.lock() = kinds;
        found.ok_or_else(|| kind.missing())
    }

    /// Reads a scale. One that is not there may be of a kind that is not any more, which is then forgotten.
    pub(crate) async fn get(&self, namespace: &str, name: &str, kind: &ResourceKind) -> kube::Result<Scale> {
        let scale = self.api(namespace, kind).get_scale(name).await;
        if scale.as_ref().is_err_and(is_not_found) {
            self.kinds.lock().retain(|known| known.api != kind.api);
        }
        scale
    }

    /// Writes a scale; a conflict is an error.
    pub(crate) async fn replace(&self, scale: &Scale, kind: &ResourceKind) -> kube::Result<Scale> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (namespace, name) = (text(&scale.metadata.namespace), text(&scale.metadata.name));
        self.api(&namespace, kind).replace_scale(&name, &PostParams::default(), scale).await
    }

    fn api(&self, namespace: &str, kind: &ResourceKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.api)
    }
}

fn find(kinds: &[ResourceKind], kind: KindName<'_>) -> Option<ResourceKind> {
    let meant = |known: &&ResourceKind| known.api.group == kind.group && known.api.kind == kind.kind;
    kinds.iter().find(meant).cloned()
}
