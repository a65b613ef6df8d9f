//! MutatingAdmissionPolicyBinding: puts a MutatingAdmissionPolicy into force.

use std::sync::Arc;

use skiff_machinery::{FieldErrors, Kind, Printer};
use skiff_schema::Schema;

use super::common::base;
use super::policies::{PolicyStrategy, binding_columns, binding_row};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let strategy = PolicyStrategy {
        default: skiff_admission::default_binding,
        validate: skiff_admission::validate_mutating_binding,
        validate_update: |new, _| skiff_admission::validate_mutating_binding(new),
        validate_status: |_| FieldErrors::new(),
    };
    let definition = "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding";
    Kind {
        columns: binding_columns(),
        print: Printer::Fixed(binding_row),
        ..base(schema, definition, strategy)
    }
}
