//! Services and EndpointSlices as DNS needs them: compact records instead of whole objects.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;
use skiff_informer::ObjectKey;

/// The label that ties a slice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A port: what an SRV record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// The port's name; empty if it is the only one.
    pub name: Box<str>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: Box<str>,
    /// The number.
    pub port: u16,
}

/// How a Service is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceRecord {
    /// By its own addresses.
    Cluster {
        /// The cluster IPs.
        addresses: Box<[IpAddr]>,
        /// The ports.
        ports: Box<[PortRecord]>,
    },
    /// By the addresses of its endpoints.
    Headless,
    /// By another name.
    External {
        /// The name, without the final dot.
        target: Box<str>,
    },
}

/// A ready endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRecord {
    /// Its address.
    pub address: IpAddr,
    /// Its own host name, if it has one.
    pub hostname: Option<Box<str>>,
}

/// The ready endpoints of one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRecord {
    /// The Service they belong to.
    pub service: ObjectKey,
    /// The ready endpoints.
    pub endpoints: Box<[EndpointRecord]>,
    /// The ports; their numbers are the endpoints' own.
    pub ports: Box<[PortRecord]>,
}

impl EndpointRecord {
    /// The first label of the endpoint's name: its host name, or its address with dashes.
    pub fn label(&self) -> String {
        match &self.hostname {
            Some(hostname) => hostname.to_lowercase(),
            None => address_label(self.address),
        }
    }
}

/// An address as a label: `10-1-2-3`, `fd00--1`; a dash at the end is followed by a zero.
pub(crate) fn address_label(address: IpAddr) -> String {
    let mut label = address.to_string().replace(['.', ':'], "-");
    if label.ends_with('-') {
        label.push('0');
    }
    if label.starts_with('-') {
        label.insert(0, '0');
    }
    label
}

fn port(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<PortRecord> {
    let name = name.unwrap_or_default();
    let protocol = protocol.unwrap_or("TCP").to_lowercase();
    Some(PortRecord { name: name.into(), protocol: protocol.into(), port: number?.try_into().ok()? })
}

/// The record of a Service; `None` if it has no name in DNS.
pub(crate) fn of_service(service: &Service) -> Option<ServiceRecord> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.as_deref()?.trim_end_matches('.');
        return Some(ServiceRecord::External { target: target.into() });
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Some(ServiceRecord::Headless);
    }
    let single = spec.cluster_ip.iter().filter(|_| spec.cluster_ips.as_ref().is_none_or(Vec::is_empty));
    let all = spec.cluster_ips.iter().flatten().chain(single);
    let addresses: Box<[IpAddr]> = all.filter_map(|address| address.parse().ok()).collect();
    let ports = spec.ports.iter().flatten();
    let ports = ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), Some(p.port))).collect();
    (!addresses.is_empty()).then_some(ServiceRecord::Cluster { addresses, ports })
}

/// The record of a slice; `None` if it belongs to no Service or holds no addresses.
pub(crate) fn of_slice(slice: &EndpointSlice) -> Option<SliceRecord> {
    let service = slice.labels().get(SERVICE_NAME_LABEL)?;
    let service = ObjectKey::new(slice.metadata.namespace.as_deref().unwrap_or(""), service);
    if slice.address_type == "FQDN" {
        return None;
    }
    let ready = |endpoint: &&Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    let records = |endpoint: &Endpoint| {
        let hostname: Option<Box<str>> = endpoint.hostname.as_deref().map(Box::from);
        let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
        let records = addresses.map(|address| EndpointRecord { address, hostname: hostname.clone() });
        records.collect::<Vec<_>>()
    };
    let ports = slice.ports.iter().flatten();
    Some(SliceRecord {
        service,
        endpoints: slice.endpoints.iter().flatten().filter(ready).flat_map(records).collect(),
        ports: ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_labels() {
        let check = |address: &str| address_label(address.parse().unwrap());
        assert_eq!(check("10.1.2.3"), "10-1-2-3");
        assert_eq!(check("fd00:1::2"), "fd00-1--2");
        assert_eq!(check("fd00::"), "fd00--0");
        assert_eq!(check("::1"), "0--1");
    }
}
