//! What the targets share: a kind chosen by the first line, and a second part after a zero byte.

use std::sync::{Arc, LazyLock};

use skiff_machinery::{Catalogue, ClusterFacts, Context, Kind, NodePorts, Requester};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(skiff_kinds::builtin);
static CLUSTER: LazyLock<ClusterFacts> =
    LazyLock::new(|| ClusterFacts { domain: "cluster.local".to_owned(), node_ports: NodePorts::USUAL });

/// Takes the first line as the name of a kind; one that is none stands for some kind, too, so that a mutation of it
/// leads to another kind.
pub fn kind(data: &[u8]) -> Option<(&'static Arc<Kind>, &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let (name, rest) = (&data[..end], &data[end + 1..]);
    let named = CATALOGUE.iter().find(|kind| kind.names.kind.as_bytes() == name);
    let some = || {
        CATALOGUE
            .iter()
            .nth(name.iter().map(|byte| usize::from(*byte)).sum::<usize>() % CATALOGUE.iter().count())
    };
    named.or_else(some).map(|kind| (kind, rest))
}

/// Splits at the first zero byte.
pub fn halves(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let middle = data.iter().position(|byte| *byte == 0)?;
    Some((&data[..middle], &data[middle + 1..]))
}

/// What strategies may know.
pub fn context() -> Context<'static> {
    Context { now: jiff::Timestamp::UNIX_EPOCH, cluster: &CLUSTER, requester: Requester::nobody() }
}
