//! ComponentStatus: how the parts of the control plane are. Nothing of it is kept.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use skiff_machinery::cells::{self, items, name_column, str_of, text};
use skiff_machinery::{Kind, Object, Part, Persistence, Printer, Row, Scope, Strategy, Verb};
use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Status", "Whether it works."),
            text("Message", "What it says."),
            text("Error", "What is wrong."),
        ],
        print: Printer::Fixed(print),
        verbs: Verb::READ,
        persistence: Persistence::Made,
        deprecation: Some("v1 ComponentStatus is deprecated in v1.19+".into()),
        ..stored(schema, CORE, "io.k8s.api.core.v1.ComponentStatus", Scope::Cluster, PartStrategy)
            .short(&["cs"])
            .plural("componentstatuses")
    }
}

fn print(object: &Object, _: Timestamp) -> Row {
    let healthy = items(object, &["conditions"]).iter().find(|one| str_of(one, "type") == "Healthy");
    let state = match healthy.map(|one| str_of(one, "status")) {
        None => "Unknown",
        Some("True") => "Healthy",
        Some(_) => "Unhealthy",
    };
    let told = |field: &str| healthy.map(|one| str_of(one, field)).unwrap_or_default();
    cells::row([object.name().into(), state.into(), told("message").into(), told("error").into()])
}

/// What is asked about, and what the names of the checks begin with that are about it.
const COMPONENTS: [(&str, &str); 3] =
    [("controller-manager", "controllers"), ("etcd-0", "etcd"), ("scheduler", "scheduler")];

/// What is special about the parts of the control plane.
struct PartStrategy;

impl Strategy for PartStrategy {
    fn made(&self, parts: &[Part]) -> Vec<Object> {
        COMPONENTS
            .iter()
            .map(|(name, checks)| component(name, parts.iter().filter(|part| part.name.starts_with(checks))))
            .collect()
    }
}

fn component<'p>(name: &str, parts: impl Iterator<Item = &'p Part>) -> Object {
    let mut parts = parts.peekable();
    let is_here = parts.peek().is_some();
    let failure = if is_here {
        parts.find_map(|part| part.failure.as_deref())
    } else {
        Some("not a part of this server")
    };
    let condition = match failure {
        None => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Some(why) => json!({"type": "Healthy", "status": "False", "message": why}),
    };
    let mut object = Object::default();
    object.set(&["apiVersion"], "v1");
    object.set(&["kind"], "ComponentStatus");
    object.set(&["metadata", "name"], name);
    object.set(&["conditions"], json!([condition]));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_healthy_when_all_of_its_checks_are() {
        let part = |name: &str, failure: Option<&str>| Part {
            name: name.to_owned(),
            failure: failure.map(str::to_owned),
        };
        let parts = [
            part("etcd", None),
            part("scheduler-loops", None),
            part("scheduler-caches", Some("pods are not listed")),
        ];
        let made = PartStrategy.made(&parts);
        let told: Vec<[String; 3]> = made
            .iter()
            .map(|object| {
                let cells = print(object, Timestamp::UNIX_EPOCH).cells;
                [0, 1, 2].map(|index: usize| cells[index].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        assert_eq!(
            told,
            [
                ["controller-manager", "Unhealthy", "not a part of this server"],
                ["etcd-0", "Healthy", "ok"],
                ["scheduler", "Unhealthy", "pods are not listed"],
            ]
        );
    }
}
