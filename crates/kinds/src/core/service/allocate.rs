//! Addresses and node ports of a Service: which it keeps, which it asks for, which are chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};

use super::bands::{Bands, address, number};
use super::facts::{
    allocates_node_ports, cluster_ips, field, is_headless, needs_cluster_ip, needs_health_check_port,
    needs_node_port,
};
use super::families;
use skiff_machinery::cells::{int_of, items, strings};
use skiff_machinery::{
    AddressSpace, AllocationError, Claim, FieldError, FieldErrors, NodePort, NodePorts, Object, addresses,
};

/// The node port before the first that a Service is shown in a dry run, as in Kubernetes: an example.
const DRY_RUN: u16 = 32768;

/// Fills addresses and ports that are left to the server, and returns everything the Service then holds.
pub(super) fn allocate(
    node_ports: NodePorts,
    service: &mut Object,
    old: Option<&Object>,
    space: &mut dyn AddressSpace,
) -> Result<Vec<Claim>, AllocationError> {
    families::resolve(service, old, &space.service_cidrs()).map_err(invalid)?;
    let mut request = Request { held: old.map(held).unwrap_or_default(), claims: BTreeSet::new(), space };
    request.addresses(service, old)?;
    request.node_ports(node_ports, service)?;
    request.health_check_port(node_ports, service)?;
    Ok(request.claims.into_iter().collect())
}

/// Everything that a stored Service holds.
pub(super) fn held(service: &Object) -> BTreeSet<Claim> {
    let mut claims = BTreeSet::new();
    if needs_cluster_ip(service) {
        claims.extend(cluster_ips(service).iter().filter_map(|ip| addresses::ip(ip).ok()).map(Claim::Ip));
    }
    let ports = items(service, &["spec", "ports"]).iter().map(|port| int_of(port, "nodePort"));
    let health = service.get(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64);
    let ports = ports.chain(health).filter(|port| *port != 0);
    claims.extend(ports.filter_map(NodePort::of).map(Claim::NodePort));
    claims
}

fn invalid(fields: FieldErrors) -> AllocationError {
    AllocationError::Invalid { fields }
}

struct Request<'a> {
    /// What the Service held before; free for it to keep.
    held: BTreeSet<Claim>,
    /// What it holds from now on.
    claims: BTreeSet<Claim>,
    space: &'a mut dyn AddressSpace,
}

impl Request<'_> {
    fn is_free(&self, claim: Claim) -> bool {
        !self.claims.contains(&claim) && (self.held.contains(&claim) || !self.space.is_taken(claim))
    }

    fn addresses(&mut self, service: &mut Object, old: Option<&Object>) -> Result<(), AllocationError> {
        if !needs_cluster_ip(service) || is_headless(service) {
            return Ok(());
        }
        // An address that was changed though it may not be: validation says so better than the allocator.
        let before = old.filter(|old| needs_cluster_ip(old)).map(cluster_ips).unwrap_or_default();
        let asked: Vec<String> = cluster_ips(service).into_iter().map(str::to_owned).collect();
        if let (Some(before), Some(asked)) = (before.first(), asked.first())
            && before != asked
        {
            return Ok(());
        }
        let mut ips = Vec::new();
        for (index, family) in strings(service, &["spec", "ipFamilies"]).iter().enumerate() {
            let ip = match asked.get(index) {
                Some(text) if !text.is_empty() => self.asked_address(text, &asked)?,
                _ => self.chosen_address(family)?,
            };
            self.claims.insert(Claim::Ip(ip));
            ips.push(ip.to_string());
        }
        service.set(&["spec", "clusterIP"], ips.first().cloned().unwrap_or_default());
        service.set(&["spec", "clusterIPs"], ips);
        Ok(())
    }

    /// An address that the user named.
    fn asked_address(&self, text: &str, all: &[String]) -> Result<IpAddr, AllocationError> {
        let refuse = |why: &str| {
            let detail = format!("failed to allocate IP {text}: {why}");
            invalid([FieldError::invalid("spec.clusterIPs", json!(all), detail)].into())
        };
        let ip = addresses::ip(text).map_err(refuse)?;
        if self.held.contains(&Claim::Ip(ip)) {
            return Ok(ip);
        }
        let cidrs = self.space.service_cidrs();
        let Some(cidr) = cidrs.into_iter().find(|cidr| cidr.contains(&ip)) else {
            return Err(refuse("the provided network does not match the current range"));
        };
        if !Bands::of_cidr(cidr).is_some_and(|bands| bands.contains(number(ip))) {
            return Err(refuse(&format!(
                "provided IP is not in the valid range. The range of valid IPs is {cidr}"
            )));
        }
        if !self.is_free(Claim::Ip(ip)) {
            return Err(refuse("provided IP is already allocated"));
        }
        Ok(ip)
    }

    /// An address of the server's choice; in a dry run the base of the range, which is nobody's.
    fn chosen_address(&mut self, family: &str) -> Result<IpAddr, AllocationError> {
        let cidrs = self.space.service_cidrs();
        let cidrs = cidrs.into_iter().filter(|cidr| addresses::family(cidr.addr()) == family);
        for cidr in cidrs {
            if self.space.dry_run() {
                return Ok(cidr.network());
            }
            let Some(bands) = Bands::of_cidr(cidr) else { continue };
            let start = self.space.pick(u64::MAX);
            let free = |number| self.is_free(Claim::Ip(address(number, cidr.addr())));
            if let Some(number) = bands.find(|bound| start % bound, free) {
                return Ok(address(number, cidr.addr()));
            }
        }
        Err(AllocationError::Exhausted("failed to allocate a serviceIP: range is full".to_owned()))
    }

    /// Node ports of a Service: ports with the same number share one, whatever their protocol, and no others.
    fn node_ports(&mut self, range: NodePorts, service: &mut Object) -> Result<(), AllocationError> {
        if !needs_node_port(service) {
            return Ok(());
        }
        let chooses = allocates_node_ports(service);
        let ports: Vec<Wanted> = items(service, &["spec", "ports"]).iter().map(Wanted::of).collect();
        let mut shared: BTreeMap<ServicePort, NodePort> = BTreeMap::new();
        for (index, Wanted { port, node_port }) in ports.iter().enumerate() {
            let Some(number) = *node_port else { continue };
            let path = format!("spec.ports[{index}].nodePort");
            let known = NodePort::of(number);
            let claim = known.map(Claim::NodePort);
            let taken = claim.is_some_and(|c| self.claims.contains(&c) && !self.held.contains(&c));
            if taken && shared.get(port).copied() != known {
                let detail = "provided port is already allocated";
                return Err(invalid([FieldError::invalid(path, number, detail)].into()));
            }
            let granted = self.asked_node_port(range, number, &path)?;
            shared.entry(*port).or_insert(granted);
        }
        for (index, Wanted { port, node_port }) in ports.iter().enumerate() {
            if node_port.is_some() || !chooses {
                continue;
            }
            let chosen = match shared.get(port) {
                Some(chosen) => *chosen,
                None => self.chosen_node_port(range, "a nodePort")?,
            };
            shared.insert(*port, chosen);
            set_node_port(service, index, chosen);
        }
        Ok(())
    }

    /// A node port that the user named. Ports of one Service may share it; validation tells when they clash.
    fn asked_node_port(
        &mut self,
        range: NodePorts,
        number: i64,
        path: &str,
    ) -> Result<NodePort, AllocationError> {
        let refuse = |detail: String| invalid([FieldError::invalid(path, number, detail)].into());
        let own = |claim: &Claim| self.held.contains(claim) || self.claims.contains(claim);
        let known = NodePort::of(number);
        let Some(port) = known.filter(|port| own(&Claim::NodePort(*port)) || range.contains(*port)) else {
            return Err(refuse(format!(
                "provided port is not in the valid range. The range of valid ports is {range}"
            )));
        };
        let claim = Claim::NodePort(port);
        if !own(&claim) && !self.is_free(claim) {
            return Err(refuse("provided port is already allocated".to_owned()));
        }
        self.claims.insert(claim);
        Ok(port)
    }

    /// A node port of the server's choice; in a dry run the one behind those that the Service has, whoever has that.
    fn chosen_node_port(&mut self, range: NodePorts, what: &str) -> Result<NodePort, AllocationError> {
        if self.space.dry_run() {
            let own = self.claims.iter().filter_map(|claim| match claim {
                Claim::NodePort(port) => Some(port.number()),
                Claim::Ip(_) => None,
            });
            let last = own.max().unwrap_or(DRY_RUN);
            let port = NodePort::of(i64::from(last) + 1).unwrap_or(range.first);
            self.claims.insert(Claim::NodePort(port));
            return Ok(port);
        }
        let start = self.space.pick(u64::MAX);
        let port = |number: u128| i64::try_from(number).ok().and_then(NodePort::of);
        let free = |number| port(number).is_some_and(|port| self.is_free(Claim::NodePort(port)));
        let found = Bands::of_node_ports(range).and_then(|bands| bands.find(|bound| start % bound, free));
        let Some(port) = found.and_then(port) else {
            return Err(AllocationError::Exhausted(format!("failed to allocate {what}: range is full")));
        };
        self.claims.insert(Claim::NodePort(port));
        Ok(port)
    }

    fn health_check_port(&mut self, range: NodePorts, service: &mut Object) -> Result<(), AllocationError> {
        if !needs_health_check_port(service) {
            return Ok(());
        }
        match field(service, "healthCheckNodePort").and_then(Value::as_i64) {
            Some(port) => {
                let claim = NodePort::of(port).map(Claim::NodePort);
                let path = "spec.healthCheckNodePort";
                if claim.is_some_and(|c| self.claims.contains(&c))
                    && !claim.is_some_and(|c| self.held.contains(&c))
                {
                    let detail = "provided port is already allocated";
                    return Err(invalid([FieldError::invalid(path, port, detail)].into()));
                }
                self.asked_node_port(range, port, path).map(drop)
            }
            None => {
                let port = self.chosen_node_port(range, "a HealthCheck NodePort")?;
                service.set(&["spec", "healthCheckNodePort"], port.number());
                Ok(())
            }
        }
    }
}

/// A port of a Service at its own addresses, as the object has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ServicePort(i64);

/// What one port of a Service asks for.
struct Wanted {
    port: ServicePort,
    /// The port of the nodes as the object has it; none is left to the server.
    node_port: Option<i64>,
}

impl Wanted {
    fn of(port: &Value) -> Self {
        let node_port = Some(int_of(port, "nodePort")).filter(|number| *number != 0);
        Self { port: ServicePort(int_of(port, "port")), node_port }
    }
}

fn set_node_port(service: &mut Object, index: usize, node_port: NodePort) {
    let spec = service.as_map_mut().get_mut("spec");
    if let Some(port) = spec.and_then(|spec| spec.get_mut("ports")).and_then(|ports| ports.get_mut(index)) {
        port["nodePort"] = node_port.number().into();
    }
}
