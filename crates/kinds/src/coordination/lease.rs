//! Lease.

use jiff::Timestamp;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::COORDINATION;
use crate::row::stored;
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("Holder", "Who holds the lease."), age_column()],
        print: Printer::Fixed(print),
        ..stored(schema, COORDINATION, "io.k8s.api.coordination.v1.Lease", Scope::Namespaced, LeaseStrategy)
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([object.name().into(), object.str(&["spec", "holderIdentity"]).into(), age(object, now)])
}

/// What is special about leases.
struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        drop_election(object, None);
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        drop_election(new, Some(old));
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let number = |field: &str| object.get(&["spec", field]).and_then(serde_json::Value::as_i64);
        let mut errors = FieldErrors::new();
        if let Some(seconds) = number("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
            let path = "spec.leaseDurationSeconds";
            errors.push(FieldError::invalid(path, seconds, "must be greater than 0"));
        }
        if let Some(count) = number("leaseTransitions").filter(|count| *count < 0) {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid("spec.leaseTransitions", count, detail));
        }
        errors
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    /// Holders compete, so every change names the version that it is based on.
    fn allows_unconditional_update(&self) -> bool {
        false
    }
}

/// Drops the fields of coordinated leader election, which is off by default (KEP-4355), where they were not used before.
fn drop_election(object: &mut Object, old: Option<&Object>) {
    for field in ["strategy", "preferredHolder"] {
        let path = ["spec", field];
        if old.is_none_or(|old| old.get(&path).is_none()) {
            object.remove(&path);
        }
    }
}
