//! ServiceCIDR: a range that Service addresses are taken from.

use jiff::Timestamp;
use serde_json::json;

use std::sync::Arc;

use skiff_schema::Schema;

use crate::groups::NETWORKING;
use crate::row::stored;
use skiff_machinery::cells::{self, age, age_column, name_column, strings, text};
use skiff_machinery::{
    Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
    Subresource, addresses,
};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![name_column(), text("CIDRs", "The ranges, one per address family."), age_column()],
        print: Printer::Fixed(print),
        ..stored(schema, NETWORKING, "io.k8s.api.networking.v1.ServiceCIDR", Scope::Cluster, RangeStrategy)
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let cidrs = strings(object, &["spec", "cidrs"]).join(",");
    cells::row([object.name().into(), cidrs.into(), age(object, now)])
}

const CIDRS: &str = "spec.cidrs";

/// What is special about ServiceCIDRs.
struct RangeStrategy;

impl Strategy for RangeStrategy {
    fn status_changes_metadata(&self) -> bool {
        false
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], json!({}));
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let cidrs = strings(object, &["spec", "cidrs"]);
        match cidrs.len() {
            0 => return [FieldError::required(CIDRS, "at least one CIDR required")].into(),
            1 | 2 => {}
            _ => {
                // The whole spec, as Kubernetes' own type has it.
                let shown = format!(r#"{{"CIDRs":{}}}"#, json!(cidrs));
                let error = FieldError::invalid(CIDRS, json!(null), "may only hold up to 2 values");
                return [error.showing(shown)].into();
            }
        }
        let mut errors = FieldErrors::new();
        let mut families = Vec::new();
        for (index, text) in cidrs.iter().enumerate() {
            let path = format!("{CIDRS}[{index}]");
            match addresses::cidr(text) {
                Ok(range) if addresses::has_host_bits(range) => {
                    let detail = "must not have bits set beyond the prefix length";
                    errors.push(FieldError::invalid(path, *text, detail));
                }
                Ok(range) if range.to_string() != *text => {
                    let detail = format!("must be in canonical form (\"{range}\")");
                    errors.push(FieldError::invalid(path, *text, detail));
                }
                Ok(range) => families.push(range.addr().is_ipv4()),
                Err(detail) => errors.push(FieldError::invalid(path, *text, detail)),
            }
        }
        if let [first, second] = families[..]
            && first == second
        {
            let detail =
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.push(FieldError::invalid(CIDRS, json!(cidrs), detail));
        }
        errors
    }

    /// Ranges stay; a second family may be added.
    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let (before, after) = (strings(old, &["spec", "cidrs"]), strings(new, &["spec", "cidrs"]));
        let changed = |index: usize, text: &str| {
            FieldError::invalid(format!("{CIDRS}[{index}]"), text, "field is immutable")
        };
        match (&before[..], &after[..]) {
            ([only], [first, _]) => {
                let wrong = Some(changed(0, first)).filter(|_| only != first);
                wrong.into_iter().chain(self.validate(cx, new)).collect()
            }
            (before, after) if before.len() == after.len() => {
                let pairs = before.iter().zip(after).enumerate().filter(|(_, (old, new))| old != new);
                pairs.map(|(index, (_, new))| changed(index, new)).collect()
            }
            _ => {
                let cidrs = new.get(&["spec", "cidrs"]).cloned().unwrap_or_default();
                [FieldError::invalid(CIDRS, cidrs, "field is immutable")].into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};
    use serde_json::Value;

    fn range(cidrs: Value) -> Object {
        object(json!({"spec": {"cidrs": cidrs}}))
    }

    #[test]
    fn checks_ranges() {
        let check = |cidrs: Value, expected: &[&str]| {
            assert_eq!(texts(with_context(|cx| RangeStrategy.validate(cx, &range(cidrs)))), expected);
        };
        check(json!(["10.96.0.0/12", "fd00::/108"]), &[]);
        check(json!([]), &["spec.cidrs: Required value: at least one CIDR required"]);
        check(
            json!(["10.96.0.1/12"]),
            &[
                r#"spec.cidrs[0]: Invalid value: "10.96.0.1/12": must not have bits set beyond the prefix length"#,
            ],
        );
        check(
            json!(["10.0.0.0/24", "10.0.1.0/24"]),
            &[concat!(
                r#"spec.cidrs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one IP "#,
                "for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            )],
        );
    }

    #[test]
    fn ranges_stay() {
        let check = |new: Value, old: Value, fine: bool| {
            let errors = with_context(|cx| RangeStrategy.validate_update(cx, &range(new), &range(old)));
            assert_eq!(errors.is_empty(), fine, "{errors:?}");
        };
        check(json!(["10.0.0.0/24"]), json!(["10.0.0.0/24"]), true);
        check(json!(["10.0.0.0/24", "fd00::/108"]), json!(["10.0.0.0/24"]), true);
        check(json!(["10.0.1.0/24", "fd00::/108"]), json!(["10.0.0.0/24"]), false);
        check(json!(["10.0.0.0/24"]), json!(["10.0.0.0/24", "fd00::/108"]), false);
        check(json!(["10.0.1.0/24"]), json!(["10.0.0.0/24"]), false);
    }
}
