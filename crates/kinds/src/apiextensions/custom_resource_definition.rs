//! CustomResourceDefinition: a kind that users define. What it may say is checked in `skiff_structural`; the kinds that
//! come of it are made in [`super::custom`].

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, name_column};
use skiff_machinery::{
    Context, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy, Subresource,
};
use skiff_schema::Schema;
use skiff_structural::{ObjectMeta, definition};

use crate::groups::API_EXTENSIONS;
use crate::row::stored;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    let definition = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";
    let meta = ObjectMeta::of(schema).expect("the schema of Kubernetes has ObjectMeta");
    Kind {
        counts_generations: true,
        columns: vec![name_column(), cells::date("Created At", "When the kind was defined.")],
        print: Printer::Fixed(print),
        ..stored(schema, API_EXTENSIONS, definition, Scope::Cluster, DefinitionStrategy(meta))
            .short(&["crd", "crds"])
            .in_category("api-extensions")
            .below(&[Subresource::Status])
    }
}

fn print(object: &Object, _: Timestamp) -> Row {
    let created = object.str(&["metadata", "creationTimestamp"]).to_owned();
    cells::row([object.name().into(), created.into()])
}

/// What is special about definitions of kinds.
struct DefinitionStrategy(ObjectMeta);

/// Lets a function that works on JSON trees change an object.
fn changed(object: &mut Object, change: impl FnOnce(&mut Value)) {
    let mut tree = std::mem::take(object).into_value();
    change(&mut tree);
    *object = Object::from_value(tree).unwrap_or_default();
}

fn tree(object: &Object) -> Value {
    Value::Object(object.as_map().clone())
}

impl Strategy for DefinitionStrategy {
    fn counts_deletion(&self) -> bool {
        false
    }

    fn folder(&self) -> Option<&'static str> {
        Some("apiextensions.k8s.io/customresourcedefinitions")
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    /// What is asked for stays, and which versions were stored is noted for nobody.
    fn settled(&self, part: &str) -> &'static [&'static [&'static str]] {
        match part {
            "status" => &[&["spec"]],
            _ => &[&["status"]],
        }
    }

    fn knows_finalizers(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Object) {
        changed(object, definition::default);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        let names = json!({"plural": "", "kind": ""});
        object.set(&["status"], json!({"conditions": null, "acceptedNames": names, "storedVersions": []}));
        changed(object, definition::note_stored_version);
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, _: &Object) {
        changed(new, definition::note_stored_version);
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        definition::validate(&tree(object), &self.0)
    }

    fn validate_update(&self, _: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        definition::validate_update(&tree(new), &tree(old), &self.0)
    }

    fn validate_status(&self, _: Context<'_>, new: &Object, _: &Object) -> FieldErrors {
        definition::validate_status(&tree(new))
    }

    /// It stays until a controller has deleted the objects of its kind.
    fn mark_deletion(&self, cx: Context<'_>, object: &mut Object) {
        object.remove(&["metadata", "deletionGracePeriodSeconds"]);
        let now = cx.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        changed(object, |tree| definition::mark_deletion(tree, &now));
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        definition::warnings(&tree(new), old.map(tree).as_ref())
    }
}
