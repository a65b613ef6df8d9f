//! Whether the kernel's table says what the API says, for those who look from outside. Changes nothing.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service as ApiService},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use skiff_ordered::Ordered as _;
use tokio::task::spawn_blocking;

use crate::{
    ProxyConfig,
    kernel::{self, KernelError},
    ledger::Ledger,
    model::{Element, Owner, PodName, ServiceName},
    objects::{HostPorts, Service, Slice},
    plan::Op,
    select::Location,
    table::{NodeView, host_port_table, service_table},
    view::ZONE_LABEL,
};

/// The comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The API did not say what there should be.
    #[error("list Services, EndpointSlices and pods")]
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
    let here = ListParams::default().fields(&format!("spec.nodeName={}", config.node_name));
    let pods = Api::<Pod>::all(client.clone()).list(&here).await?;
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
    let pods = pods.items.iter().filter_map(|pod| {
        let name =
            PodName { namespace: pod.namespace().unwrap_or_default().into(), name: pod.name_any().into() };
        Some((name, HostPorts::from_api(pod)?))
    });
    let wanted = Wanted { services: services.to_map(), slices: slices.collect(), pods: pods.to_map() };
    Ok(steps(held, wanted, &view))
}

/// What the API says.
#[derive(Default)]
struct Wanted {
    services: BTreeMap<ServiceName, Service>,
    slices: Vec<Slice>,
    pods: BTreeMap<PodName, HostPorts>,
}

fn steps(held: Vec<Element>, wanted: Wanted, node: &NodeView) -> Vec<Op> {
    let Wanted { services, slices, pods } = wanted;
    let mut of = HashMap::<ServiceName, Vec<Slice>>::new();
    for slice in slices {
        of.entry(slice.service.clone()).or_default().push(slice);
    }
    let mut ledger = Ledger::default();
    ledger.adopt(held);
    let owners = services.keys().cloned().map(Owner::Service).chain(pods.keys().cloned().map(Owner::Pod));
    let batch = ledger.prepare(owners, true, |owner| match owner {
        Owner::Service(name) => {
            let slices: Vec<&Slice> = of.get(name).into_iter().flatten().collect();
            Some(service_table(name, services.get(name)?, &slices, node))
        }
        Owner::Pod(name) => Some(host_port_table(pods.get(name)?, node)),
    });
    batch.ops.into_iter().filter(|op| matches!(op, Op::Add(_) | Op::Remove(_))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, address: &str, protocol: &str) -> (ServiceName, Service) {
        let service = serde_json::from_value::<ApiService>(json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {"clusterIP": address, "ports": [{"port": 80, "protocol": protocol}]}
        }));
        let name = ServiceName { namespace: "default".into(), name: name.into() };
        (name, Service::from_api(&service.unwrap()).unwrap())
    }

    fn slice(service: &str, protocol: &str, addresses: &[&str]) -> Slice {
        let slice = serde_json::from_value::<EndpointSlice>(json!({
            "metadata": {"namespace": "default", "name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": protocol}],
            "endpoints": addresses.iter().map(|address| json!({"addresses": [address]})).collect::<Vec<_>>()
        }));
        Slice::from_api(&slice.unwrap(), "node-1").unwrap()
    }

    /// The steps from a kernel that is in step with some objects, but for `lost` elements and `foreign` ones, to other objects.
    fn difference(
        kernel: (&[(ServiceName, Service)], &[Slice]),
        (lost, foreign): (&[&str], &[Element]),
        api: (&[(ServiceName, Service)], &[Slice]),
    ) -> Vec<String> {
        let node = NodeView::default();
        let wanted = |(services, slices): (&[(ServiceName, Service)], &[Slice])| Wanted {
            services: services.iter().cloned().collect(),
            slices: slices.to_vec(),
            ..Wanted::default()
        };
        let made = steps(Vec::new(), wanted(kernel), &node);
        let mut held: Vec<Element> = made.iter().filter_map(Op::added).copied().collect();
        let all = held.len();
        held.retain(|element| !lost.contains(&element.to_string().as_str()));
        assert_eq!(held.len() + lost.len(), all, "{made:?}");
        held.extend(foreign);
        steps(held, wanted(api), &node).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_differs_is_told_as_steps_to_what_the_api_says() {
        let (web, shop) = (service("web", "10.96.0.1", "TCP"), service("shop", "10.96.0.2", "TCP"));
        let (one, two) =
            (slice("web", "TCP", &["10.244.0.2"]), slice("web", "TCP", &["10.244.0.2", "10.244.0.3"]));
        let none = (&[][..], &[][..]);
        let web_is = |slice: &'static str| {
            (vec![web.clone()], vec![if slice == "one" { one.clone() } else { two.clone() }])
        };
        let (with_one, with_two) = (web_is("one"), web_is("two"));
        let (with_one, with_two) = ((&with_one.0[..], &with_one.1[..]), (&with_two.0[..], &with_two.1[..]));
        let both = [web.clone(), shop];
        let foreign = Element::Address([10, 96, 9, 9].into());
        let all_of_web = [
            "+ address 10.96.0.1",
            "+ service 10.96.0.1:80/tcp n1",
            "+ endpoint 10.96.0.1:80/tcp 0 10.244.0.2:8080",
        ];
        let check = |kernel, deviation: (&[&str], &[Element]), api, expected: &[&str]| {
            let found = difference(kernel, deviation, api);
            assert_eq!(found, expected, "kernel {kernel:?}, lost and foreign {deviation:?}, API {api:?}");
        };
        check(none, (&[], &[]), none, &[]);
        check(with_one, (&[], &[]), with_one, &[]);
        check(none, (&[], &[]), with_one, &all_of_web);
        check(
            with_one,
            (&[], &[]),
            none,
            &[
                "- address 10.96.0.1",
                "- service 10.96.0.1:80/tcp n1",
                "- endpoint 10.96.0.1:80/tcp 0 10.244.0.2:8080",
            ],
        );
        check(
            with_one,
            (&[], &[]),
            with_two,
            &[
                "- service 10.96.0.1:80/tcp n1",
                "+ service 10.96.0.1:80/tcp n2",
                "+ endpoint 10.96.0.1:80/tcp 1 10.244.0.3:8080",
            ],
        );
        // Without slices a Service refuses.
        check(
            with_one,
            (&[], &[]),
            (&both, with_one.1),
            &["+ address 10.96.0.2", "+ service 10.96.0.2:80/tcp refuse"],
        );
        // A slice without its Service is nothing.
        check(none, (&[], &[]), (&[], with_one.1), &[]);
        // What another program took or put in.
        let endpoint = "endpoint 10.96.0.1:80/tcp 0 10.244.0.2:8080";
        check(with_one, (&[endpoint], &[]), with_one, &[&format!("+ {endpoint}")]);
        check(
            with_one,
            (&["address 10.96.0.1"], &[foreign]),
            with_one,
            &["- address 10.96.9.9", "+ address 10.96.0.1"],
        );
    }

    #[test]
    fn flows_are_no_difference() {
        let udp = [service("dns", "10.96.0.10", "UDP")];
        let (before, after) =
            ([slice("dns", "UDP", &["10.244.0.2"])], [slice("dns", "UDP", &["10.244.0.3"])]);
        assert_eq!(
            difference((&udp, &before), (&[], &[]), (&udp, &after)),
            [
                "- endpoint 10.96.0.10:80/udp 0 10.244.0.2:8080",
                "+ endpoint 10.96.0.10:80/udp 0 10.244.0.3:8080"
            ]
        );
    }
}
