//! MutatingAdmissionPolicy: expressions that change objects.

use std::sync::Arc;

use skiff_machinery::{FieldErrors, Kind, Printer};
use skiff_schema::Schema;

use super::common::base;
use super::policies::{PolicyStrategy, policy_columns, policy_row};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let strategy = PolicyStrategy {
        default: skiff_admission::default_policy,
        validate: skiff_admission::validate_mutating_policy,
        validate_update: skiff_admission::validate_mutating_policy_update,
        validate_status: |_| FieldErrors::new(),
    };
    let definition = "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy";
    Kind {
        columns: policy_columns("Mutations"),
        print: Printer::Fixed(|object, now| policy_row(object, now, "mutations")),
        ..base(schema, definition, strategy).plural("mutatingadmissionpolicies")
    }
}
