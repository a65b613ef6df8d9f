use std::sync::Arc;

use hickory_proto::rr::{Name, Record, RecordType};
use serde_json::{Value, json};
use skiff_informer::ObjectKey;

use crate::answer::{Answer, answer, soa};
use crate::records::{of_service, of_slice};
use crate::zone::Zone;

fn service(zone: &mut Zone, name: &str, spec: Value) {
    let service =
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": name}, "spec": spec}));
    let record = of_service(&service.unwrap()).map(Arc::new);
    zone.set_service(&ObjectKey::new("default", name), record);
}

fn slice(zone: &mut Zone, name: &str, service: &str, kind: &str, endpoints: Value, ports: Value) {
    let slice = serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": kind, "endpoints": endpoints, "ports": ports,
    }));
    zone.set_slice(&ObjectKey::new("default", name), of_slice(&slice.unwrap()).map(Arc::new));
}

/// `web` has a cluster IP, `db` is headless with two endpoints, `empty` has none, `out` leads outside, `dual` has two
/// families.
fn zone() -> Zone {
    let mut zone = Zone::new(Name::from_ascii("cluster.local").unwrap());
    ["default", "kube-system"].iter().for_each(|namespace| zone.set_namespace(namespace, true));
    let ports =
        json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"port": 81}]);
    service(&mut zone, "web", json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ports": ports}));
    service(&mut zone, "dual", json!({"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.8", "fd00::8"]}));
    service(&mut zone, "db", json!({"clusterIP": "None"}));
    service(&mut zone, "empty", json!({"clusterIP": "None"}));
    service(&mut zone, "out", json!({"type": "ExternalName", "externalName": "example.org."}));
    let endpoints = json!([
        {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.244.0.6"], "conditions": {}},
        {"addresses": ["10.244.0.9"], "conditions": {"ready": false}},
    ]);
    slice(
        &mut zone,
        "db-1",
        "db",
        "IPv4",
        endpoints,
        json!([{"name": "sql", "port": 5432, "protocol": "TCP"}]),
    );
    let v6 = json!([{"addresses": ["fd00::5"], "hostname": "db-0", "conditions": {"ready": true}}]);
    slice(&mut zone, "db-2", "db", "IPv6", v6, json!([{"name": "sql", "port": 5433, "protocol": "TCP"}]));
    let pods = json!([{"addresses": ["10.244.0.20"], "conditions": {"ready": true}}]);
    slice(&mut zone, "web-1", "web", "IPv4", pods, json!([{"name": "http", "port": 8080}]));
    zone.set_synced();
    zone
}

fn show(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| format!("{} {} {}", record.ttl, record.record_type(), record.data);
    let mut texts: Vec<_> = records.iter().map(text).collect();
    texts.sort();
    texts
}

/// The answer in short: records without their owner, `|` before additional ones.
fn check_in(zone: &Zone, name: &str, kind: RecordType) -> String {
    match answer(zone, &Name::from_ascii(name).unwrap(), kind) {
        Answer::Found(found) => {
            let additionals =
                show(&found.additionals).iter().map(|text| format!(" | {text}")).collect::<String>();
            show(&found.answers).join(", ") + &additionals
        }
        Answer::Alias { record, target } => format!("{} -> {target}", show(&[*record]).join("")),
        other => format!("{other:?}"),
    }
}

fn check(name: &str, kind: RecordType) -> String {
    check_in(&zone(), name, kind)
}

#[test]
fn cluster_ips() {
    assert_eq!(check("web.default.svc.cluster.local.", RecordType::A), "30 A 10.96.0.7");
    assert_eq!(check("WEB.Default.SVC.cluster.LOCAL.", RecordType::A), "30 A 10.96.0.7");
    assert_eq!(check("web.default.svc.cluster.local.", RecordType::AAAA), "NoData");
    assert_eq!(check("web.default.svc.cluster.local.", RecordType::MX), "NoData");
    assert_eq!(check("dual.default.svc.cluster.local.", RecordType::AAAA), "30 AAAA fd00::8");
    assert_eq!(check("other.default.svc.cluster.local.", RecordType::A), "NxDomain");
    assert_eq!(check("web.other.svc.cluster.local.", RecordType::A), "NxDomain");
}

#[test]
fn headless_services_and_their_endpoints() {
    let both = "30 A 10.244.0.5, 30 A 10.244.0.6";
    assert_eq!(check("db.default.svc.cluster.local.", RecordType::A), both);
    assert_eq!(check("db.default.svc.cluster.local.", RecordType::AAAA), "30 AAAA fd00::5");
    assert_eq!(check("db.default.svc.cluster.local.", RecordType::TXT), "NoData");
    assert_eq!(check("empty.default.svc.cluster.local.", RecordType::A), "NxDomain");
    assert_eq!(check("db-0.db.default.svc.cluster.local.", RecordType::A), "30 A 10.244.0.5");
    assert_eq!(check("db-0.db.default.svc.cluster.local.", RecordType::AAAA), "30 AAAA fd00::5");
    assert_eq!(check("10-244-0-6.db.default.svc.cluster.local.", RecordType::A), "30 A 10.244.0.6");
    assert_eq!(check("10-244-0-9.db.default.svc.cluster.local.", RecordType::A), "NxDomain");
    assert_eq!(check("10-244-0-20.web.default.svc.cluster.local.", RecordType::A), "30 A 10.244.0.20");
}

#[test]
fn named_ports() {
    assert_eq!(
        check("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV),
        "30 SRV 0 100 80 web.default.svc.cluster.local. | 30 A 10.96.0.7"
    );
    assert_eq!(check("_http._udp.web.default.svc.cluster.local.", RecordType::SRV), "NxDomain");
    assert_eq!(check("_http._tcp.web.default.svc.cluster.local.", RecordType::A), "NoData");
    assert_eq!(
        check("_dns._udp.web.default.svc.cluster.local.", RecordType::SRV),
        "30 SRV 0 100 53 web.default.svc.cluster.local. | 30 A 10.96.0.7"
    );
    assert_eq!(
        check("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV),
        "30 SRV 0 33 5432 10-244-0-6.db.default.svc.cluster.local., \
         30 SRV 0 33 5432 db-0.db.default.svc.cluster.local., \
         30 SRV 0 33 5433 db-0.db.default.svc.cluster.local. \
         | 30 A 10.244.0.5 | 30 A 10.244.0.6 | 30 AAAA fd00::5"
    );
    assert_eq!(check("x._http._tcp.web.default.svc.cluster.local.", RecordType::SRV), "NxDomain");
    assert_eq!(check("a.b.web.default.svc.cluster.local.", RecordType::A), "NxDomain");
}

#[test]
fn ports_at_the_name_of_a_service_and_of_an_endpoint() {
    assert_eq!(
        check("web.default.svc.cluster.local.", RecordType::SRV),
        "30 SRV 0 33 53 web.default.svc.cluster.local., \
         30 SRV 0 33 80 web.default.svc.cluster.local., \
         30 SRV 0 33 81 web.default.svc.cluster.local. | 30 A 10.96.0.7"
    );
    assert_eq!(
        check("db.default.svc.cluster.local.", RecordType::SRV),
        "30 SRV 0 33 5432 10-244-0-6.db.default.svc.cluster.local., \
         30 SRV 0 33 5432 db-0.db.default.svc.cluster.local., \
         30 SRV 0 33 5433 db-0.db.default.svc.cluster.local. \
         | 30 A 10.244.0.5 | 30 A 10.244.0.6 | 30 AAAA fd00::5"
    );
    assert_eq!(
        check("10-244-0-6.db.default.svc.cluster.local.", RecordType::SRV),
        "30 SRV 0 100 5432 10-244-0-6.db.default.svc.cluster.local. | 30 A 10.244.0.6"
    );
    assert_eq!(check("10-244-0-20.web.default.svc.cluster.local.", RecordType::SRV), "NoData");
    assert_eq!(check("dual.default.svc.cluster.local.", RecordType::SRV), "NoData", "it has no port");
    assert_eq!(check("empty.default.svc.cluster.local.", RecordType::SRV), "NxDomain");
    assert_eq!(check("_._tcp.web.default.svc.cluster.local.", RecordType::SRV), "NxDomain");
}

#[test]
fn reverse_names() {
    assert_eq!(check("7.0.96.10.in-addr.arpa.", RecordType::PTR), "30 PTR web.default.svc.cluster.local.");
    assert_eq!(
        check("5.0.244.10.in-addr.arpa.", RecordType::PTR),
        "30 PTR db-0.db.default.svc.cluster.local."
    );
    assert_eq!(
        check("6.0.244.10.in-addr.arpa.", RecordType::PTR),
        "30 PTR 10-244-0-6.db.default.svc.cluster.local."
    );
    assert_eq!(check("20.0.244.10.in-addr.arpa.", RecordType::PTR), "Forward", "behind a ClusterIP");
    assert_eq!(check("7.0.96.10.in-addr.arpa.", RecordType::A), "NoData");
    assert_eq!(check("1.1.1.1.in-addr.arpa.", RecordType::PTR), "Forward");
    assert_eq!(check("96.10.in-addr.arpa.", RecordType::PTR), "Forward");
    assert_eq!(check("x.0.96.10.in-addr.arpa.", RecordType::PTR), "Forward");
    let zeros = "0.".repeat(27);
    let v6 = format!("8.{zeros}0.0.d.f.ip6.arpa.");
    assert_eq!(check(&v6, RecordType::PTR), "30 PTR dual.default.svc.cluster.local.");
}

#[test]
fn external_names() {
    let alias = "30 CNAME example.org. -> example.org.";
    assert_eq!(check("out.default.svc.cluster.local.", RecordType::A), alias);
    assert_eq!(check("out.default.svc.cluster.local.", RecordType::AAAA), alias);
    assert_eq!(check("out.default.svc.cluster.local.", RecordType::CNAME), "30 CNAME example.org.");
    assert_eq!(check("out.default.svc.cluster.local.", RecordType::SRV), "NoData");
    assert_eq!(check("_http._tcp.out.default.svc.cluster.local.", RecordType::SRV), "NxDomain");
}

#[test]
fn pods_by_address() {
    assert_eq!(check("1-2-3-4.default.pod.cluster.local.", RecordType::A), "30 A 1.2.3.4");
    assert_eq!(check("1-2-3-4.default.pod.cluster.local.", RecordType::AAAA), "NoData");
    assert_eq!(check("fd00--5.default.pod.cluster.local.", RecordType::AAAA), "30 AAAA fd00::5");
    assert_eq!(check("1-2-3.default.pod.cluster.local.", RecordType::A), "NxDomain");
    assert_eq!(check("1-2-3-4.other.pod.cluster.local.", RecordType::A), "NxDomain");
}

#[test]
fn names_between_exist_without_records() {
    for name in ["", "svc.", "pod.", "default.svc.", "default.pod.", "dns-version."] {
        assert_eq!(check(&format!("{name}cluster.local."), RecordType::A), "NoData", "{name}");
    }
    assert_eq!(check("other.svc.cluster.local.", RecordType::A), "NxDomain");
    assert_eq!(check("other.cluster.local.", RecordType::A), "NxDomain");
    assert_eq!(check("dns-version.cluster.local.", RecordType::TXT), "28800 TXT 1.1.0");
    assert!(check("cluster.local.", RecordType::SOA).starts_with("30 SOA ns.dns.cluster.local."));
    assert_eq!(check("cluster.local.", RecordType::NS), "30 NS ns.dns.cluster.local.");
}

#[test]
fn other_names_go_upstream_and_transfers_nowhere() {
    assert_eq!(check("example.org.", RecordType::A), "Forward");
    assert_eq!(check("notcluster.local.", RecordType::A), "Forward");
    assert_eq!(check("cluster.local.", RecordType::AXFR), "Refused");
    assert_eq!(check("example.org.", RecordType::IXFR), "Refused");
}

#[test]
fn before_the_first_sync_nothing_is_denied() {
    let mut zone = Zone::new(Name::from_ascii("cluster.local.").unwrap());
    service(&mut zone, "web", json!({"clusterIP": "10.96.0.7"}));
    let check = |name| check_in(&zone, name, RecordType::A);
    assert_eq!(check("web.default.svc.cluster.local."), "30 A 10.96.0.7");
    assert_eq!(check("other.default.svc.cluster.local."), "ServFail");
    assert_eq!(check("7.7.7.7.in-addr.arpa."), "ServFail");
    assert_eq!(check("example.org."), "Forward");
}

#[test]
fn changes_are_followed() {
    let mut zone = zone();
    let serial = zone.serial();
    service(&mut zone, "web", json!({"clusterIP": "10.96.0.9"}));
    assert_ne!(zone.serial(), serial);
    assert_eq!(check_in(&zone, "7.0.96.10.in-addr.arpa.", RecordType::PTR), "Forward");
    assert_eq!(
        check_in(&zone, "9.0.96.10.in-addr.arpa.", RecordType::PTR),
        "30 PTR web.default.svc.cluster.local."
    );
    service(&mut zone, "web", json!({"type": "ExternalName", "externalName": "example.org"}));
    assert_eq!(check_in(&zone, "9.0.96.10.in-addr.arpa.", RecordType::PTR), "Forward");
    zone.set_slice(&ObjectKey::new("default", "db-1"), None);
    assert_eq!(check_in(&zone, "db.default.svc.cluster.local.", RecordType::A), "NoData");
    assert_eq!(check_in(&zone, "5.0.244.10.in-addr.arpa.", RecordType::PTR), "Forward");
    zone.set_service(&ObjectKey::new("default", "db"), None);
    assert_eq!(check_in(&zone, "db.default.svc.cluster.local.", RecordType::AAAA), "NxDomain");
    zone.set_namespace("default", false);
    assert_eq!(check_in(&zone, "default.svc.cluster.local.", RecordType::A), "NxDomain");
}

#[test]
fn negative_answers_name_the_zone() {
    let soa = soa(&zone());
    assert_eq!(soa.name.to_string(), "cluster.local.");
    assert_eq!(soa.ttl, 30);
}
