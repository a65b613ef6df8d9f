//! Where a row starts: what most kinds have, for each to refine.

use std::borrow::Cow;
use std::sync::Arc;

use skiff_machinery::{
    GroupVersion, Kind, Names, Persistence, Printer, Scope, Strategy, Verb, Versions, cells, scale,
};
use skiff_schema::Schema;

/// A stored kind with Name and Age columns, for a row constructor to refine. The kind's name is the last
/// segment of its definition's; the plural is the lower-cased name with an `s`, unless set otherwise.
pub(crate) fn stored(
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
            list: None,
        },
        scope,
        verbs: Verb::ALL,
        persistence: Persistence::Stored,
        subresources: Vec::new().into(),
        scale: scale::Paths::default(),
        root,
        counts_generations: false,
        columns: vec![cells::name_column(), cells::age_column()],
        print: Printer::Fixed(cells::name_and_age),
        selectable: Vec::new().into(),
        deprecation: None,
        versions: Versions::default(),
        edition: String::new(),
        strategy: Arc::new(strategy),
    }
}

/// A kind that is answered and forgotten.
pub(crate) fn transient(
    schema: &Arc<Schema>,
    gv: GroupVersion,
    definition: &'static str,
    scope: Scope,
) -> Kind {
    let row = stored(schema, gv, definition, scope, Plain);
    Kind { verbs: &[Verb::Create], persistence: Persistence::Transient, ..row }
}

/// A strategy for kinds that need nothing of their own.
pub(crate) struct Plain;

impl Strategy for Plain {}
