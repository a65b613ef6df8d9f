//! Addresses and node ports: chosen against the store, claimed in the transaction that writes the object.
//!
//! A strategy decides against an [`AddressSpace`] that can not wait, and the store answers with futures. So
//! the first run takes every claim that it asks about for free; what it asked about is then looked up, and
//! only if something was taken after all is it run again, now with all claims of that sort known. In the
//! usual case one Service costs a few point reads, whatever the number of Services. The decision holds only
//! if the commit finds the claims still absent.

use std::collections::{BTreeSet, HashSet};

use ipnet::IpNet;
use parking_lot::Mutex;
use rand::RngExt as _;
use serde_json::{Value, json};
use skiff_machinery::{AddressSpace, AllocationError, Claim, Object, addresses, keys};
use skiff_store::{Expect, Op, Page, Txn};

use super::call::{Call, timestamp};
use super::codec;
use crate::errors::ApiError;
use crate::registry::Registry;

/// How often a decision is made again because it rested on a wrong guess: once per sort of claim, and once
/// more.
const ROUNDS: usize = 4;

/// What is known about claims so far.
#[derive(Debug)]
struct Space {
    cidrs: Vec<IpNet>,
    dry_run: bool,
    taken: HashSet<Claim>,
    /// Whether `taken` lists all addresses, all node ports.
    complete: (bool, bool),
    /// Claims that a run took for free without knowing.
    guessed: Mutex<BTreeSet<Claim>>,
}

impl Space {
    fn knows_all(&self, claim: Claim) -> bool {
        match claim {
            Claim::Ip(_) => self.complete.0,
            Claim::NodePort(_) => self.complete.1,
        }
    }
}

impl AddressSpace for Space {
    fn service_cidrs(&self) -> Vec<IpNet> {
        self.cidrs.clone()
    }

    fn is_taken(&self, claim: Claim) -> bool {
        let taken = self.taken.contains(&claim);
        if !taken && !self.knows_all(claim) {
            self.guessed.lock().insert(claim);
        }
        taken
    }

    fn pick(&mut self, bound: u64) -> u64 {
        rand::rng().random_range(0..bound.max(1))
    }

    fn dry_run(&self) -> bool {
        self.dry_run
    }
}

/// Lets the strategy choose, and returns every claim that the object holds afterwards.
pub(crate) async fn allocate(
    registry: &Registry,
    call: &Call,
    object: &mut Object,
    old: Option<&Object>,
) -> Result<Vec<Claim>, ApiError> {
    if !call.kind.strategy.allocates() {
        return Ok(Vec::new());
    }
    let mut space = space(registry, call).await?;
    for _ in 0..ROUNDS {
        let mut attempt = object.clone();
        let outcome = call.kind.strategy.allocate(registry.context(call), &mut attempt, old, &mut space);
        if look_up(registry, &mut space).await? {
            let claims = outcome.map_err(|error| refuse(call, object, error))?;
            *object = attempt;
            return Ok(claims);
        }
    }
    Err(ApiError::Internal("no address or port could be chosen: they change too fast".to_owned()))
}

fn refuse(call: &Call, object: &Object, error: AllocationError) -> ApiError {
    match error {
        AllocationError::Invalid { fields } => ApiError::invalid(call.subject(object.name()), fields),
        exhausted @ AllocationError::Exhausted(_) => ApiError::Internal(exhausted.to_string()),
    }
}

/// Checks the guesses; when one was wrong, learns all claims of its sort and returns false.
async fn look_up(registry: &Registry, space: &mut Space) -> Result<bool, ApiError> {
    let mut right = true;
    for claim in std::mem::take(space.guessed.get_mut()) {
        if space.knows_all(claim) || registry.store.get(&keys::claim(claim)).await?.is_none() {
            continue;
        }
        right = false;
        let prefix = keys::claims(claim);
        let listing = registry.store.list(prefix.into(), Page::default()).await?;
        let texts = listing.entries.iter().map(|entry| &entry.key.as_str()[prefix.len()..]);
        match claim {
            Claim::Ip(_) => {
                space.taken.extend(texts.filter_map(|text| text.parse().ok()).map(Claim::Ip));
                space.complete.0 = true;
            }
            Claim::NodePort(_) => {
                space.taken.extend(texts.filter_map(|text| text.parse().ok()).map(Claim::NodePort));
                space.complete.1 = true;
            }
        }
    }
    Ok(right)
}

async fn space(registry: &Registry, call: &Call) -> Result<Space, ApiError> {
    Ok(Space {
        cidrs: service_cidrs(registry, call).await?,
        dry_run: call.dry_run,
        taken: HashSet::new(),
        complete: (false, false),
        guessed: Mutex::default(),
    })
}

/// The ranges of the ServiceCIDRs that are not said to be unready; before there are any, the cluster's own.
async fn service_cidrs(registry: &Registry, call: &Call) -> Result<Vec<IpNet>, ApiError> {
    let listing = registry.store.list(keys::SERVICE_CIDRS.into(), Page::default()).await?;
    if listing.entries.is_empty() {
        return Ok(vec![registry.service_cidr]);
    }
    let mut ranges = Vec::new();
    for entry in &listing.entries {
        let object = registry.decoded(call, entry)?;
        if is_unready(&object) || object.is_terminating() {
            continue;
        }
        let cidrs = object.get(&["spec", "cidrs"]).and_then(Value::as_array);
        let texts = cidrs.into_iter().flatten().filter_map(Value::as_str);
        ranges.extend(texts.filter_map(|text| addresses::cidr(text).ok()));
    }
    Ok(ranges)
}

fn is_unready(object: &Object) -> bool {
    let conditions = object.get(&["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "False")
}

/// Adds to a transaction what makes `after` out of `before`: the claims of one object.
pub(crate) fn claim(call: &Call, txn: &mut Txn, object: &Object, before: &[Claim], after: &[Claim]) {
    for claim in after.iter().filter(|claim| !before.contains(claim)) {
        let key: skiff_store::Key = keys::claim(*claim);
        txn.expect.push(Expect::Absent(key.clone()));
        txn.ops.push(Op::Put { key, value: codec::encode(&record(call, object, *claim)) });
    }
    for claim in before.iter().filter(|claim| !after.contains(claim)) {
        txn.ops.push(Op::Delete { key: keys::claim(*claim) });
    }
}

/// The object that stands for a claim: an IPAddress, or for a node port a note of the same form that no kind
/// serves.
fn record(call: &Call, object: &Object, claim: Claim) -> Object {
    let parent = json!({
        "group": &call.kind.gv.group,
        "resource": &call.kind.names.plural,
        "namespace": object.namespace(),
        "name": object.name(),
    });
    let value = match claim {
        Claim::Ip(address) => json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": {
                "name": address.to_string(),
                "uid": super::metadata::made_id().to_string(),
                "creationTimestamp": timestamp(call.now),
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": if address.is_ipv4() { "IPv4" } else { "IPv6" },
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {"parentRef": parent},
        }),
        Claim::NodePort(port) => {
            json!({"kind": "NodePortClaim", "metadata": {"name": port.to_string()}, "spec": {"parentRef": parent}})
        }
    };
    Object::from_value(value).unwrap_or_default()
}
