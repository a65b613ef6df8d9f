//! MutatingWebhookConfiguration: webhooks that may change objects.

use std::sync::Arc;

use skiff_admission::Type;
use skiff_machinery::{Kind, Printer};
use skiff_schema::Schema;

use super::common::base;
use super::webhooks::{WebhooksStrategy, columns, print};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let definition = "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration";
    Kind {
        columns: columns(),
        print: Printer::Fixed(print),
        ..base(schema, definition, WebhooksStrategy(Type::Mutating))
    }
}
