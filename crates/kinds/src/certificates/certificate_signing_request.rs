//! CertificateSigningRequest: a certificate that somebody asks a signer for.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use skiff_machinery::cells::{self, age, age_column, items, name_column, or_none, str_of, text};
use skiff_machinery::{GroupVersion, Kind, Object, Printer, Row, Scope, Selectable, Subresource, duration};
use skiff_schema::Schema;

use crate::row::{Plain, stored};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let gv = GroupVersion::fixed("certificates.k8s.io", "v1");
    Kind {
        columns: vec![
            name_column(),
            age_column(),
            text("SignerName", "The signer that is asked."),
            text("Requestor", "The user who asks."),
            text("RequestedDuration", "How long the certificate is to be valid."),
            text("Condition", "What has become of the request."),
        ],
        print: Printer::Fixed(print),
        selectable: vec![Selectable::fixed("spec.signerName", |object| {
            object.str(&["spec", "signerName"]).to_owned()
        })]
        .into(),
        ..stored(schema, gv, "io.k8s.api.certificates.v1.CertificateSigningRequest", Scope::Cluster, Plain)
            .short(&["csr"])
            .below(&[Subresource::Approval, Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let seconds = object.get(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    cells::row([
        object.name().into(),
        age(object, now),
        or_none(object.str(&["spec", "signerName"]).to_owned()).into(),
        object.str(&["spec", "username"]).into(),
        or_none(seconds.map(duration::human).unwrap_or_default()).into(),
        state(object).into(),
    ])
}

/// What has become of a request, e.g. `Approved,Issued`.
fn state(object: &Object) -> String {
    let has = |kind: &str| {
        items(object, &["status", "conditions"]).iter().any(|condition| str_of(condition, "type") == kind)
    };
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !object.str(&["status", "certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}
