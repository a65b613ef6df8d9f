//! `create service`.

use serde_json::{Value, json};

use super::{CREATE, Kind, number_or_text};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const TCP: Flag = Flag::list("tcp", "PORT or PORT:TARGETPORT; may be repeated");
const CLUSTER_IP: Flag = Flag::text("clusterip", "Address of the Service, or None for a headless one");
const NODE_PORT: Flag = Flag::number("node-port", "0", "Port at every node");
const EXTERNAL_NAME: Flag = Flag::text("external-name", "Name that the Service stands for").required();

pub(super) const COMMAND: Command = Command::new("service", "[flags] [options]", "Create a Service")
    .aliases(&["svc"])
    .commands(&[
        Command::new("clusterip", "NAME [--tcp=<port>:<targetPort>] [--dry-run=server|client|none]", "Create a ClusterIP Service")
            .examples(
                "# Reach port 8080 of the pods labelled app=kubia at port 80
                 kubectl create service clusterip kubia --tcp=80:8080
                 # A headless Service
                 kubectl create service clusterip kubia --clusterip=None",
            )
            .flags(&[&[TCP, CLUSTER_IP], PRINT, CREATE])
            .run(|cx, given| {
                Box::pin(async move { CLUSTER_IP_KIND.send(cx, given, make(given, "ClusterIP")?).await })
            }),
        Command::new("externalname", "NAME --external-name external.name [--dry-run=server|client|none]", "Create an ExternalName Service")
            .examples("# A name of the cluster for one of the world\nkubectl create service externalname db --external-name=db.example.com")
            .flags(&[&[EXTERNAL_NAME, TCP], PRINT, CREATE])
            .run(|cx, given| {
                Box::pin(async move { EXTERNAL_NAME_KIND.send(cx, given, make(given, "ExternalName")?).await })
            }),
        Command::new("loadbalancer", "NAME [--tcp=port:targetPort] [--dry-run=server|client|none]", "Create a LoadBalancer Service")
            .examples("# Port 80 at an address of the outside\nkubectl create service loadbalancer kubia --tcp=80:8080")
            .flags(&[&[TCP], PRINT, CREATE])
            .run(|cx, given| {
                Box::pin(async move { LOAD_BALANCER_KIND.send(cx, given, make(given, "LoadBalancer")?).await })
            }),
        Command::new("nodeport", "NAME [--tcp=port:targetPort] [--dry-run=server|client|none]", "Create a NodePort Service")
            .examples("# A port at every node\nkubectl create service nodeport kubia --tcp=80:8080 --node-port=30080")
            .flags(&[&[TCP, NODE_PORT], PRINT, CREATE])
            .run(|cx, given| {
                Box::pin(async move { NODE_PORT_KIND.send(cx, given, make(given, "NodePort")?).await })
            }),
    ]);

const CLUSTER_IP_KIND: Kind = Kind::namespaced("services", "failed to create ClusterIP service: ");
const EXTERNAL_NAME_KIND: Kind = Kind::namespaced("services", "failed to create ExternalName service: ");
const LOAD_BALANCER_KIND: Kind = Kind::namespaced("services", "failed to create LoadBalancer service: ");
const NODE_PORT_KIND: Kind = Kind::namespaced("services", "failed to create NodePort service: ");

fn make(given: &Given, of: &str) -> Result<Value, Error> {
    let (name, tcp, address) = (given.name()?, given.all(&TCP), given.some(&CLUSTER_IP));
    if address != Some("None") && tcp.is_empty() && of != "ExternalName" {
        return Err(Error::usage("at least one tcp port specifier must be provided"));
    }
    let labels = json!({"app": name});
    let mut spec = json!({"type": of, "selector": labels});
    if let Some(name) = given.some(&EXTERNAL_NAME) {
        if !is_dns_name(name) {
            return Err(Error::Usage(format!("invalid service external name {name}")));
        }
        spec["externalName"] = json!(name);
    }
    let node_port = given.number(&NODE_PORT);
    let ports: Vec<Value> = tcp.iter().map(|text| port(text, node_port)).collect::<Result<_, _>>()?;
    if !ports.is_empty() {
        spec["ports"] = Value::Array(ports);
    }
    if let Some(address) = address {
        spec["clusterIP"] = json!(address);
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
        "spec": spec, "status": {"loadBalancer": {}},
    }))
}

fn is_dns_name(name: &str) -> bool {
    let part = |part: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(inside) && part.ends_with(inside) && part.chars().all(|c| inside(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn port(text: &str, node_port: i64) -> Result<Value, Error> {
    let (port, target) = text.split_once(':').unwrap_or((text, text));
    let number: u16 = port.parse().map_err(|error: std::num::ParseIntError| {
        let what = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Error::Usage(format!("strconv.ParseUint: parsing \"{port}\": {what}"))
    })?;
    let target = number_or_text(target);
    if target.as_i64().is_some_and(|number| !(1..=65535).contains(&number)) {
        return Err(Error::usage("must be between 1 and 65535, inclusive"));
    }
    let mut port =
        json!({"name": text.replace(':', "-"), "port": number, "targetPort": target, "protocol": "TCP"});
    if node_port != 0 {
        port["nodePort"] = json!(node_port);
    }
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let manifest = |spec: &str| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata:\n  labels:\n    app: s\n  name: s\nspec:\n{spec}status:\n  loadBalancer: {{}}\n"
            )
        };
        let selector = "  selector:\n    app: s\n";
        assert_eq!(
            made("svc clusterip s --tcp=80:8080", |given| make(given, "ClusterIP")),
            manifest(&format!(
                "  ports:\n  - name: 80-8080\n    port: 80\n    protocol: TCP\n    targetPort: 8080\n{selector}  type: ClusterIP\n"
            ))
        );
        assert_eq!(
            made("svc nodeport s --tcp=80:http --node-port=30080", |given| make(given, "NodePort")),
            manifest(&format!(
                "  ports:\n  - name: 80-http\n    nodePort: 30080\n    port: 80\n    protocol: TCP\n    targetPort: http\n{selector}  type: NodePort\n"
            ))
        );
        assert_eq!(
            made("svc externalname s --external-name=x.y", |given| make(given, "ExternalName")),
            manifest(&format!("  externalName: x.y\n{selector}  type: ExternalName\n"))
        );
        assert_eq!(
            made("svc clusterip s --clusterip=None", |given| make(given, "ClusterIP")),
            manifest(&format!("  clusterIP: None\n{selector}  type: ClusterIP\n"))
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, text) in [
            ("svc clusterip s", "error: at least one tcp port specifier must be provided"),
            ("svc clusterip s --tcp=x", "error: strconv.ParseUint: parsing \"x\": invalid syntax"),
            ("svc clusterip s --tcp=80:0", "error: must be between 1 and 65535, inclusive"),
            (
                "svc clusterip",
                "error: exactly one NAME is required, got 0\nSee 'kubectl create service clusterip -h' for help and examples",
            ),
        ] {
            assert_eq!(made(line, |given| make(given, "ClusterIP")), text, "{line}");
        }
    }
}
