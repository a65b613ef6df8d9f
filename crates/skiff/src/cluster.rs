//! The one function that assembles a cluster from its parts, in the order in which they start.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::ServerArgs;
use crate::layout::Layout;
use crate::progress::{Progress, Report};
use crate::{addons, daemon, preflight, ready, server};

/// What a cluster is started with.
pub(crate) struct Settings {
    args: ServerArgs,
    layout: Layout,
    node_name: String,
}
