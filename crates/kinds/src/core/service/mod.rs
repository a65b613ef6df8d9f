//! Service.

mod allocate;
mod bands;
mod facts;
mod families;
mod prepare;
mod print;
#[cfg(test)]
mod tests;
mod validate;
mod validate_addresses;
mod validate_update;
mod warnings;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;
use skiff_machinery::cells::{age_column, name_column, text, wide};
use skiff_machinery::names::Form;
use skiff_machinery::{
    AddressSpace, AllocationError, Claim, Companion, Context, FieldErrors, Kind, Object, Printer, Scope,
    Selectable, Strategy, Subresource,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
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
        print: Printer::Fixed(print::print),
        selectable: vec![
            Selectable::fixed("spec.clusterIP", |object| object.str(&["spec", "clusterIP"]).to_owned()),
            Selectable::fixed("spec.type", |object| object.str(&["spec", "type"]).to_owned()),
        ]
        .into(),
        ..stored(schema, CORE, "io.k8s.api.core.v1.Service", Scope::Namespaced, ServiceStrategy)
            .short(&["svc"])
            .in_all()
            .below(&[Subresource::Proxy, Subresource::Status])
    }
}

/// What is special about Services.
struct ServiceStrategy;

impl Strategy for ServiceStrategy {
    fn folder(&self) -> Option<&'static str> {
        Some("services/specs")
    }

    fn answers_deleted(&self) -> bool {
        true
    }

    /// The Endpoints of its name.
    fn leaves_with(&self, object: &Object) -> Vec<Companion> {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        vec![Companion { resource: "endpoints", namespace, name }]
    }

    fn default(&self, object: &mut Object) {
        prepare::default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        prepare::for_create(object);
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        prepare::for_update(new, old);
    }

    fn allocates(&self) -> bool {
        true
    }

    fn allocate(
        &self,
        cx: Context<'_>,
        object: &mut Object,
        old: Option<&Object>,
        space: &mut dyn AddressSpace,
    ) -> Result<Vec<Claim>, AllocationError> {
        allocate::allocate(cx.cluster.node_ports, object, old, space)
    }

    fn held(&self, object: &Object) -> Vec<Claim> {
        allocate::held(object).into_iter().collect()
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate::validate(object)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = validate_update::validate_update(new, old);
        errors.extend(validate::validate(new));
        errors
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        validate::validate_status(new)
    }

    fn warnings(&self, new: &Object, _: Option<&Object>) -> Vec<String> {
        warnings::warnings(new)
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::DnsLabel.check("metadata.name", name)
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}
