//! PodTemplate: a template of pods that nothing makes pods of by itself.

use std::sync::Arc;

use jiff::Timestamp;
use skiff_machinery::cells::{self, name_column, text};
use skiff_machinery::{Context, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy};
use skiff_schema::Schema;

use crate::groups::CORE;
use crate::row::stored;
use crate::shared::defaults::object_mut;
use crate::shared::template::Template;

const TEMPLATE: Template = Template(&["template"]);

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            text("Containers", "Names of the template's containers."),
            text("Images", "Images of the template's containers."),
            text("Pod Labels", "Labels of the pods."),
        ],
        print: Printer::Fixed(print),
        counts_generations: true,
        ..stored(schema, CORE, "io.k8s.api.core.v1.PodTemplate", Scope::Namespaced, TemplateStrategy)
    }
}

fn print(object: &Object, _: Timestamp) -> Row {
    let [containers, images] = TEMPLATE.cells(object);
    let labels = cells::string_map(object, &["template", "metadata", "labels"]);
    cells::row([object.name().into(), containers, images, cells::labels(&labels).into()])
}

/// What is special about templates of pods.
struct TemplateStrategy;

impl Strategy for TemplateStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Object) {
        object_mut(object.as_map_mut(), "template");
        TEMPLATE.default(object);
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        TEMPLATE.drop_disabled(object, None);
    }

    fn prepare_update(&self, _: Context<'_>, new: &mut Object, old: &Object) {
        TEMPLATE.drop_disabled(new, Some(old));
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        TEMPLATE.validate(object)
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some_and(|old| TEMPLATE.get(old) == TEMPLATE.get(new)) {
            return Vec::new();
        }
        TEMPLATE.warnings(new)
    }
}
