//! Spreads endpoints over slices with as few writes as possible: existing slices are kept and changed before new
//! ones are made, and a slice that is no longer needed is turned into one that is.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use skiff_ordered::Ordered as _;

use super::desired::{Group, PortSet};
use crate::services::TRIGGER_TIME;

/// The writes that bring the slices of a Service up to date, to be done in this order.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<EndpointSlice>,
    pub(crate) delete: Vec<Arc<EndpointSlice>>,
}

/// What all slices of one Service and family have in common.
pub(crate) struct Frame<'a> {
    /// Name prefix, namespace, labels, owner, and the trigger-time annotation of a slice written now.
    pub(crate) meta: &'a ObjectMeta,
    /// `IPv4` or `IPv6`.
    pub(crate) address_type: &'a str,
    /// Most endpoints in one slice.
    pub(crate) capacity: usize,
    /// What becomes of a family without endpoints.
    pub(crate) placeholder: Placeholder,
}

/// Whether a family without endpoints has a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// One empty slice.
    Keep,
    /// None.
    None,
}

/// An endpoint is the same one while its address and its pod are.
type EndpointId = (String, Option<String>);

fn id(endpoint: &Endpoint) -> EndpointId {
    let target = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (endpoint.addresses.first().cloned().unwrap_or_default(), target)
}

/// Plans the slices of one family. `existing` are the slices of that family that are not being deleted.
pub(crate) fn pack(
    frame: &Frame<'_>,
    existing: &[Arc<EndpointSlice>],
    desired: BTreeMap<PortSet, Group>,
) -> Plan {
    let mut by_ports = BTreeMap::<PortSet, Vec<Arc<EndpointSlice>>>::new();
    for slice in existing {
        by_ports.entry(PortSet::of(slice.ports.as_ref())).or_default().push(slice.clone());
    }
    let mut plan = Plan::default();
    let mut kept = 0;
    for (ports, group) in desired {
        kept += pack_group(frame, by_ports.remove(&ports).unwrap_or_default(), group, &mut plan);
    }
    plan.delete.extend(by_ports.into_values().flatten());
    if kept + plan.create.len() + plan.update.len() == 0 && frame.placeholder == Placeholder::Keep {
        keep_placeholder(frame, &mut plan);
    }
    recycle(&mut plan);
    plan
}

/// Plans the slices of one port list; returns how many stay as they are.
fn pack_group(frame: &Frame<'_>, existing: Vec<Arc<EndpointSlice>>, group: Group, plan: &mut Plan) -> usize {
    let mut wanted: BTreeMap<EndpointId, Endpoint> =
        group.endpoints.into_iter().map(|endpoint| (id(&endpoint), endpoint)).to_map();
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for slice in existing {
        let old = slice.endpoints.as_deref().unwrap_or(&[]);
        let kept: Vec<_> = old.iter().filter_map(|endpoint| wanted.remove(&id(endpoint))).collect();
        if kept == old && !kept.is_empty() && same_frame(frame, &slice) {
            unchanged.push(slice);
        } else {
            changed.push((slice, kept));
        }
    }
    let mut left: Vec<Endpoint> = wanted.into_values().collect();
    skiff_ordered::sort_by_key(&mut changed, |(_, kept)| std::cmp::Reverse(kept.len()));
    for (_, kept) in &mut changed {
        let room = frame.capacity.saturating_sub(kept.len()).min(left.len());
        kept.extend(left.drain(..room));
    }
    if let Some(position) = best_fit(frame, &unchanged, left.len()) {
        let slice = unchanged.swap_remove(position);
        let mut endpoints = slice.endpoints.clone().unwrap_or_default();
        endpoints.append(&mut left);
        changed.push((slice, endpoints));
    }
    for (slice, endpoints) in changed {
        if endpoints.is_empty() {
            plan.delete.push(slice);
        } else {
            plan.update.push(rewritten(frame, &slice, endpoints, &group.ports));
        }
    }
    for chunk in left.chunks(frame.capacity) {
        plan.create.push(fresh(frame, chunk.to_vec(), &group.ports));
    }
    unchanged.len()
}

/// The fullest slice that takes all of `number` more endpoints.
fn best_fit(frame: &Frame<'_>, slices: &[Arc<EndpointSlice>], number: usize) -> Option<usize> {
    let size = |slice: &EndpointSlice| slice.endpoints.as_ref().map_or(0, Vec::len);
    let fits =
        slices.iter().enumerate().filter(|(_, slice)| number > 0 && size(slice) + number <= frame.capacity);
    fits.max_by_key(|(_, slice)| size(slice)).map(|(position, _)| position)
}

/// Ensures the one empty slice of a Service without endpoints.
fn keep_placeholder(frame: &Frame<'_>, plan: &mut Plan) {
    let empty = |slice: &Arc<EndpointSlice>| {
        let no_ports = slice.ports.as_ref().is_none_or(Vec::is_empty);
        no_ports && slice.endpoints.as_ref().is_none_or(Vec::is_empty)
    };
    match plan.delete.iter().position(empty) {
        Some(position) => {
            let slice = plan.delete.remove(position);
            if !same_frame(frame, &slice) {
                plan.update.push(rewritten(frame, &slice, Vec::new(), &[]));
            }
        }
        None => plan.create.push(fresh(frame, Vec::new(), &[])),
    }
}

/// Turns pairs of a delete and a create into one update.
fn recycle(plan: &mut Plan) {
    while !plan.create.is_empty()
        && let Some(old) = plan.delete.pop()
        && let Some(new) = plan.create.pop()
    {
        plan.update.push(EndpointSlice { metadata: carry_over(&old.metadata, &new.metadata), ..new });
    }
}

/// Whether the metadata that the controller owns is as it should be. The trigger time does not count: it changes only
/// along with something else.
fn same_frame(frame: &Frame<'_>, slice: &EndpointSlice) -> bool {
    let owned = frame.meta.annotations.iter().flatten().filter(|(name, _)| *name != TRIGGER_TIME);
    Some(slice.labels()) == frame.meta.labels.as_ref()
        && Some(slice.owner_references()) == frame.meta.owner_references.as_deref()
        && owned.into_iter().all(|(name, value)| slice.annotations().get(name) == Some(value))
}

fn fresh(frame: &Frame<'_>, endpoints: Vec<Endpoint>, ports: &[EndpointPort]) -> EndpointSlice {
    EndpointSlice {
        metadata: frame.meta.clone(),
        address_type: frame.address_type.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    }
}

fn rewritten(
    frame: &Frame<'_>,
    slice: &EndpointSlice,
    endpoints: Vec<Endpoint>,
    ports: &[EndpointPort],
) -> EndpointSlice {
    let metadata = carry_over(&slice.metadata, frame.meta);
    EndpointSlice { metadata, ..fresh(frame, endpoints, ports) }
}

/// The identity and foreign annotations of `old` with what the controller owns from `new`.
fn carry_over(old: &ObjectMeta, new: &ObjectMeta) -> ObjectMeta {
    let mut annotations = old.annotations.clone().unwrap_or_default();
    annotations.remove(TRIGGER_TIME);
    annotations.extend(new.annotations.clone().unwrap_or_default());
    ObjectMeta {
        labels: new.labels.clone(),
        owner_references: new.owner_references.clone(),
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        ..old.clone()
    }
}
