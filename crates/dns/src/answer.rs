//! The answer to a question, from the zone alone.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use skiff_informer::ObjectKey;

use crate::records::{EndpointRecord, PortRecord, ServiceRecord, address_label};
use crate::zone::Zone;

/// Seconds that an answer may be remembered.
pub(crate) const TTL: u32 = 30;
const VERSION_TTL: u32 = 28_800;
/// The version of the Kubernetes DNS specification that the names follow.
const SPEC_VERSION: &str = "1.1.0";
const DNS_SERVICE: (&str, &str) = ("kube-system", "kube-dns");

/// What to reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Records that answer the question.
    Found(Found),
    /// The name is another one: reply with this record and what the target resolves to.
    Alias {
        /// The CNAME record.
        record: Box<Record>,
        /// The name to go on with.
        target: Name,
    },
    /// The name exists, without records of that type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Not ours: ask the upstream servers.
    Forward,
    /// Zone transfers are not given.
    Refused,
    /// Not known yet.
    ServFail,
}

/// Records of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// For the answer section.
    pub answers: Vec<Record>,
    /// Addresses of names in the answers.
    pub additionals: Vec<Record>,
}

/// Answers a question of class IN.
pub fn answer(zone: &Zone, name: &Name, kind: RecordType) -> Answer {
    if matches!(kind, RecordType::AXFR | RecordType::IXFR) {
        return Answer::Refused;
    }
    let answer = match reverse_address(name) {
        _ if zone.domain().zone_of(name) => in_zone(zone, name, kind),
        Some(address) => reverse(zone, name, address, kind),
        None => Answer::Forward,
    };
    let unknown = matches!(answer, Answer::NoData | Answer::NxDomain);
    let reverse_miss = answer == Answer::Forward && reverse_address(name).is_some();
    if !zone.is_synced() && (unknown || reverse_miss) { Answer::ServFail } else { answer }
}

/// The record that says who is responsible for the zone; goes with negative answers.
pub fn soa(zone: &Zone) -> Record {
    let under = |label: &str| zone.domain().prepend_label(label).unwrap_or_else(|_| zone.domain().clone());
    let (mname, rname) =
        (under("dns").prepend_label("ns").unwrap_or_else(|_| under("ns")), under("hostmaster"));
    let soa = SOA::new(mname, rname, zone.serial(), 7200, 1800, 86_400, TTL);
    Record::from_rdata(zone.domain().clone(), TTL, RData::SOA(soa))
}

fn found(answers: Vec<Record>) -> Answer {
    if answers.is_empty() {
        Answer::NoData
    } else {
        Answer::Found(Found { answers, additionals: Vec::new() })
    }
}

/// The labels of `name` left of the zone, in lower case, first label first.
fn labels(zone: &Zone, name: &Name) -> Vec<String> {
    let number = name.num_labels().saturating_sub(zone.domain().num_labels());
    name.iter().take(number.into()).map(|label| String::from_utf8_lossy(label).to_lowercase()).collect()
}

fn in_zone(zone: &Zone, name: &Name, kind: RecordType) -> Answer {
    let labels = labels(zone, name);
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels.as_slice() {
        [] => apex(zone, name, kind),
        ["dns-version"] if kind == RecordType::TXT => {
            let text = TXT::new(vec![SPEC_VERSION.into()]);
            found(vec![Record::from_rdata(name.clone(), VERSION_TTL, RData::TXT(text))])
        }
        ["dns-version"] | ["dns"] | ["svc"] | ["pod"] => Answer::NoData,
        ["ns", "dns"] => {
            let server = zone.service(&ObjectKey::new(DNS_SERVICE.0, DNS_SERVICE.1));
            let addresses = match server {
                Some(ServiceRecord::Cluster { addresses, .. }) => addresses.to_vec(),
                _ => Vec::new(),
            };
            found(address_records(name, addresses, kind))
        }
        [namespace, "svc" | "pod"] if zone.has_namespace(namespace) => Answer::NoData,
        [address, namespace, "pod"] if zone.has_namespace(namespace) => pod(name, address, kind),
        [rest @ .., service, namespace, "svc"] => {
            let key = ObjectKey::new(namespace, service);
            match zone.service(&key) {
                Some(record) if zone.has_namespace(namespace) || !zone.is_synced() => {
                    in_service(zone, name, rest, &key, record, kind)
                }
                _ => Answer::NxDomain,
            }
        }
        _ => Answer::NxDomain,
    }
}

fn apex(zone: &Zone, name: &Name, kind: RecordType) -> Answer {
    match kind {
        RecordType::SOA => found(vec![soa(zone)]),
        RecordType::NS => {
            let server = name.prepend_label("dns").and_then(|dns| dns.prepend_label("ns"));
            let record = server.map(|server| Record::from_rdata(name.clone(), TTL, RData::NS(NS(server))));
            found(record.into_iter().collect())
        }
        _ => Answer::NoData,
    }
}

/// The address that the first label spells; pods need not exist.
fn pod(name: &Name, label: &str, kind: RecordType) -> Answer {
    let v4 = label.replace('-', ".").parse::<std::net::Ipv4Addr>().map(IpAddr::V4);
    let address = v4.or_else(|_| label.replace('-', ":").parse::<std::net::Ipv6Addr>().map(IpAddr::V6));
    match address {
        Ok(address) => found(address_records(name, [address], kind)),
        Err(_) => Answer::NxDomain,
    }
}

fn in_service(
    zone: &Zone,
    name: &Name,
    rest: &[&str],
    key: &ObjectKey,
    record: &ServiceRecord,
    kind: RecordType,
) -> Answer {
    if let ServiceRecord::External { target } = record {
        return external(name, rest, target, kind);
    }
    match *rest {
        [] => whole_service(zone, name, key, record, kind),
        [endpoint] => one_endpoint(zone, name, endpoint, key, record, kind),
        [port, protocol] if port.starts_with('_') && protocol.starts_with('_') => {
            port_of_service(zone, name, (&port[1..], &protocol[1..]), key, record, kind)
        }
        _ => Answer::NxDomain,
    }
}

fn external(name: &Name, rest: &[&str], target: &str, kind: RecordType) -> Answer {
    if !rest.is_empty() {
        return Answer::NxDomain;
    }
    let Ok(mut target) = Name::from_ascii(target) else { return Answer::NoData };
    target.set_fqdn(true);
    let record = Record::from_rdata(name.clone(), TTL, RData::CNAME(CNAME(target.clone())));
    match kind {
        RecordType::CNAME => found(vec![record]),
        RecordType::A | RecordType::AAAA | RecordType::ANY => {
            Answer::Alias { record: Box::new(record), target }
        }
        _ => Answer::NoData,
    }
}

fn whole_service(
    zone: &Zone,
    name: &Name,
    key: &ObjectKey,
    record: &ServiceRecord,
    kind: RecordType,
) -> Answer {
    match record {
        _ if kind == RecordType::SRV && exists(zone, key, record) => {
            ports(name, &targets(zone, key, record, |_| true, |_| true))
        }
        ServiceRecord::Cluster { addresses, .. } => {
            found(address_records(name, addresses.iter().copied(), kind))
        }
        _ => {
            let mut addresses: Vec<_> = zone.endpoints(key).map(|(endpoint, _)| endpoint.address).collect();
            if addresses.is_empty() {
                return Answer::NxDomain;
            }
            addresses.sort_unstable();
            addresses.dedup();
            found(address_records(name, addresses, kind))
        }
    }
}

/// A headless Service without endpoints has no name.
fn exists(zone: &Zone, key: &ObjectKey, record: &ServiceRecord) -> bool {
    matches!(record, ServiceRecord::Cluster { .. }) || zone.endpoints(key).next().is_some()
}

fn one_endpoint(
    zone: &Zone,
    name: &Name,
    label: &str,
    key: &ObjectKey,
    record: &ServiceRecord,
    kind: RecordType,
) -> Answer {
    let named = zone.endpoints(key).filter(|(endpoint, _)| endpoint.label() == label);
    let mut addresses: Vec<_> = named.map(|(endpoint, _)| endpoint.address).collect();
    if addresses.is_empty() {
        return Answer::NxDomain;
    }
    if kind == RecordType::SRV && *record == ServiceRecord::Headless {
        return ports(name, &targets(zone, key, record, |_| true, |endpoint| endpoint.label() == label));
    }
    addresses.sort_unstable();
    addresses.dedup();
    found(address_records(name, addresses, kind))
}

/// SRV records of one port: of the Service itself, or of each endpoint of a headless one.
fn port_of_service(
    zone: &Zone,
    name: &Name,
    (port, protocol): (&str, &str),
    key: &ObjectKey,
    record: &ServiceRecord,
    kind: RecordType,
) -> Answer {
    let same = |known: &PortRecord| !port.is_empty() && *known.name == *port && *known.protocol == *protocol;
    let targets = targets(zone, key, record, same, |_| true);
    match kind {
        _ if targets.is_empty() => Answer::NxDomain,
        RecordType::SRV | RecordType::ANY => ports(name, &targets),
        _ => Answer::NoData,
    }
}

/// Name, port and address of what serves the ports that `wanted` accepts: the Service itself, or of a headless one the
/// endpoints that `member` accepts.
fn targets(
    zone: &Zone,
    key: &ObjectKey,
    record: &ServiceRecord,
    wanted: impl Fn(&PortRecord) -> bool,
    member: impl Fn(&EndpointRecord) -> bool,
) -> Vec<(Name, u16, IpAddr)> {
    let base = service_name(zone, key);
    let mut targets = Vec::new();
    match record {
        ServiceRecord::Cluster { addresses, ports } => {
            for port in ports.iter().filter(|port| wanted(port)) {
                targets.extend(addresses.iter().map(|address| (base.clone(), port.port, *address)));
            }
        }
        _ => {
            for (endpoint, ports) in zone.endpoints(key).filter(|(endpoint, _)| member(endpoint)) {
                let target = endpoint_name(&base, endpoint);
                let ports = ports.iter().filter(|port| wanted(port));
                targets.extend(ports.map(|port| (target.clone(), port.port, endpoint.address)));
            }
        }
    }
    targets
}

fn ports(name: &Name, targets: &[(Name, u16, IpAddr)]) -> Answer {
    if targets.is_empty() { Answer::NoData } else { Answer::Found(services(name, targets)) }
}

/// The records as CoreDNS gives them: equal weights that add up to a hundred, and the addresses of all targets.
fn services(name: &Name, targets: &[(Name, u16, IpAddr)]) -> Found {
    let mut found = Found::default();
    let mut distinct: Vec<(&Name, u16)> = Vec::new();
    for (target, port, address) in targets {
        if !distinct.contains(&(target, *port)) {
            distinct.push((target, *port));
        }
        let additional = address_record(target, *address);
        if !found.additionals.contains(&additional) {
            found.additionals.push(additional);
        }
    }
    let weight = u16::try_from(100 / distinct.len().max(1)).unwrap_or(1).max(1);
    let record = |(target, port): (&Name, u16)| {
        Record::from_rdata(name.clone(), TTL, RData::SRV(SRV::new(0, weight, port, target.clone())))
    };
    found.answers = distinct.into_iter().map(record).collect();
    found
}

/// The names of an address: its Service's, or those of the endpoints at it, in headless Services and where they have a host
/// name. Behind any other Service a pod has no name, by the DNS specification (2.4.3) and by CoreDNS. Others are asked upstream.
fn reverse(zone: &Zone, name: &Name, address: IpAddr, kind: RecordType) -> Answer {
    let mut names = match zone.service_at(address) {
        Some(key) => vec![service_name(zone, key)],
        None => {
            let endpoints = zone.endpoints_at(address).filter(|(key, endpoint)| {
                endpoint.hostname.is_some() || zone.service(key) == Some(&ServiceRecord::Headless)
            });
            endpoints.map(|(key, endpoint)| endpoint_name(&service_name(zone, key), endpoint)).collect()
        }
    };
    names.sort();
    names.dedup();
    let record = |target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target)));
    match kind {
        _ if names.is_empty() => Answer::Forward,
        RecordType::PTR | RecordType::ANY => found(names.into_iter().map(record).collect()),
        _ => Answer::NoData,
    }
}

fn service_name(zone: &Zone, key: &ObjectKey) -> Name {
    let labels = ["svc", key.namespace(), key.name()];
    labels.iter().fold(zone.domain().clone(), |name, label| name.prepend_label(*label).unwrap_or(name))
}

fn endpoint_name(service: &Name, endpoint: &EndpointRecord) -> Name {
    let label = endpoint.label();
    let named = service.prepend_label(label.as_str());
    // Any valid host name fits; an address always does.
    let or_address = named.or_else(|_| service.prepend_label(address_label(endpoint.address).as_str()));
    or_address.unwrap_or_else(|_| service.clone())
}

fn address_records(
    name: &Name,
    addresses: impl IntoIterator<Item = IpAddr>,
    kind: RecordType,
) -> Vec<Record> {
    let wanted = |address: &IpAddr| match kind {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        RecordType::ANY => true,
        _ => false,
    };
    addresses.into_iter().filter(wanted).map(|address| address_record(name, address)).collect()
}

fn address_record(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(name.clone(), TTL, data)
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` spells in full.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let labels: Vec<String> =
        name.iter().map(|label| String::from_utf8_lossy(label).to_lowercase()).collect();
    let (digits, suffix) = labels.split_at(labels.len().checked_sub(2)?);
    match (suffix[0].as_str(), suffix[1].as_str(), digits.len()) {
        ("in-addr", "arpa", 4) => {
            let mut octets = [0_u8; 4];
            octets.iter_mut().zip(digits.iter().rev()).try_for_each(|(octet, label)| {
                *octet = label.parse().ok()?;
                Some(())
            })?;
            Some(IpAddr::from(octets))
        }
        ("ip6", "arpa", 32) => {
            let mut nibbles =
                digits.iter().rev().map(|label| u128::from_str_radix(label, 16).ok().filter(|n| *n < 16));
            let number = nibbles.try_fold(0_u128, |number, nibble| Some(number << 4 | nibble?))?;
            Some(IpAddr::V6(number.into()))
        }
        _ => None,
    }
}
