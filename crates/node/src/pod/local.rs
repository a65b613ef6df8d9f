//! A pod of this node with the optional parts of the API object resolved once.

use crate::ids::ContainerName;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRuleOnExitCodes, EphemeralContainer, Pod, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_runtime::PodUid;
use std::time::Duration;

/// What part a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container that keeps running beside the main ones (`restartPolicy: Always`).
    Sidecar,
    /// A container of `spec.containers`.
    Main,
    /// Added to a running pod for debugging; never restarted.
    Ephemeral,
}

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    /// After every end.
    Always,
    /// After an end with a code other than 0.
    OnFailure,
    /// Not at all.
    Never,
}

/// What a container's own rule asks for after an end that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleAction {
    /// The container is started again.
    Restart,
    /// All containers of the pod are, init containers first (KEP-5532).
    RestartAll,
}

/// One container of a pod.
#[derive(Clone, Debug)]
pub(crate) struct LocalContainer {
    pub(crate) name: ContainerName,
    pub(crate) role: Role,
    pub(crate) spec: Container,
    /// The container that an ephemeral one looks into.
    pub(crate) target: Option<ContainerName>,
}

/// A pod bound to this node.
#[derive(Clone, Debug)]
pub(crate) struct LocalPod {
    pub(crate) uid: PodUid,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) meta: ObjectMeta,
    /// The specification without its containers, which are in `containers`.
    pub(crate) spec: PodSpec,
    /// The status as last seen in the API.
    pub(crate) status: PodStatus,
    /// Init containers, main containers, ephemeral ones, each in the order of the specification.
    pub(crate) containers: Vec<LocalContainer>,
}

impl LocalPod {
    /// Takes an API object apart; `None` when it lacks a name, namespace, UID or specification, which the
    /// API server never lets happen.
    pub(crate) fn new(pod: Pod) -> Option<Self> {
        let Pod { metadata: mut meta, spec, status } = pod;
        let mut spec = spec?;
        meta.managed_fields = None;
        let mut containers = Vec::new();
        let inits = spec.init_containers.take().unwrap_or_default();
        containers.extend(inits.into_iter().map(|spec| {
            let sidecar = spec.restart_policy.as_deref() == Some("Always");
            LocalContainer::new(if sidecar { Role::Sidecar } else { Role::Init }, spec)
        }));
        containers.extend(
            std::mem::take(&mut spec.containers).into_iter().map(|c| LocalContainer::new(Role::Main, c)),
        );
        let ephemeral = spec.ephemeral_containers.take().unwrap_or_default();
        containers.extend(ephemeral.into_iter().map(LocalContainer::ephemeral));
        Some(Self {
            uid: PodUid::new(meta.uid.as_deref()?).ok()?,
            namespace: meta.namespace.clone()?,
            name: meta.name.clone()?,
            meta,
            spec,
            status: status.unwrap_or_default(),
            containers,
        })
    }

    /// The API object again, as the `/pods` endpoint shows it.
    pub(crate) fn to_api(&self) -> Pod {
        let pick = |roles: &[Role]| -> Vec<Container> {
            self.containers.iter().filter(|c| roles.contains(&c.role)).map(|c| c.spec.clone()).collect()
        };
        let inits = pick(&[Role::Init, Role::Sidecar]);
        let spec = PodSpec {
            containers: pick(&[Role::Main]),
            init_containers: (!inits.is_empty()).then_some(inits),
            ..self.spec.clone()
        };
        Pod { metadata: self.meta.clone(), spec: Some(spec), status: Some(self.status.clone()) }
    }

    /// The container called `name`.
    pub(crate) fn container(&self, name: &ContainerName) -> Option<&LocalContainer> {
        self.containers.iter().find(|container| container.name == *name)
    }

    /// Containers that play `role`.
    pub(crate) fn with_role(&self, role: Role) -> impl Iterator<Item = &LocalContainer> {
        self.containers.iter().filter(move |container| container.role == role)
    }

    /// Whether somebody asked for the pod's deletion.
    pub(crate) fn deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// The time a deletion leaves to the containers.
    pub(crate) fn grace(&self) -> Duration {
        let asked = self.meta.deletion_grace_period_seconds.filter(|_| self.deleting());
        crate::time::seconds(asked.or(self.spec.termination_grace_period_seconds).unwrap_or(30))
    }

    /// When the pod has been active for too long, given that it was first seen here at `started`.
    pub(crate) fn active_deadline(&self, started: Timestamp) -> Option<Timestamp> {
        let limit = self.spec.active_deadline_seconds?;
        Some(crate::time::after(started, crate::time::seconds(limit)))
    }

    /// Whether the API already shows the pod as finished.
    pub(crate) fn finished_in_api(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Whether the pod shares the node's network.
    pub(crate) fn host_network(&self) -> bool {
        self.spec.host_network == Some(true)
    }

    /// The pod's restart policy.
    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        parse_policy(self.spec.restart_policy.as_deref()).unwrap_or(RestartPolicy::Always)
    }

    /// `name_namespace(uid)`, as the kubelet names a pod in messages.
    pub(crate) fn full_name(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    /// The host name inside the pod.
    pub(crate) fn hostname(&self) -> String {
        if let Some(name) = &self.spec.hostname_override {
            return name.clone();
        }
        let short = self.spec.hostname.as_deref().unwrap_or(&self.name);
        short.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
    }
}

impl LocalContainer {
    fn new(role: Role, spec: Container) -> Self {
        Self { name: ContainerName::from(spec.name.as_str()), role, spec, target: None }
    }

    fn ephemeral(spec: EphemeralContainer) -> Self {
        let target = spec.target_container_name.as_deref().filter(|name| !name.is_empty());
        let target = target.map(ContainerName::from);
        Self { target, ..Self::new(Role::Ephemeral, from_ephemeral(spec)) }
    }

    /// Whether the container is started again after it ended with `exit_code` in `pod`.
    pub(crate) fn restarts_after(&self, pod: &LocalPod, exit_code: i32) -> bool {
        match self.role {
            Role::Ephemeral => false,
            Role::Sidecar => true,
            Role::Init | Role::Main => {
                if self.rule_for(exit_code).is_some() {
                    return true;
                }
                match self.policy(pod) {
                    RestartPolicy::Never => false,
                    RestartPolicy::OnFailure => exit_code != 0,
                    // An init container has done its work when it succeeds.
                    RestartPolicy::Always => self.role == Role::Main || exit_code != 0,
                }
            }
        }
    }

    fn policy(&self, pod: &LocalPod) -> RestartPolicy {
        parse_policy(self.spec.restart_policy.as_deref()).unwrap_or_else(|| pod.restart_policy())
    }

    /// Whether all containers of the pod are started anew after this one ended with `exit_code`.
    pub(crate) fn restarts_all_after(&self, exit_code: i32) -> bool {
        self.role != Role::Ephemeral && self.rule_for(exit_code) == Some(RuleAction::RestartAll)
    }

    /// Whether there is an end after which all containers are.
    pub(crate) fn may_restart_all(&self) -> bool {
        self.role != Role::Ephemeral && self.rules().any(|(action, _)| action == RuleAction::RestartAll)
    }

    /// What the first of the container's own restart rules that names `exit_code` asks for.
    fn rule_for(&self, exit_code: i32) -> Option<RuleAction> {
        let names = |codes: &ContainerRestartRuleOnExitCodes| {
            let listed = codes.values.iter().flatten().any(|value| *value == exit_code);
            if codes.operator == "NotIn" { !listed } else { listed }
        };
        self.rules().find(|(_, codes)| names(codes)).map(|(action, _)| action)
    }

    fn rules(&self) -> impl Iterator<Item = (RuleAction, &ContainerRestartRuleOnExitCodes)> {
        self.spec.restart_policy_rules.iter().flatten().filter_map(|rule| {
            let action = match rule.action.as_str() {
                "Restart" => RuleAction::Restart,
                "RestartAllContainers" => RuleAction::RestartAll,
                _ => return None,
            };
            Some((action, rule.exit_codes.as_ref()?))
        })
    }
}

fn parse_policy(text: Option<&str>) -> Option<RestartPolicy> {
    match text? {
        "Always" => Some(RestartPolicy::Always),
        "OnFailure" => Some(RestartPolicy::OnFailure),
        "Never" => Some(RestartPolicy::Never),
        _ => None,
    }
}

/// An ephemeral container has the fields of a container and one more.
fn from_ephemeral(e: EphemeralContainer) -> Container {
    Container {
        name: e.name,
        image: e.image,
        command: e.command,
        args: e.args,
        working_dir: e.working_dir,
        ports: e.ports,
        env: e.env,
        env_from: e.env_from,
        image_pull_policy: e.image_pull_policy,
        security_context: e.security_context,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        tty: e.tty,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        volume_mounts: e.volume_mounts,
        volume_devices: e.volume_devices,
        resources: e.resources,
        ..Container::default()
    }
}
