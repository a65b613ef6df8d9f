//! What URLs name below objects, and what can be done with it.

use crate::Verb;

const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];
const PROXY: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];

/// What a URL may name below an object. The name in the URL is [`Subresource::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// The object with only `status` writable.
    Status,
    /// `autoscaling/v1` Scale over `spec.replicas` and `status.replicas`.
    Scale,
    /// Assigns a pod to a node.
    Binding,
    /// Deletes a pod unless a disruption budget forbids it.
    Eviction,
    /// Issues a ServiceAccount token (TokenRequest).
    Token,
    /// Replaces `spec.ephemeralContainers` only.
    EphemeralContainers,
    /// Changes what a running pod and its containers may use.
    Resize,
    /// Decides about a certificate signing request: replaces `status.conditions`.
    Approval,
    /// Replaces a namespace's `spec.finalizers`.
    Finalize,
    /// Container output, from the node.
    Log,
    /// A command in a container, from the node.
    Exec,
    /// The streams of a container's first process, from the node.
    Attach,
    /// TCP connections into a pod, from the node.
    PortForward,
    /// HTTP forwarded to a pod, Service or node.
    Proxy,
}

impl Subresource {
    /// The path segment, e.g. `portforward`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Token => "token",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Approval => "approval",
            Self::Finalize => "finalize",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
        }
    }

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
