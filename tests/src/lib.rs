//! Whole clusters for tests, driven from outside by the programs that users have.
//!
//! A [`Cluster`] lives on a [`Host`]: network, mount and process namespaces of its own, with nothing but
//! loopback, so no packet can leave the machine. The namespaces end with the test, however it ends, and with
//! them every process and mount; nothing has to be found and removed afterwards.
//!
//! `./dev test` builds what the tests run and names it in `SKIFF_TEST_*` variables.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "test support: a panic is a failed test")]

mod cluster;
mod dice;
mod host;
mod kms;
pub mod oracle;
mod output;
pub mod registry;
mod terminal;

pub use cluster::{Cluster, Kubectl, poster};
pub use dice::{Dice, setting};
pub use host::{Host, program};
pub use kms::KmsPlugin;
pub use output::Output;
pub use terminal::Terminal;
