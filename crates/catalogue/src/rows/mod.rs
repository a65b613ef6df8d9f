//! The built-in kinds: one file per kind or family, each with its row, strategy and printer.

pub(crate) mod cells;
mod check;
mod config_map;
mod custom_resource_definition;
mod defaults;
mod endpoint_slice;
mod endpoints;
mod event;
mod ip_address;
mod keys;
mod lease;
mod namespace;
mod node;
mod pod;
mod rbac;
mod replication_controller;
mod reviews;
mod secret;
mod service;
mod service_account;
mod service_cidr;
#[cfg(test)]
mod testing;

use std::borrow::Cow;
use std::sync::Arc;

use skiff_schema::Schema;

use crate::{GroupVersion, Kind, Names, Persistence, Scope, Strategy, Subresource, Verb};

/// The core group's only version.
const CORE: GroupVersion = GroupVersion::fixed("", "v1");

/// Every built-in kind in discovery order: groups by Kubernetes' priorities, plural names alphabetically.
pub(crate) fn builtin(schema: &Arc<Schema>) -> Vec<Kind> {
    let mut kinds = vec![
        config_map::row(schema),
        endpoints::row(schema),
        event::row(schema),
        namespace::row(schema),
        node::row(schema),
        pod::row(schema),
        replication_controller::row(schema),
        secret::row(schema),
        service_account::row(schema),
        service::row(schema),
    ];
    kinds.extend(reviews::rows(schema));
    kinds.extend([ip_address::row(schema), service_cidr::row(schema)]);
    kinds.extend(rbac::rows(schema));
    kinds.extend([custom_resource_definition::row(schema), lease::row(schema), endpoint_slice::row(schema)]);
    kinds
}

/// A stored kind with Name and Age columns, for a row constructor to refine. The kind's name is the last
/// segment of its definition's; the plural is the lower-cased name with an `s`, unless set otherwise.
fn stored(
    schema: &Arc<Schema>,
    gv: GroupVersion,
    definition: &'static str,
    scope: Scope,
    strategy: impl Strategy,
) -> Kind {
    let root = schema.root(definition).unwrap_or_else(|| panic!("the schema of Kubernetes has {definition}"));
    let kind = definition.rsplit('.').next().unwrap_or(definition);
    let singular = kind.to_lowercase();
    Kind {
        gv,
        names: Names {
            kind: Cow::Borrowed(kind),
            plural: Cow::Owned(format!("{singular}s")),
            singular: Cow::Owned(singular),
            short: Vec::new(),
            categories: Vec::new(),
        },
        scope,
        verbs: Verb::ALL,
        persistence: Persistence::Stored,
        subresources: &[],
        root,
        counts_generations: false,
        columns: vec![cells::name_column(), cells::age_column()],
        print: cells::name_and_age,
        selectable: &[],
        deprecation: None,
        strategy: Arc::new(strategy),
    }
}

/// A kind that is answered and forgotten.
fn transient(
    schema: &Arc<Schema>,
    gv: GroupVersion,
    definition: &'static str,
    scope: Scope,
    strategy: impl Strategy,
) -> Kind {
    let row = stored(schema, gv, definition, scope, strategy);
    Kind { verbs: &[Verb::Create], persistence: Persistence::Transient, ..row }
}

impl Kind {
    /// With these short names.
    fn short(mut self, names: &[&'static str]) -> Self {
        self.names.short = names.iter().map(|name| Cow::Borrowed(*name)).collect();
        self
    }

    /// With this plural name instead of the regular one.
    fn plural(mut self, plural: &'static str) -> Self {
        self.names.plural = Cow::Borrowed(plural);
        self
    }

    /// As a member of the category `all`.
    fn in_all(mut self) -> Self {
        self.names.categories.push(Cow::Borrowed("all"));
        self
    }

    /// With these subresources.
    fn below(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = subresources;
        self
    }
}

/// A strategy for kinds that need nothing of their own.
struct Plain;

impl Strategy for Plain {}
