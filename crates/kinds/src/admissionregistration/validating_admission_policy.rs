//! ValidatingAdmissionPolicy: expressions that refuse objects.

use std::sync::Arc;

use skiff_machinery::{Kind, Printer, Subresource};
use skiff_schema::Schema;

use super::common::base;
use super::policies::{PolicyStrategy, policy_columns, policy_row};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let strategy = PolicyStrategy {
        default: skiff_admission::default_policy,
        validate: skiff_admission::validate_validating_policy,
        validate_update: skiff_admission::validate_validating_policy_update,
        validate_status: skiff_admission::validate_validating_policy_status,
    };
    let definition = "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy";
    Kind {
        columns: policy_columns("Validations"),
        print: Printer::Fixed(|object, now| policy_row(object, now, "validations")),
        ..base(schema, definition, strategy)
            .plural("validatingadmissionpolicies")
            .below(&[Subresource::Status])
    }
}
