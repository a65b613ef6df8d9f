//! Which of the names that a definition asks for it gets: those that no other one of its group has.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};
use skiff_ordered::Ordered as _;

/// The names that a definition has, and what stands in the way of the rest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Accepted {
    pub(super) names: CustomResourceDefinitionNames,
    pub(super) conflict: Option<Conflict>,
}

/// Why a definition does not get all of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Names in use in a group.
struct Used<'o> {
    resources: BTreeSet<&'o str>,
    kinds: BTreeSet<&'o str>,
}

pub(super) fn accept<'o>(
    definition: &CustomResourceDefinition,
    others: impl Iterator<Item = &'o CustomResourceDefinition>,
) -> Accepted {
    let used = Used::by(others.filter(|other| other.spec.group == definition.spec.group));
    let wanted = &definition.spec.names;
    let mut names =
        definition.status.as_ref().and_then(|status| status.accepted_names.clone()).unwrap_or_default();
    let mut conflict = None;
    let mut refuse = |reason, message: String| conflict = Some(Conflict { reason, message });

    match free(&used.resources, &wanted.plural, &names.plural) {
        Ok(()) => names.plural.clone_from(&wanted.plural),
        Err(message) => refuse("PluralConflict", message),
    }
    let singular = wanted.singular.as_deref().unwrap_or_default();
    match free(&used.resources, singular, names.singular.as_deref().unwrap_or_default()) {
        Ok(()) => names.singular.clone_from(&wanted.singular),
        Err(message) => refuse("SingularConflict", message),
    }
    let known = names.short_names.clone().unwrap_or_default();
    let short = wanted.short_names.iter().flatten().filter(|name| !known.contains(name));
    let taken: Vec<String> =
        short.filter_map(|name| free(&used.resources, name, "").err()).to_set().into_iter().collect();
    match taken.as_slice() {
        [] => names.short_names.clone_from(&wanted.short_names),
        [one] => refuse("ShortNamesConflict", one.clone()),
        many => refuse("ShortNamesConflict", format!("[{}]", many.join(", "))),
    }
    match free(&used.kinds, &wanted.kind, &names.kind) {
        Ok(()) => names.kind.clone_from(&wanted.kind),
        Err(message) => refuse("KindConflict", message),
    }
    let list = wanted.list_kind.as_deref().unwrap_or_default();
    match free(&used.kinds, list, names.list_kind.as_deref().unwrap_or_default()) {
        Ok(()) => names.list_kind.clone_from(&wanted.list_kind),
        Err(message) => refuse("ListKindConflict", message),
    }
    names.categories.clone_from(&wanted.categories);
    Accepted { names, conflict }
}

impl<'o> Used<'o> {
    fn by(others: impl Iterator<Item = &'o CustomResourceDefinition>) -> Self {
        let mut used = Self { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        for names in others.filter_map(|other| other.status.as_ref()?.accepted_names.as_ref()) {
            used.resources.insert(&names.plural);
            used.resources.extend(names.singular.as_deref());
            used.resources.extend(names.short_names.iter().flatten().map(String::as_str));
            used.kinds.insert(&names.kind);
            used.kinds.extend(names.list_kind.as_deref());
        }
        used
    }
}

/// Whether a name is had already, or free.
fn free(used: &BTreeSet<&str>, wanted: &str, had: &str) -> Result<(), String> {
    if wanted == had || !used.contains(wanted) {
        Ok(())
    } else {
        Err(format!("{wanted:?} is already in use"))
    }
}
