//! The life of a pod on this node.
//!
//! The pure core: [`observed`] (what is known), [`step`] (what to do), [`status`] (what to report). The edge:
//! [`worker`] (one task per pod UID), [`steps`] (carries out steps) and [`publish`] (writes the status).

pub(crate) mod admission;
pub(crate) mod adopt;
pub(crate) mod conditions;
pub(crate) mod finish;
pub(crate) mod handler;
pub(crate) mod hooks;
mod kept;
pub(crate) mod ledger;
pub(crate) mod local;
pub(crate) mod manager;
pub(crate) mod observed;
pub(crate) mod probing;
pub(crate) mod publish;
mod pull;
mod resize;
mod resizing;
mod resources;
pub(crate) mod sandbox;
pub(crate) mod sizes;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod step;
#[cfg(test)]
mod step_tests;
pub(crate) mod steps;
mod storage;
pub(crate) mod tasks;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod transition;
pub(crate) mod views;
pub(crate) mod worker;
