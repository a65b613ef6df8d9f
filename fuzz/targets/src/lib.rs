//! The decoders of what strangers send, as functions of bytes, for those that make such bytes up: the fuzzer in `..`, whose code is
//! instrumented, and `tests/made_up.rs`, for which the tests are built anyway.
#![allow(clippy::expect_used, reason = "a broken promise is a find")]

use std::sync::{Arc, LazyLock};

use skiff_machinery::{Catalogue, ClusterFacts, Context, Kind, NodePorts, Requester};

mod aggregation;
mod apply;
mod cel;
mod dns;
mod images;
mod issuers;
mod netlink;
mod objects;
mod patches;
mod paths;
mod protobuf;
mod pullsecrets;
mod requests;
mod schemas;
mod spdy;
mod store;
mod tar;
mod tokens;
mod websocket;
mod words;
mod yaml;

/// A decoder with all that may be done to what it has read; a find is a panic or a hang.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As its seeds' directory is called.
    pub name: &'static str,
    /// Decodes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "aggregation", run: aggregation::run },
    Target { name: "apply", run: apply::run },
    Target { name: "cel", run: cel::run },
    Target { name: "dns", run: dns::run },
    Target { name: "images", run: images::run },
    Target { name: "issuers", run: issuers::run },
    Target { name: "netlink", run: netlink::run },
    Target { name: "objects", run: objects::run },
    Target { name: "patches", run: patches::run },
    Target { name: "paths", run: paths::run },
    Target { name: "protobuf", run: protobuf::run },
    Target { name: "pullsecrets", run: pullsecrets::run },
    Target { name: "requests", run: requests::run },
    Target { name: "schemas", run: schemas::run },
    Target { name: "spdy", run: spdy::run },
    Target { name: "store", run: store::run },
    Target { name: "tar", run: tar::run },
    Target { name: "tokens", run: tokens::run },
    Target { name: "websocket", run: websocket::run },
    Target { name: "words", run: words::run },
    Target { name: "yaml", run: yaml::run },
];

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(skiff_kinds::builtin);
static CLUSTER: LazyLock<ClusterFacts> =
    LazyLock::new(|| ClusterFacts { domain: "cluster.local".to_owned(), node_ports: NodePorts::USUAL });

/// Takes the first line as the name of a kind; one that is none stands for some kind, too, so that a mutation of it
/// leads to another kind.
pub(crate) fn kind(data: &[u8]) -> Option<(&'static Arc<Kind>, &[u8])> {
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
pub(crate) fn halves(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let middle = data.iter().position(|byte| *byte == 0)?;
    Some((&data[..middle], &data[middle + 1..]))
}

/// What strategies may know.
pub(crate) fn context() -> Context<'static> {
    Context { now: jiff::Timestamp::UNIX_EPOCH, cluster: &CLUSTER, requester: Requester::nobody() }
}

/// Bytes as text, up to the first that is none.
pub(crate) fn text(data: &[u8]) -> &str {
    match std::str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&data[..error.valid_up_to()]).unwrap_or_default(),
    }
}
