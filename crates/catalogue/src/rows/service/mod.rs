//! Service.

mod print;

use super::cells::{age_column, name_column, text, wide};
use super::{CORE, Plain, stored};
use crate::{Kind, Scope, Selectable, Subresource};

pub(super) fn row() -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Type", "How the Service is reached."),
            text("Cluster-IP", "Address inside the cluster."),
            text("External-IP", "Addresses outside the cluster."),
            text("Port(s)", "Ports, with node ports and protocols."),
            age_column(),
            wide("Selector", "Labels of the pods behind the Service."),
        ],
        print: print::print,
        selectable: &[
            Selectable {
                label: "spec.clusterIP",
                value: |object| object.str(&["spec", "clusterIP"]).to_owned(),
            },
            Selectable { label: "spec.type", value: |object| object.str(&["spec", "type"]).to_owned() },
        ],
        ..stored(CORE, "io.k8s.api.core.v1.Service", Scope::Namespaced, Plain)
            .short(&["svc"])
            .in_all()
            .below(&[Subresource::Proxy, Subresource::Status])
    }
}
