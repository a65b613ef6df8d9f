//! A Service's row in a Table.

use std::collections::BTreeSet;

use jiff::Timestamp;
use skiff_ordered::Ordered as _;

use skiff_machinery::cells::{self, age, int_of, items, or_none, str_of, string_map, strings};
use skiff_machinery::{Object, Row};

pub(super) fn print(service: &Object, now: Timestamp) -> Row {
    let cluster_ip = strings(service, &["spec", "clusterIPs"]).first().copied().unwrap_or_default();
    cells::row([
        service.name().into(),
        service.str(&["spec", "type"]).into(),
        or_none(cluster_ip.to_owned()).into(),
        external_ip(service).into(),
        ports(service).into(),
        age(service, now),
        cells::labels(&string_map(service, &["spec", "selector"])).into(),
    ])
}

fn external_ip(service: &Object) -> String {
    let external = strings(service, &["spec", "externalIPs"]);
    match service.str(&["spec", "type"]) {
        "ExternalName" => service.str(&["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let mut addresses = ingress(service);
            addresses.extend(external);
            if addresses.is_empty() { "<pending>".to_owned() } else { addresses.join(",") }
        }
        _ => or_none(external.join(",")),
    }
}

/// Addresses or names of the load balancer, sorted.
fn ingress(service: &Object) -> Vec<&str> {
    let points = items(service, &["status", "loadBalancer", "ingress"]).iter();
    let sorted: BTreeSet<&str> = points
        .map(|point| match str_of(point, "ip") {
            "" => str_of(point, "hostname"),
            ip => ip,
        })
        .filter(|text| !text.is_empty())
        .to_set();
    sorted.into_iter().collect()
}

/// `port/PROTO` or `port:nodePort/PROTO` of each port.
fn ports(service: &Object) -> String {
    let text = |port| {
        let (number, protocol) = (int_of(port, "port"), str_of(port, "protocol"));
        match int_of(port, "nodePort") {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    };
    or_none(items(service, &["spec", "ports"]).iter().map(text).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, status: Value, cells: [&str; 5]) {
        let object = json!({"metadata": {"name": "s"}, "spec": spec, "status": status});
        let row = print(&Object::from_value(object).unwrap(), Timestamp::UNIX_EPOCH);
        let printed = [1, 2, 3, 4, 6].map(|i: usize| row.cells[i].as_str().unwrap().to_owned());
        assert_eq!(printed, cells);
    }

    #[test]
    fn prints_each_type() {
        let none = "<none>";
        let ports =
            json!([{"port": 80, "protocol": "TCP"}, {"port": 53, "nodePort": 30053, "protocol": "UDP"}]);
        check(
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.9"], "ports": ports, "selector": {"b": "2", "a": "1"}}),
            json!({}),
            ["ClusterIP", "10.96.0.9", none, "80/TCP,53:30053/UDP", "a=1,b=2"],
        );
        check(
            json!({"type": "ClusterIP", "clusterIPs": ["None"]}),
            json!({}),
            ["ClusterIP", "None", none, none, none],
        );
        check(
            json!({"type": "ExternalName", "externalName": "a.example"}),
            json!({}),
            ["ExternalName", none, "a.example", none, none],
        );
        check(
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"]}),
            json!({}),
            ["LoadBalancer", "10.96.0.9", "<pending>", none, none],
        );
        check(
            json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "externalIPs": ["192.0.2.1"]}),
            json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb"}, {"ip": "192.0.2.8"}]}}),
            ["LoadBalancer", "10.96.0.9", "192.0.2.8,192.0.2.9,lb,192.0.2.1", none, none],
        );
    }
}
