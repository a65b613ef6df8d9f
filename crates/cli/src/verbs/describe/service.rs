//! Services, with the addresses that they lead to.

use serde_json::Value;

use super::text::{Text, items, scalar, str_of};
use super::workloads::{head, labels_and_annotations, selected};

pub(super) fn describe(text: &mut Text, service: &Value, slices: &[Value]) {
    let spec = &service["spec"];
    let words = |value: &Value| items(value).iter().map(str_of).collect::<Vec<_>>().join(",");
    let or_none = |words: String| if words.is_empty() { "<none>".to_owned() } else { words };
    head(text, service);
    labels_and_annotations(text, service);
    text.field(0, "Selector", selected(&spec["selector"]));
    text.field(0, "Type", str_of(&spec["type"]));
    if spec["ipFamilyPolicy"].is_string() {
        text.field(0, "IP Family Policy", str_of(&spec["ipFamilyPolicy"]));
    }
    text.field(0, "IP Families", or_none(words(&spec["ipFamilies"])));
    text.field(0, "IP", str_of(&spec["clusterIP"]));
    text.field(0, "IPs", or_none(words(&spec["clusterIPs"])));
    if !items(&spec["externalIPs"]).is_empty() {
        text.field(0, "External IPs", words(&spec["externalIPs"]));
    }
    for (title, field) in [("Desired LoadBalancer IP", "loadBalancerIP"), ("External Name", "externalName")] {
        if !str_of(&spec[field]).is_empty() {
            text.field(0, title, str_of(&spec[field]));
        }
    }
    let ingress = items(&service["status"]["loadBalancer"]["ingress"]);
    if !ingress.is_empty() {
        let address = |point: &Value| match (point["ip"].as_str(), point["ipMode"].as_str()) {
            (Some(ip), Some(mode)) => format!("{ip} ({mode})"),
            (Some(ip), None) => ip.to_owned(),
            (None, _) => str_of(&point["hostname"]).to_owned(),
        };
        let list: Vec<String> = ingress.iter().map(address).collect();
        text.field(0, "LoadBalancer Ingress", list.join(", "));
    }
    items(&spec["ports"]).iter().for_each(|entry| port(text, entry, slices));
    text.field(0, "Session Affinity", str_of(&spec["sessionAffinity"]));
    for (title, field) in [
        ("External Traffic Policy", "externalTrafficPolicy"),
        ("Internal Traffic Policy", "internalTrafficPolicy"),
    ] {
        if !str_of(&spec[field]).is_empty() {
            text.field(0, title, str_of(&spec[field]));
        }
    }
    if let Some(number) = spec["healthCheckNodePort"].as_i64().filter(|number| *number != 0) {
        text.field(0, "HealthCheck NodePort", number);
    }
    if !items(&spec["loadBalancerSourceRanges"]).is_empty() {
        text.field(0, "LoadBalancer Source Ranges", words(&spec["loadBalancerSourceRanges"]));
    }
    if spec["trafficDistribution"].is_string() {
        text.field(0, "Traffic Distribution", str_of(&spec["trafficDistribution"]));
    }
}

fn port(text: &mut Text, port: &Value, slices: &[Value]) {
    let name = port["name"].as_str().filter(|name| !name.is_empty());
    let (title, protocol) = (name.unwrap_or("<unset>"), str_of(&port["protocol"]));
    text.field(0, "Port", format_args!("{title}\t{}/{protocol}", scalar(&port["port"])));
    text.field(0, "TargetPort", format_args!("{}/{protocol}", scalar(&port["targetPort"])));
    if let Some(number) = port["nodePort"].as_i64().filter(|number| *number != 0) {
        text.field(0, "NodePort", format_args!("{title}\t{number}/{protocol}"));
    }
    text.field(0, "Endpoints", endpoints(name.unwrap_or_default(), slices));
}

/// Addresses with the port of the name, the first few of them.
fn endpoints(port: &str, slices: &[Value]) -> String {
    const SHOWN: usize = 3;
    let (mut list, mut more) = (Vec::new(), 0);
    for slice in slices {
        let ports = items(&slice["ports"]).iter().filter(|entry| str_of(&entry["name"]) == port);
        for number in ports.map(|entry| &entry["port"]) {
            let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
            for endpoint in items(&slice["endpoints"]).iter().filter(ready) {
                for address in items(&endpoint["addresses"]) {
                    match list.len() < SHOWN {
                        true => list.push(format!("{}:{}", str_of(address), scalar(number))),
                        false => more += 1,
                    }
                }
            }
        }
    }
    let rest = if more > 0 { format!(" + {more} more...") } else { String::new() };
    list.join(",") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_name_their_endpoints() {
        let service = json!({
            "metadata": {"name": "kubia", "namespace": "default"},
            "spec": {
                "type": "ClusterIP", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"],
                "selector": {"app": "kubia"}, "sessionAffinity": "None",
                "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
        });
        let slice = json!({
            "ports": [{"name": "", "port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}],
        });
        let mut text = Text::default();
        describe(&mut text, &service, &[slice]);
        assert_eq!(
            text.0,
            "Name:\tkubia\nNamespace:\tdefault\nLabels:\t<none>\nAnnotations:\t<none>\nSelector:\tapp=kubia\nType:\tClusterIP\nIP Families:\tIPv4\nIP:\t10.96.0.7\nIPs:\t10.96.0.7\nPort:\t<unset>\t80/TCP\nTargetPort:\t8080/TCP\nEndpoints:\t10.0.0.1:8080\nSession Affinity:\tNone\n"
        );
    }
}
