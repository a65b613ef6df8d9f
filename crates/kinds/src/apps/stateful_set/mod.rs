//! StatefulSet.

mod validate;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, name_column, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Context, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;

use crate::core::claim_spec;
use crate::groups::APPS;
use crate::row::stored;
use crate::shared::defaults::{existing_mut, fill, fill_text, list_mut, object_mut};
use crate::shared::template::{TEMPLATE, with_template};

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: with_template(vec![
            name_column(),
            text("Ready", "Pods that are ready, of those wanted."),
            age_column(),
        ]),
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, APPS, "io.k8s.api.apps.v1.StatefulSet", Scope::Namespaced, SetStrategy)
            .short(&["sts"])
            .in_all()
            .below(&[Subresource::Scale, Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    let number = |path: &[&str]| object.int(path).unwrap_or(0);
    let [containers, images] = TEMPLATE.cells(object);
    let ready = format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"]));
    cells::row([object.name().into(), ready.into(), age(object, now), containers, images])
}

/// What is special about stateful sets.
struct SetStrategy;

impl Strategy for SetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object_mut(object.as_map_mut(), "spec");
        fill_text(spec, "podManagementPolicy", "OrderedReady");
        let update = object_mut(spec, "updateStrategy");
        if update.get("type").and_then(Value::as_str).unwrap_or("").is_empty() {
            update.insert("type".to_owned(), "RollingUpdate".into());
            object_mut(update, "rollingUpdate");
        }
        if update["type"] == "RollingUpdate"
            && let Some(rolling) = existing_mut(update, "rollingUpdate")
        {
            fill(rolling, "partition", 0);
        }
        let retention = object_mut(spec, "persistentVolumeClaimRetentionPolicy");
        fill_text(retention, "whenDeleted", "Retain");
        fill_text(retention, "whenScaled", "Retain");
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        for claim in list_mut(spec, "volumeClaimTemplates") {
            fill_text(claim, "apiVersion", "v1");
            fill_text(claim, "kind", "PersistentVolumeClaim");
            fill(object_mut(claim, "spec"), "volumeMode", "Filesystem");
            fill_text(object_mut(claim, "status"), "phase", "Pending");
        }
        object_mut(spec, "template");
        TEMPLATE.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        drop_limit(object, None);
        TEMPLATE.drop_disabled(object, None);
        object.set(&["status"], json!({"replicas": 0, "availableReplicas": 0}));
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        drop_limit(new, Some(old));
        TEMPLATE.drop_disabled(new, Some(old));
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        Form::DnsLabel.check("metadata.name", name)
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        validate::validate(object)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate::validate_update(new, old)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        validate::validate_status(new, old)
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let same = old.is_some_and(|old| new.get(&["spec"]) == old.get(&["spec"]));
        let mut warnings = if same { Vec::new() } else { TEMPLATE.warnings(new) };
        // Kubernetes writes the path of a change in another way.
        let below = if old.is_some() { ".Spec" } else { "" };
        let claims = cells::items(new, &["spec", "volumeClaimTemplates"]).iter().enumerate();
        warnings.extend(claims.flat_map(|(index, claim)| {
            let path = format!("spec.volumeClaimTemplates[{index}]{below}");
            claim_spec::warnings(&path, &claim["spec"])
        }));
        if new.int(&["spec", "revisionHistoryLimit"]).is_some_and(|limit| limit < 0) {
            warnings.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned());
        }
        warnings
    }
}

/// The feature behind it is off.
fn drop_limit(object: &mut Object, old: Option<&Object>) {
    const LIMIT: &[&str] = &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"];
    if old.and_then(|old| old.get(LIMIT)).is_none_or(Value::is_null) {
        object.remove(LIMIT);
    }
}
