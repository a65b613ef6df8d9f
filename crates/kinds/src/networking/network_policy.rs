//! NetworkPolicy: which connections pods may have.

use std::sync::Arc;

use jiff::Timestamp;
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::{Kind, Object, Printer, Row, Scope, selector};
use skiff_schema::Schema;

use super::GV;
use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("Pod-Selector", "The pods that it is about."), age_column()],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, GV, "io.k8s.api.networking.v1.NetworkPolicy", Scope::Namespaced, Plain)
            .short(&["netpol"])
            .plural("networkpolicies")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let selector = object.get(&["spec", "podSelector"]).map_or_else(|| Some(String::new()), selector::shown);
    let selector = selector.map_or_else(|| "<error>".to_owned(), cells::or_none);
    cells::row([object.name().into(), selector.into(), age(object, now)])
}
