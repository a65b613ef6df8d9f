//! What each subresource accepts and answers: facts for discovery, OpenAPI and the pipeline.

use skiff_schema::Root;

use crate::{GroupVersion, Kind, Scope, Subresource, Verb};

const CORE: GroupVersion = GroupVersion::fixed("", "v1");
const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];
const PROXY: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];

/// What a subresource exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Group and version of the kind.
    pub gv: GroupVersion,
    /// The kind, e.g. `Scale`.
    pub kind: String,
    /// The type of its objects; none for the options of connections, which are query parameters.
    pub root: Option<Root>,
}

impl Subresource {
    /// The verbs that it offers, in alphabetical order.
    pub fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Status | Self::Scale | Self::EphemeralContainers | Self::Resize | Self::Approval => {
                &[Verb::Get, Verb::Patch, Verb::Update]
            }
            Self::Binding | Self::Eviction | Self::Token => &[Verb::Create],
            Self::Finalize => &[Verb::Update],
            Self::Log => &[Verb::Get],
            Self::Exec | Self::Attach | Self::PortForward => CONNECT,
            Self::Proxy => PROXY,
        }
    }

    /// Whether a request becomes a connection to the node and not an exchange of objects.
    pub fn connects(self) -> bool {
        matches!(self, Self::Exec | Self::Attach | Self::PortForward | Self::Proxy | Self::Log)
    }
}

impl Kind {
    /// What one of its subresources exchanges.
    pub fn exchange(&self, subresource: Subresource) -> Exchange {
        let other = |gv, kind: &str, definition: &str| Exchange {
            gv,
            kind: kind.to_owned(),
            root: self.root.sibling(definition),
        };
        let options =
            |suffix: &str| Exchange { gv: CORE, kind: format!("{}{suffix}", self.names.kind), root: None };
        match subresource {
            Subresource::Scale => {
                other(GroupVersion::fixed("autoscaling", "v1"), "Scale", "io.k8s.api.autoscaling.v1.Scale")
            }
            Subresource::Binding => other(CORE, "Binding", "io.k8s.api.core.v1.Binding"),
            Subresource::Eviction => {
                other(GroupVersion::fixed("policy", "v1"), "Eviction", "io.k8s.api.policy.v1.Eviction")
            }
            Subresource::Token => other(
                GroupVersion::fixed("authentication.k8s.io", "v1"),
                "TokenRequest",
                "io.k8s.api.authentication.v1.TokenRequest",
            ),
            Subresource::Exec => options("ExecOptions"),
            Subresource::Attach => options("AttachOptions"),
            Subresource::PortForward => options("PortForwardOptions"),
            Subresource::Proxy => options("ProxyOptions"),
            Subresource::Status
            | Subresource::EphemeralContainers
            | Subresource::Resize
            | Subresource::Approval
            | Subresource::Finalize
            | Subresource::Log => other(self.gv.clone(), &self.names.kind, self.root.name()),
        }
    }

    /// The path under which the server offers its group and version: `/api/v1` or `/apis/GROUP/VERSION`.
    pub fn version_path(&self) -> String {
        version_path(&self.gv)
    }

    /// Whether its objects live in a namespace.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

/// The path of a group and version: `/api/v1` or `/apis/GROUP/VERSION`.
pub fn version_path(gv: &GroupVersion) -> String {
    if gv.group.is_empty() { format!("/api/{}", gv.version) } else { format!("/apis/{gv}") }
}
