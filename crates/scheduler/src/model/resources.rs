//! Amounts of what pods need and nodes have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skiff_quantity::{Needed, Role, at_one_time, while_resized};

/// Amounts by resource name: CPU in millicores, everything else in whole units (bytes, pods, devices). What every node has is a
/// field, since it is looked at for every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    cpu: i64,
    memory: i64,
    storage: i64,
    pods: i64,
    others: BTreeMap<String, i64>,
}

impl Resources {
    pub(super) fn parse(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount = |name: &str, text: &str| {
            let quantity: skiff_quantity::Quantity = text.parse().ok()?;
            Some(if name == "cpu" { quantity.millis() } else { quantity.units() })
        };
        let mut parsed = Self::default();
        for (name, text) in list.into_iter().flatten() {
            if let Some(amount) = amount(name, &text.0) {
                parsed.set(name, amount);
            }
        }
        parsed
    }

    /// The amount of `name`, 0 if absent.
    pub(crate) fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu,
            "memory" => self.memory,
            "ephemeral-storage" => self.storage,
            "pods" => self.pods,
            other => self.others.get(other).copied().unwrap_or(0),
        }
    }

    /// Sets the amount of `name`.
    pub(crate) fn set(&mut self, name: &str, amount: i64) {
        match name {
            "cpu" => self.cpu = amount,
            "memory" => self.memory = amount,
            "ephemeral-storage" => self.storage = amount,
            "pods" => self.pods = amount,
            other => drop(self.others.insert(other.to_owned(), amount)),
        }
    }

    /// Names and amounts of what is not nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let named = [
            ("cpu", self.cpu),
            ("memory", self.memory),
            ("ephemeral-storage", self.storage),
            ("pods", self.pods),
        ];
        let others = self.others.iter().map(|(name, amount)| (name.as_str(), *amount));
        named.into_iter().chain(others).filter(|(_, amount)| *amount != 0)
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.each(other, |amount, other| *amount = amount.saturating_sub(other));
    }

    /// Changes each amount by that of `other`.
    fn each(&mut self, other: &Self, change: impl Fn(&mut i64, i64)) {
        change(&mut self.cpu, other.cpu);
        change(&mut self.memory, other.memory);
        change(&mut self.storage, other.storage);
        change(&mut self.pods, other.pods);
        for (name, amount) in &other.others {
            change(self.others.entry(name.clone()).or_default(), *amount);
        }
    }
}

impl Needed for Resources {
    fn add(&mut self, other: &Self) {
        self.each(other, |amount, other| *amount = amount.saturating_add(other));
    }

    fn raise_to(&mut self, other: &Self) {
        self.each(other, |amount, other| *amount = (*amount).max(other));
    }
}

/// What a container that does not say what it requests is taken to use, for scoring only: millicores and bytes.
const GUESSED: Shares = Shares { cpu: 100, memory: 200 * 1024 * 1024 };

/// CPU in millicores and memory in bytes, as scores weigh them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    pub cpu: i64,
    pub memory: i64,
}

impl Shares {
    pub(crate) fn plus(self, other: Self) -> Self {
        let (cpu, memory) = (self.cpu.saturating_add(other.cpu), self.memory.saturating_add(other.memory));
        Self { cpu, memory }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), memory: self.memory.saturating_sub(other.memory) }
    }
}

/// The most a pod needs at one time, by its own request or by those of its containers, plus the overhead; and the same as scores
/// weigh it. While something is resized the most counts of what is asked for, what was granted and what it has (KEP-1287).
pub(super) fn requests(pod: &Pod, spec: &PodSpec) -> (Resources, Shares) {
    let sums = Sums { spec, status: pod.status.as_ref(), infeasible: is_infeasible(pod.status.as_ref()) };
    let whole = sums.of_whole_pod();
    let overhead = Resources::parse(spec.overhead.as_ref());
    let total = |mut sum: Resources| {
        whole.iter().for_each(|(name, amount)| sum.set(name, *amount));
        sum.add(&overhead);
        sum
    };
    let said = sums.of_containers(Resources::default());
    let mut guessed = Resources::default();
    for (name, amount) in [("cpu", GUESSED.cpu), ("memory", GUESSED.memory)] {
        // What a pod requests as a whole is not guessed for its containers, unless none of them says anything.
        if whole.is_empty() || total(said.clone()).get(name) == 0 {
            guessed.set(name, amount);
        }
    }
    let weighed = total(sums.of_containers(guessed));
    let weighed = Shares { cpu: weighed.get("cpu"), memory: weighed.get("memory") };
    (total(said), weighed)
}

/// Whether the node can never grant what is asked for.
fn is_infeasible(status: Option<&PodStatus>) -> bool {
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut pending =
        conditions.into_iter().flatten().filter(|condition| condition.type_ == "PodResizePending");
    pending.next().is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"))
}

/// What adds up to a pod's requests.
struct Sums<'a> {
    spec: &'a PodSpec,
    status: Option<&'a PodStatus>,
    infeasible: bool,
}

type Quantities = BTreeMap<String, Quantity>;

impl Sums<'_> {
    /// The sum over the containers, where one that says nothing of a resource counts with `unsaid`.
    fn of_containers(&self, unsaid: Resources) -> Resources {
        let statuses = self.status.and_then(|status| status.container_statuses.as_ref());
        let init_statuses = self.status.and_then(|status| status.init_container_statuses.as_ref());
        let main = self.spec.containers.iter();
        let main = main.map(|container| (Role::Main, self.of_container(container, statuses, &unsaid)));
        let init = self.spec.init_containers.iter().flatten().map(|container| {
            let role = Role::of_init(container.restart_policy.as_deref());
            // Only what runs beside the others is resized.
            let statuses = if role == Role::Sidecar { init_statuses } else { None };
            (role, self.of_container(container, statuses, &unsaid))
        });
        at_one_time(init.chain(main))
    }

    fn of_container(
        &self,
        container: &Container,
        statuses: Option<&Vec<ContainerStatus>>,
        unsaid: &Resources,
    ) -> Resources {
        let asked = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let status = statuses.into_iter().flatten().find(|status| status.name == container.name);
        let resized = status.and_then(|status| {
            let in_use = status.resources.as_ref()?.requests.as_ref();
            Some([status.allocated_resources.as_ref(), in_use])
        });
        let mut sum = self.effective(asked, resized);
        let said = |name: &str| {
            let lists = resized.into_iter().flatten().chain([asked]);
            lists.into_iter().flatten().any(|list| list.contains_key(name))
        };
        for (name, amount) in unsaid.iter().filter(|(name, _)| !said(name)) {
            sum.set(name, amount);
        }
        sum
    }

    /// What is requested for the pod as a whole, by name.
    fn of_whole_pod(&self) -> Vec<(String, i64)> {
        let asked = self.spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let resized = self.status.and_then(|status| {
            let in_use = status.resources.as_ref()?.requests.as_ref();
            Some([status.allocated_resources.as_ref(), in_use])
        });
        let sum = self.effective(asked, resized);
        let names = asked.into_iter().flat_map(BTreeMap::keys).filter(|name| is_for_whole_pods(name));
        names.map(|name| (name.clone(), sum.get(name))).collect()
    }

    fn effective(&self, asked: Option<&Quantities>, resized: Option<[Option<&Quantities>; 2]>) -> Resources {
        let asked = Resources::parse(asked);
        let Some(resized) = resized else { return asked };
        let [granted, in_use] = resized.map(Resources::parse);
        while_resized(asked, self.infeasible, [&granted, &in_use])
    }
}

/// What a pod can request as a whole.
fn is_for_whole_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}
