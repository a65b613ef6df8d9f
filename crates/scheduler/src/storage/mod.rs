//! What decisions look at of claims, volumes and who makes them, and what of that is decided and not seen yet.

mod kinds;
mod reserve;
mod seekers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use skiff_informer::ObjectKey;
use skiff_volumes::{Claim, Volume};

pub(crate) use kinds::{Attachment, Capacity, Class, Driver, Limits, limits};
pub(crate) use reserve::{Reserved, Written, key_of, version_of};

use crate::model::PodVolumes;
use seekers::Seekers;

/// An object as it was seen last, and as we expect it to be as soon as what we decided is written. Any newer view of it puts an end
/// to that.
#[derive(Debug)]
struct Known<T> {
    seen: Arc<T>,
    assumed: Option<Arc<T>>,
}

impl<T> Known<T> {
    fn now(&self) -> &Arc<T> {
        self.assumed.as_ref().unwrap_or(&self.seen)
    }
}

/// Claims, volumes and what belongs to them.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    claims: HashMap<ObjectKey, Known<Claim>>,
    volumes: BTreeMap<String, Known<Volume>>,
    by_class: HashMap<Box<str>, BTreeSet<String>>,
    classes: HashMap<String, Arc<Class>>,
    drivers: HashMap<String, Arc<Driver>>,
    capacities: HashMap<ObjectKey, Arc<Capacity>>,
    limits: HashMap<String, Arc<Limits>>,
    attachments: BTreeMap<String, Arc<Attachment>>,
    /// How many pods on nodes have a claim among their volumes.
    users: HashMap<ObjectKey, i64>,
    /// Who waits for claims.
    pub(crate) seekers: Seekers,
}

impl Storage {
    /// The claim, with what was decided about it.
    pub(crate) fn claim(&self, key: &ObjectKey) -> Option<&Arc<Claim>> {
        self.claims.get(key).map(Known::now)
    }

    /// The volume, with what was decided about it.
    pub(crate) fn volume(&self, name: &str) -> Option<&Arc<Volume>> {
        self.volumes.get(name).map(Known::now)
    }

    /// The volumes of a class, by name.
    pub(crate) fn of_class(&self, class: &str) -> Vec<Arc<Volume>> {
        let names = self.by_class.get(class).into_iter().flatten();
        names.filter_map(|name| self.volume(name).cloned()).collect()
    }

    pub(crate) fn class(&self, name: &str) -> Option<&Arc<Class>> {
        self.classes.get(name)
    }

    /// Whether the driver tells how much room it has, and does not have it for a volume of that class and size, in 10⁻⁹ bytes, on a
    /// node with these labels.
    pub(crate) fn lacks_room(
        &self,
        driver: &str,
        class: &str,
        size: i128,
        labels: &crate::model::Labels,
    ) -> bool {
        let tells = self.drivers.get(driver).is_some_and(|driver| driver.tells_capacity);
        tells && !self.capacities.values().any(|capacity| capacity.has_room(class, size, labels))
    }

    /// How many volumes each driver takes on the node.
    pub(crate) fn limits(&self, node: &str) -> Option<&Arc<Limits>> {
        self.limits.get(node)
    }

    /// The volumes that are attached to the node.
    pub(crate) fn attached<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Attachment>> {
        self.attachments.values().filter(move |attachment| attachment.node == node)
    }

    /// How many pods on nodes use the claim.
    pub(crate) fn users(&self, claim: &ObjectKey) -> i64 {
        self.users.get(claim).copied().unwrap_or(0)
    }

    /// Counts a pod on a node in, or out.
    pub(crate) fn count(&mut self, volumes: Option<&PodVolumes>, times: i64) {
        for claim in volumes.into_iter().flat_map(|volumes| &volumes.claims) {
            let count = self.users.entry(claim.key.clone()).or_default();
            *count += times;
            if *count <= 0 {
                self.users.remove(&claim.key);
            }
        }
    }

    /// Takes in a claim, or its end. Returns whether that could help a pod.
    pub(crate) fn set_claim(&mut self, key: &ObjectKey, claim: Option<&Arc<Claim>>) -> bool {
        match claim {
            Some(claim) => {
                self.claims.insert(key.clone(), Known { seen: claim.clone(), assumed: None });
            }
            None => drop(self.claims.remove(key)),
        }
        claim.is_some()
    }

    /// Takes in a volume, or its end. Returns whether that could help a pod.
    pub(crate) fn set_volume(&mut self, name: &str, volume: Option<&Arc<Volume>>) -> bool {
        if let Some(before) = self.volumes.remove(name)
            && let Some(names) = self.by_class.get_mut(&before.seen.class)
        {
            names.remove(name);
            if names.is_empty() {
                self.by_class.remove(&before.seen.class);
            }
        }
        if let Some(volume) = volume {
            self.by_class.entry(volume.class.clone()).or_default().insert(name.to_owned());
            self.volumes.insert(name.to_owned(), Known { seen: volume.clone(), assumed: None });
        }
        volume.is_some()
    }

    /// Takes in a class, or its end. Returns whether that could help a pod.
    pub(crate) fn set_class(&mut self, name: &str, class: Option<&Arc<Class>>) -> bool {
        let before = set(&mut self.classes, name.to_owned(), class);
        class.is_some_and(|class| before.is_none_or(|before| before.topologies != class.topologies))
    }

    /// Takes in a driver, or its end. Returns whether that could help a pod.
    pub(crate) fn set_driver(&mut self, name: &str, driver: Option<&Arc<Driver>>) -> bool {
        let before = set(&mut self.drivers, name.to_owned(), driver);
        before.is_some_and(|before| before.tells_capacity)
            && driver.is_none_or(|driver| !driver.tells_capacity)
    }

    /// Takes in how much room there is, or that it is not known any more. Returns whether that could help a pod.
    pub(crate) fn set_capacity(&mut self, key: &ObjectKey, capacity: Option<&Arc<Capacity>>) -> bool {
        let before = set(&mut self.capacities, key.clone(), capacity);
        capacity.is_some_and(|capacity| before.is_none_or(|before| capacity.largest > before.largest))
    }

    /// Takes in how many volumes a node takes, or that it is not known any more. Returns whether that could help a pod.
    pub(crate) fn set_limits(&mut self, node: &str, limits: Option<&Arc<Limits>>) -> bool {
        let before = set(&mut self.limits, node.to_owned(), limits);
        limits.is_some_and(|limits| {
            let grew = |before: &Limits| {
                limits.iter().any(|(driver, most)| *most > before.get(driver).copied().unwrap_or(0))
            };
            before.is_none_or(|before| grew(&before))
        })
    }

    /// Takes in that a volume is attached to a node, or no more. Returns whether that could help a pod.
    pub(crate) fn set_attachment(&mut self, name: &str, attachment: Option<&Arc<Attachment>>) -> bool {
        match attachment {
            Some(attachment) => drop(self.attachments.insert(name.to_owned(), attachment.clone())),
            None => drop(self.attachments.remove(name)),
        }
        attachment.is_none()
    }
}

fn set<K: Eq + std::hash::Hash, T>(
    map: &mut HashMap<K, Arc<T>>,
    key: K,
    value: Option<&Arc<T>>,
) -> Option<Arc<T>> {
    match value {
        Some(value) => map.insert(key, value.clone()),
        None => map.remove(&key),
    }
}
