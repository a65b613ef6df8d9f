//! Whether the kernel's table says what the API says, for those who look from outside. Changes nothing.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::{
    core::v1::{Node, Service as ApiService},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::task::spawn_blocking;

use crate::{
    ProxyConfig,
    kernel::{self, KernelError},
    ledger::Ledger,
    model::{Element, ServiceName},
    objects::{Service, Slice},
    plan::Op,
    select::Location,
    table::{NodeView, service_table},
    view::ZONE_LABEL,
};

/// The comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The API did not say what there should be.
    #[error("list Services and EndpointSlices")]
    Api(#[from] kube::Error),
    /// The kernel did not say what there is.
    #[error("read the table of Services")]
    Kernel(#[from] KernelError),
    /// The thread that talks to the kernel ended.
    #[error("the reader of the table stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// The steps from what the table in this network namespace says to what the API says; none when they agree. A change that
/// is just on its way to the kernel is among them.
pub async fn differences(client: &Client, config: &ProxyConfig) -> Result<Vec<Op>, CompareError> {
    let all = ListParams::default();
    let services = Api::<ApiService>::all(client.clone()).list(&all).await?;
    let slices = Api::<EndpointSlice>::all(client.clone()).list(&all).await?;
    let node = Api::<Node>::all(client.clone()).get(&config.node_name).await?;
    let zone = node.labels().get(ZONE_LABEL).map(|zone| zone.as_str().into());
    let location = Location { node: config.node_name.as_str().into(), zone };
    let view = NodeView { location, node_ips: config.node_ips.clone() };
    let held = spawn_blocking(kernel::inspect).await??;
    let services = services.items.iter().filter_map(|service| {
        let name = ServiceName {
            namespace: service.namespace().unwrap_or_default().into(),
            name: service.name_any().into(),
        };
        Some((name, Service::from_api(service)?))
    });
    let slices = slices.items.iter().filter_map(|slice| Slice::from_api(slice, &view.location.node));
    Ok(steps(held, services.collect(), slices.collect(), &view))
}

fn steps(
    held: Vec<Element>,
    services: BTreeMap<ServiceName, Service>,
    slices: Vec<Slice>,
    node: &NodeView,
) -> Vec<Op> {
    let mut of = HashMap::<ServiceName, Vec<Slice>>::new();
    for slice in slices {
        of.entry(slice.service.clone()).or_default().push(slice);
    }
    let mut ledger = Ledger::default();
    ledger.adopt(held);
    let batch = ledger.prepare(services.keys().cloned(), true, |name| {
        let slices: Vec<&Slice> = of.get(name).into_iter().flatten().collect();
        Some(service_table(name, services.get(name)?, &slices, node))
    });
    batch.ops.into_iter().filter(|op| matches!(op, Op::Add(_) | Op::Remove(_))).collect()
}
