//! `create ingress`.

use serde_json::{Map, Value, json};

use super::{CREATE, Kind, number_or_text};
use crate::error::Error;
use crate::line::{Command, Flag, Given};
use crate::print::objects::PRINT;

const CLASS: Flag = Flag::text("class", "Class of the Ingress");
const RULE: Flag = Flag::each(
    "rule",
    "host/path=service:port[,tls[=secret]]; a path that ends with * is a prefix; may be repeated",
);
const DEFAULT_BACKEND: Flag = Flag::text("default-backend", "Where everything else goes, as service:port");
const ANNOTATION: Flag = Flag::each("annotation", "KEY=VALUE; may be repeated");

pub(super) const COMMAND: Command = Command::new(
    "ingress",
    "NAME --rule=host/path=service:port[,tls[=secret]] ",
    "Create an Ingress",
)
.aliases(&["ing"])
.examples("# Lead a host to a Service, with a certificate\nkubectl create ingress shop --rule='shop.example.com/*=kubia:80,tls=shop'")
.flags(&[&[CLASS, RULE, DEFAULT_BACKEND, ANNOTATION], PRINT, CREATE])
.run(|cx, given| {
    Box::pin(async move {
        Kind::namespaced("ingresses", "failed to create ingress: ").send(cx, given, make(given)?).await
    })
});

fn make(given: &Given) -> Result<Value, Error> {
    let (name, backend) = (given.name()?, given.some(&DEFAULT_BACKEND));
    let rules = given.all(&RULE);
    if backend.is_none() && rules.is_empty() {
        return Err(Error::usage(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)",
        ));
    }
    let rules: Vec<Rule> = rules.iter().map(|rule| Rule::parse(rule)).collect::<Result<_, _>>()?;
    let mut annotations = Map::new();
    for annotation in given.all(&ANNOTATION) {
        let (key, value) = annotation.split_once('=').ok_or_else(|| {
            Error::Usage(format!("annotation {annotation} is invalid and should be in format key=[value]"))
        })?;
        annotations.insert(key.to_owned(), json!(value));
    }
    let mut spec = json!({});
    if let Some(class) = given.some(&CLASS) {
        spec["ingressClassName"] = json!(class);
    }
    if let Some(backend) = backend {
        let parts: Vec<&str> = backend.split(':').collect();
        let [service, port] = parts.as_slice() else {
            return Err(Error::usage("default-backend should be in format servicename:serviceport"));
        };
        spec["defaultBackend"] = service_backend(service, port);
    }
    for (field, list) in [("tls", certificates(&rules)), ("rules", paths(&rules))] {
        if !list.is_empty() {
            spec[field] = Value::Array(list);
        }
    }
    let mut metadata = json!({"name": name});
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    Ok(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec,
        "status": {"loadBalancer": {}},
    }))
}

/// A rule as the command line has it.
#[derive(Debug, PartialEq, Eq)]
struct Rule<'a> {
    host: &'a str,
    path: &'a str,
    service: &'a str,
    port: &'a str,
    /// `,tls` was there, with the name of a Secret or without.
    tls: Option<Option<&'a str>>,
}

impl<'a> Rule<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        Self::read(text).ok_or_else(|| {
            Error::Usage(format!(
                "rule {text} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
            ))
        })
    }

    fn read(text: &'a str) -> Option<Self> {
        let (main, tls) = text.split_once(',').map_or((text, None), |(main, tls)| (main, Some(tls)));
        let (host, rest) = main.split_once('/')?;
        let (path, backend) = rest.split_once('=')?;
        let (service, port) = backend.split_once(':')?;
        let name =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let tls = match tls {
            None => None,
            Some("tls") => Some(None),
            Some(tls) => Some(Some(tls.strip_prefix("tls=").filter(|secret| !secret.contains(','))?)),
        };
        (name(service) && name(port)).then_some(Self { host, path, service, port, tls })
    }
}

fn service_backend(service: &str, port: &str) -> Value {
    let port = number_or_text(port);
    let field = if port.is_string() { "name" } else { "number" };
    json!({"service": {"name": service, "port": {field: port}}})
}

/// Each host once, those of one Secret together.
fn certificates(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut seen = Vec::new();
    for rule in rules {
        let Some(secret) = rule.tls.map(Option::unwrap_or_default) else { continue };
        if seen.contains(&rule.host) {
            continue;
        }
        seen.push(rule.host);
        match found.iter_mut().find(|(name, _)| *name == secret) {
            Some((_, hosts)) => hosts.push(rule.host),
            None if secret.is_empty() && rule.host.is_empty() => {}
            None => found.push((secret, if rule.host.is_empty() { Vec::new() } else { vec![rule.host] })),
        }
    }
    let entry = |(secret, hosts): (&str, Vec<&str>)| {
        let mut entry = json!({});
        if !hosts.is_empty() {
            entry["hosts"] = json!(hosts);
        }
        if !secret.is_empty() {
            entry["secretName"] = json!(secret);
        }
        entry
    };
    found.into_iter().map(entry).collect()
}

/// The paths of each host.
fn paths(rules: &[Rule<'_>]) -> Vec<Value> {
    let mut hosts: Vec<(&str, Vec<Value>)> = Vec::new();
    for rule in rules {
        let path = format!("/{}", rule.path);
        let (path, kind) = match path.strip_suffix('*') {
            Some(prefix) => (prefix, "Prefix"),
            None => (path.as_str(), "Exact"),
        };
        let path =
            json!({"path": path, "pathType": kind, "backend": service_backend(rule.service, rule.port)});
        match hosts.iter_mut().find(|(host, _)| *host == rule.host) {
            Some((_, paths)) => paths.push(path),
            None => hosts.push((rule.host, vec![path])),
        }
    }
    let entry = |(host, paths): (&str, Vec<Value>)| {
        let mut entry = json!({"http": {"paths": paths}});
        if !host.is_empty() {
            entry["host"] = json!(host);
        }
        entry
    };
    hosts.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::make;

    #[test]
    fn makes_what_kubectl_makes() {
        let text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  annotations:\n    a: b\n  name: i\nspec:\n  defaultBackend:\n    service:\n      name: d\n      port:\n        name: http\n  ingressClassName: c\n  rules:\n  - host: foo.com\n    http:\n      paths:\n      - backend:\n          service:\n            name: svc\n            port:\n              number: 80\n        path: /bar\n        pathType: Prefix\n  tls:\n  - hosts:\n    - foo.com\n    secretName: sec\nstatus:\n  loadBalancer: {}\n";
        assert_eq!(
            made(
                "ingress i --rule=foo.com/bar*=svc:80,tls=sec --class=c --default-backend=d:http --annotation=a=b",
                make
            ),
            text
        );
        for (line, text) in [
            (
                "ingress i --rule=x",
                "rule x is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]",
            ),
            ("ingress i --default-backend=x", "default-backend should be in format servicename:serviceport"),
        ] {
            assert_eq!(made(line, make), format!("error: {text}"), "{line}");
        }
    }
}
