//! Which kinds of objects the API server has.

use kube::Client;
use kube::discovery::{ApiResource, Discovery, Scope};
use tracing::debug;

/// A kind of object.
#[derive(Clone, Debug)]
pub(crate) struct ResourceKind {
    /// Group, version, kind and plural.
    pub(crate) api: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    verbs: Vec<String>,
}

impl ResourceKind {
    /// Whether the API server offers `verb` for the kind.
    pub(crate) fn supports(&self, verb: &str) -> bool {
        self.verbs.iter().any(|supported| supported == verb)
    }

    /// `pods`, `endpointslices.discovery.k8s.io`.
    pub(crate) fn name(&self) -> String {
        if self.api.group.is_empty() {
            self.api.plural.clone()
        } else {
            format!("{}.{}", self.api.plural, self.api.group)
        }
    }
}

/// All kinds, each in its group's preferred version.
pub(crate) async fn resource_kinds(client: &Client) -> kube::Result<Vec<ResourceKind>> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        Err(error) => {
            debug!(%error, "no aggregated discovery, asking group by group");
            Discovery::new(client.clone()).run().await?
        }
    };
    let resources = discovery.groups().flat_map(|group| group.recommended_resources());
    let kind = |(api, capabilities): (ApiResource, kube::discovery::ApiCapabilities)| ResourceKind {
        api,
        namespaced: capabilities.scope == Scope::Namespaced,
        verbs: capabilities.operations,
    };
    Ok(resources.map(kind).collect())
}
