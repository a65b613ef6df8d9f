//! Ingress: which Services HTTP requests from outside reach, by host and path.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use skiff_machinery::cells::{self, NONE, age, age_column, items, name_column, str_of, text};
use skiff_machinery::{Kind, Object, Printer, Row, Scope, Subresource};
use skiff_schema::Schema;

use super::GV;
use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Class", "The IngressClass whose controller serves it."),
            text("Hosts", "The hosts that it is for."),
            text("Address", "Where it is reached."),
            text("Ports", "The ports that it is served at."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, GV, "io.k8s.api.networking.v1.Ingress", Scope::Namespaced, Plain)
            .short(&["ing"])
            .plural("ingresses")
            .below(&[Subresource::Status])
    }
}

/// Addresses that are longer are cut.
const WIDTH: usize = 16;

fn print(object: &Object, now: Timestamp) -> Row {
    let class = object.get(&["spec", "ingressClassName"]).and_then(|class| class.as_str()).unwrap_or(NONE);
    let ports = if items(object, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
    cells::row([
        object.name().into(),
        class.into(),
        hosts(object).into(),
        address(object).into(),
        ports.into(),
        age(object, now),
    ])
}

/// The first three hosts, and how many rules there are besides.
fn hosts(object: &Object) -> String {
    let rules = items(object, &["spec", "rules"]);
    let named = rules.iter().map(|rule| str_of(rule, "host"));
    let named: Vec<&str> = named.filter(|host| !host.is_empty()).take(3).collect();
    // A rule after the third host counts, whether or not it has a host.
    let third = rules.iter().enumerate().filter(|(_, rule)| !str_of(rule, "host").is_empty()).nth(2);
    match (named.as_slice(), third) {
        ([], _) => "*".to_owned(),
        (some, Some((at, _))) if at + 1 < rules.len() => {
            format!("{} + {} more...", some.join(","), rules.len() - 3)
        }
        (some, _) => some.join(","),
    }
}

fn address(object: &Object) -> String {
    let points = items(object, &["status", "loadBalancer", "ingress"]).iter();
    let addresses = points.map(|point| match str_of(point, "ip") {
        "" => str_of(point, "hostname"),
        ip => ip,
    });
    let distinct: BTreeSet<&str> = addresses.filter(|address| !address.is_empty()).collect();
    let all = distinct.into_iter().collect::<Vec<_>>().join(",");
    if all.len() > WIDTH { format!("{}...", &all[..WIDTH - 3]) } else { all }
}
