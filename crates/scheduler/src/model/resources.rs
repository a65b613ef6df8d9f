//! Amounts of what pods need and nodes have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skiff_quantity::{Needed, Role, at_one_time};

/// Amounts by resource name: CPU in millicores, everything else in whole units (bytes, pods, devices).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources(BTreeMap<String, i64>);

impl Resources {
    pub(super) fn parse(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount = |name: &str, text: &str| {
            let quantity: skiff_quantity::Quantity = text.parse().ok()?;
            Some(if name == "cpu" { quantity.millis() } else { quantity.units() })
        };
        let parsed = list
            .into_iter()
            .flatten()
            .filter_map(|(name, text)| Some((name.clone(), amount(name, &text.0)?)));
        Self(parsed.collect())
    }

    /// The amount of `name`, 0 if absent.
    pub(crate) fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Sets the amount of `name`.
    pub(crate) fn set(&mut self, name: &str, amount: i64) {
        self.0.insert(name.into(), amount);
    }

    /// Resource names and amounts, ordered by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let rest = self.0.entry(name.clone()).or_default();
            *rest = rest.saturating_sub(*amount);
        }
    }
}

impl Needed for Resources {
    fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.0.entry(name.clone()).or_default().add(amount);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.0.entry(name.clone()).or_default().raise_to(amount);
        }
    }
}

/// The most a pod needs at one time, by its own request or by those of its containers, plus the overhead.
pub(super) fn requests(spec: &PodSpec) -> Resources {
    let of = |container: &Container| {
        Resources::parse(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    };
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| (Role::of_init(container.restart_policy.as_deref()), of(container)));
    let main = spec.containers.iter().map(|container| (Role::Main, of(container)));
    let mut most = at_one_time(init.chain(main));
    let whole_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    Resources::parse(whole_pod).iter().for_each(|(name, amount)| most.set(name, amount));
    most.add(&Resources::parse(spec.overhead.as_ref()));
    most
}
