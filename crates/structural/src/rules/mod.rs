//! What a schema in a definition may say.

mod complete;
mod defaults;
mod expressions;
mod lists;
mod openapi;
mod root;
mod structure;

use skiff_machinery::{FieldError, FieldErrors};

use crate::meta::ObjectMeta;
use crate::model::Structural;
use crate::path::Path;

/// What a definition says besides its schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// Whether a version with this schema has the subresource `status`.
    pub has_status: bool,
    /// Whether the definition had the same schema before: expressions may then cost more than new ones may.
    pub is_unchanged: bool,
}

/// Checks a schema at `path`, e.g. `spec.versions[0].schema.openAPIV3Schema`.
///
/// Sources: the structural rules (KEP-1979), what OpenAPI schemas of definitions may not have, defaults that are valid
/// and known to their own schema.
pub fn check(schema: &Structural, path: &str, definition: Definition, meta: &ObjectMeta) -> FieldErrors {
    let path = Path::Root(path);
    let mut errors = root::check(schema, &path, definition);
    let unsupported = first_unsupported(schema);
    let mut is_sound = unsupported.is_none();
    if is_sound {
        let found = structure::check(schema, &path);
        let found = if found.is_empty() { defaults::check(schema, &path, meta) } else { found };
        // Expressions are only compiled for schemas that can be types.
        is_sound = found.is_empty();
        errors.extend(found);
    }
    let mut expressions = expressions::Expressions::new(definition.is_unchanged);
    errors.extend(openapi::check(schema, &path, is_sound.then_some(&mut expressions)));
    errors.extend(expressions.into_errors());
    if let Some(name) = unsupported.filter(|_| errors.is_empty()) {
        let detail = format!("OpenAPIV3Schema '{name}' is not supported");
        errors.push(FieldError::invalid(path, "", detail));
    }
    errors
}

/// The first field anywhere that has no place in a structural schema.
fn first_unsupported(schema: &Structural) -> Option<&'static str> {
    let unsupported = schema.extras.as_deref().map(|extras| &extras.unsupported);
    let own = unsupported.and_then(|found| {
        [
            (found.id, "id"),
            (found.schema, "schema"),
            (found.reference.as_ref().is_some_and(|text| !text.is_empty()), "$ref"),
            (found.pattern_properties, "patternProperties"),
            (found.dependencies.as_ref().is_some_and(|map| !map.is_empty()), "dependencies"),
            (found.additional_items, "additionalItems"),
            (!found.definitions.is_empty(), "definitions"),
            (!found.items.is_empty(), "items"),
            (found.preserve_false, "x-kubernetes-preserve-unknown-fields"),
        ]
        .into_iter()
        .find_map(|(found, name)| found.then_some(name))
    });
    own.or_else(|| schema.children().find_map(first_unsupported))
}

impl Structural {
    /// All schemas right below this one.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Self> {
        let checks = self.checks();
        let nested = checks.all_of.iter().chain(&checks.any_of).chain(&checks.one_of).chain(&checks.not);
        let own = self.items.iter().chain(self.properties.values()).chain(self.additional.schema());
        own.chain(nested).map(|schema| &**schema)
    }
}
