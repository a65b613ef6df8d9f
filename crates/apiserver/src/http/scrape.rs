//! The text of `/metrics`: what is counted in this process, and what is looked at when somebody asks.

use skiff_exposition::{Kind, Text};
use skiff_machinery::{Namespace, Persistence, keys};
use skiff_registry::Offer as _;
use skiff_store::Range;

use super::metrics::FAMILIES;
use crate::shared::Shared;

/// The text of `/metrics`.
pub(crate) fn text(server: &Shared) -> String {
    let audit = server.audit.as_ref().map(|audit| audit.metrics()).unwrap_or_default();
    let mut looked_at = Text::default();
    stored(server, &mut looked_at);
    build(server, &mut looked_at);
    [
        skiff_exposition::text(FAMILIES),
        looked_at.into_string(),
        skiff_exposition::process(),
        skiff_exposition::text(skiff_admission::METRICS),
        skiff_exposition::text(skiff_store::METRICS),
        server.priority.fairness.metrics(),
        server.aggregation.metrics(),
        server.reloads.borrow().metrics(),
        audit,
        (server.more_metrics)(),
    ]
    .concat()
}

/// What there is in the store.
fn stored(server: &Shared, text: &mut Text) {
    let catalogue = server.offers.catalogue();
    let kinds = catalogue.iter().filter(|kind| kind.persistence == Persistence::Stored);
    let mut counts: Vec<(String, String, usize, usize)> = kinds
        .filter_map(|kind| {
            let prefix = keys::collection(kind, Namespace::new(""));
            let extent = server.store.extent(Range::from(prefix.as_str()));
            let (group, plural) = prefix.strip_prefix("/registry/")?.trim_end_matches('/').split_once('/')?;
            let group = if group == "core" { "" } else { group };
            Some((group.to_owned(), plural.to_owned(), extent.count, extent.count * extent.average))
        })
        .collect();
    // What several versions show is stored once.
    skiff_ordered::sort_by(&mut counts, Ord::cmp);
    counts.dedup();
    let of = |value: fn(&(String, String, usize, usize)) -> usize| {
        counts.iter().map(move |count| ([("group", &*count.0), ("resource", &*count.1)], value(count)))
    };
    text.family(("apiserver_resource_objects", Kind::Gauge, "Stored objects."), of(|count| count.2));
    let estimated =
        ("apiserver_resource_size_estimate_bytes", Kind::Gauge, "About how many bytes they have.");
    text.family(estimated, of(|count| count.3));
    let before =
        ("apiserver_storage_objects", Kind::Gauge, "Stored objects, by the name that this had before.");
    let named = counts.iter().map(|(group, resource, count, _)| {
        (if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") }, *count)
    });
    let named: Vec<(String, usize)> = named.collect();
    text.family(before, named.iter().map(|(name, count)| ([("resource", name.as_str())], *count)));
    if let Some(bytes) = server.store.size() {
        let size = ("apiserver_storage_size_bytes", Kind::Gauge, "Bytes of the store's file.");
        text.family(size, [([("storage_cluster_id", "etcd-0")], bytes)]);
    }
    let revision = ("skiff_store_revision", Kind::Gauge, "The newest revision of the store.");
    text.family(revision, [([] as [(&str, &str); 0], server.store.revision())]);
}

/// What the program is.
fn build(server: &Shared, text: &mut Text) {
    let version = server.offers.version();
    let word = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
    let names = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ];
    let values = names.map(|(_, member)| word(member));
    let labels = std::array::from_fn(|index| (names[index].0, values[index].as_str()));
    text.family::<_, 9>(
        ("kubernetes_build_info", Kind::Gauge, "What the program is; always 1."),
        [(labels, 1)],
    );
}
