//! A node with pods in network namespaces, and the proxy's state for it. Needs root.
#![allow(dead_code, reason = "each test program uses a part")]

#[path = "../../../podnet/tests/namespace/mod.rs"]
pub(crate) mod namespace;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use namespace::Namespace;
use skiff_podnet::{NodeNetwork, PodNetwork};
use skiff_proxy::{
    kernel::{Kernel, Ranges},
    ledger::{Difference, Ledger},
    model::{Owner, PodName, Protocol, ServiceName, TargetPort, VirtualPort},
    objects::{HostPort, HostPorts, Service, ServicePort, Slice, SliceEndpoint, SlicePort},
    table::{NodeView, host_port_table, service_table},
};

pub(crate) const NODE_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 7, 7);
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// A node with pods and a machine outside, and the proxy's state for it.
pub(crate) struct Cluster {
    pub(crate) node: Namespace,
    pub(crate) outside: Namespace,
    pub(crate) pods: Vec<(Namespace, Ipv4Addr)>,
    pub(crate) services: BTreeMap<ServiceName, (Service, Vec<Slice>)>,
    pub(crate) host_ports: BTreeMap<PodName, HostPorts>,
    pub(crate) proxy: Option<(Kernel, Ledger)>,
    _run_dir: tempfile::TempDir,
}

pub(crate) fn ranges() -> Ranges {
    Ranges {
        pod_cidr: "10.244.7.0/24".parse().unwrap(),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/12".parse().unwrap(),
    }
}

impl Cluster {
    pub(crate) fn new(pods: usize) -> Self {
        let (node, outside) = (Namespace::new(), Namespace::new());
        node.ip("link set lo up");
        node.ip("link add uplink type veth peer name wire");
        let netns = outside.path().display().to_string();
        node.ip(&format!("link set wire netns {netns}"));
        for (place, link, address) in [(&node, "uplink", NODE_IP), (&outside, "wire", CLIENT_IP)] {
            place.ip(&format!("link set {link} up"));
            place.ip(&format!("address add {address}/24 dev {link}"));
        }
        node.ip(&format!("route add default via {CLIENT_IP}"));
        let run_dir = tempfile::tempdir().unwrap();
        let namespaces: Vec<_> = (0..pods).map(|_| Namespace::new()).collect();
        let addresses = node.block_on(|| async {
            let Ranges { pod_cidr, cluster_cidr, service_cidr } = ranges();
            let network = NodeNetwork { pod_cidr, cluster_cidr, service_cidr, node_ip: NODE_IP };
            let network = PodNetwork::setup(network, run_dir.path()).await.unwrap();
            let mut addresses = Vec::new();
            for (number, pod) in namespaces.iter().enumerate() {
                let IpAddr::V4(ip) = network.attach(&format!("pod{number}"), &pod.path()).await.unwrap().ip
                else {
                    unreachable!()
                };
                network.serve_loopback(&format!("pod{number}")).await.unwrap();
                addresses.push(ip);
            }
            addresses
        });
        let pods = namespaces.into_iter().zip(addresses).collect();
        let mut cluster = Self {
            node,
            outside,
            pods,
            services: BTreeMap::new(),
            host_ports: BTreeMap::new(),
            proxy: None,
            _run_dir: run_dir,
        };
        cluster.restart_proxy();
        cluster
    }

    /// Returns the number of steps that the new proxy has to take.
    pub(crate) fn restart_proxy(&mut self) -> usize {
        let (kernel, elements) = self.node.run(|| Kernel::open(ranges()).unwrap());
        let mut ledger = Ledger::default();
        ledger.adopt(elements);
        self.proxy = Some((kernel, ledger));
        let names = self.services.keys().cloned().collect::<Vec<_>>();
        self.apply(&names, true)
    }

    pub(crate) fn tidy(&mut self) {
        let (kernel, _) = self.proxy.as_mut().unwrap();
        self.node.run(|| kernel.tidy().unwrap());
    }

    /// Reads what the kernel holds, as the proxy does when another program changed it.
    pub(crate) fn reread(&mut self) -> Difference {
        let (kernel, ledger) = self.proxy.as_mut().unwrap();
        ledger.adopt(self.node.run(|| kernel.read().unwrap()))
    }

    /// Brings the kernel in step for these Services and returns the number of steps.
    pub(crate) fn apply(&mut self, names: &[ServiceName], sweep: bool) -> usize {
        let pods = if sweep { self.host_ports.keys().cloned().map(Owner::Pod).collect() } else { vec![] };
        self.apply_owners(names.iter().cloned().map(Owner::Service).chain(pods), sweep)
    }

    fn apply_owners(&mut self, owners: impl IntoIterator<Item = Owner>, sweep: bool) -> usize {
        let node = NodeView { node_ips: vec![NODE_IP], ..NodeView::default() };
        let (kernel, ledger) = self.proxy.as_mut().unwrap();
        let (services, host_ports) = (&self.services, &self.host_ports);
        let batch = ledger.prepare(owners, sweep, |owner| match owner {
            Owner::Service(name) => {
                let (service, slices) = services.get(name)?;
                Some(service_table(name, service, &slices.iter().collect::<Vec<_>>(), &node))
            }
            Owner::Pod(name) => Some(host_port_table(host_ports.get(name)?, &node)),
        });
        let steps = batch.ops.len();
        self.node.run(|| kernel.apply(&batch.ops)).unwrap();
        ledger.commit(batch);
        steps
    }

    pub(crate) fn set(&mut self, name: &str, service: Service, endpoints: &[(usize, u16)]) -> usize {
        let name = named(name);
        let slice = slice(&name, &service, endpoints.iter().map(|(pod, port)| (self.pods[*pod].1, *port)));
        self.services.insert(name.clone(), (service, slice));
        self.apply(&[name], false)
    }

    /// Gives a pod ports of the node, or takes them away.
    pub(crate) fn set_host_ports(&mut self, pod: usize, ports: &[HostPort]) -> usize {
        let name = PodName { namespace: "default".into(), name: format!("pod{pod}").into() };
        let kept = HostPorts { pod: self.pods[pod].1, ports: ports.to_vec() };
        if ports.is_empty() {
            self.host_ports.remove(&name);
        } else {
            self.host_ports.insert(name.clone(), kept);
        }
        self.apply_owners([Owner::Pod(name)], false)
    }

    pub(crate) fn remove(&mut self, name: &str) -> usize {
        self.services.remove(&named(name));
        self.apply(&[named(name)], false)
    }

    pub(crate) fn pod(&self, number: usize) -> &Namespace {
        &self.pods[number].0
    }

    pub(crate) fn pod_ip(&self, number: usize) -> IpAddr {
        IpAddr::V4(self.pods[number].1)
    }
}

pub(crate) fn named(name: &str) -> ServiceName {
    ServiceName { namespace: "default".into(), name: name.into() }
}

pub(crate) fn service(address: Ipv4Addr, protocol: Protocol, port: u16) -> Service {
    Service {
        cluster_ips: vec![address],
        external_ips: vec![],
        balancer_ips: vec![],
        allowed: None,
        ports: vec![ServicePort {
            name: "".into(),
            protocol,
            port: VirtualPort::of(port).unwrap(),
            node_port: None,
        }],
        internal_local: false,
        health_port: None,
        external_local: false,
        sticky: None,
    }
}

/// One slice per port number.
pub(crate) fn slice(
    name: &ServiceName,
    service: &Service,
    endpoints: impl Iterator<Item = (Ipv4Addr, u16)>,
) -> Vec<Slice> {
    let mut by_port = BTreeMap::<u16, Vec<SliceEndpoint>>::new();
    for (address, port) in endpoints {
        by_port.entry(port).or_default().push(SliceEndpoint {
            address,
            ready: true,
            serving: true,
            terminating: false,
            local: true,
            node_hints: None,
            zone_hints: None,
        });
    }
    let port = &service.ports[0];
    let slices = by_port.into_iter().map(|(number, endpoints)| Slice {
        service: name.clone(),
        ports: vec![SlicePort {
            name: port.name.clone(),
            protocol: port.protocol,
            port: TargetPort::of(number).unwrap(),
        }],
        endpoints,
    });
    slices.collect()
}
