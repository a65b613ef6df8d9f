//! IngressClass: which controller serves Ingresses.

use std::sync::Arc;

use jiff::Timestamp;
use skiff_machinery::cells::{self, NONE, age, age_column, name_column, str_of, text};
use skiff_machinery::{Kind, Object, Printer, Row, Scope};
use skiff_schema::Schema;

use super::GV;
use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Controller", "The controller that serves it."),
            text("Parameters", "An object with more about it."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, GV, "io.k8s.api.networking.v1.IngressClass", Scope::Cluster, Plain)
            .plural("ingressclasses")
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let parameters = match object.get(&["spec", "parameters"]).filter(|value| value.is_object()) {
        None => NONE.to_owned(),
        Some(value) => {
            let (kind, name) = (str_of(value, "kind"), str_of(value, "name"));
            match value.get("apiGroup").and_then(|group| group.as_str()) {
                None => format!("{kind}/{name}"),
                Some(group) => format!("{kind}.{group}/{name}"),
            }
        }
    };
    cells::row([
        object.name().into(),
        object.str(&["spec", "controller"]).into(),
        parameters.into(),
        age(object, now),
    ])
}
