//! The one pipeline: decode → default → admit → validate → store, for every kind. [`run`] is its entrance; a watch begins in
//! [`watch`].

pub(crate) mod allocate;
pub(crate) mod applied;
mod at_once;
pub(crate) mod call;
pub mod codec;
pub(crate) mod create;
pub(crate) mod decode;
pub(crate) mod delete;
pub(crate) mod labels;
pub(crate) mod list;
pub(crate) mod made;
pub(crate) mod metadata;
pub(crate) mod metadata_checks;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod paging;
pub(crate) mod patch;
pub(crate) mod problems;
pub(crate) mod recent;
pub(crate) mod run;
pub(crate) mod select;
pub(crate) mod terms;
pub(crate) mod told;
pub(crate) mod transient;
pub(crate) mod update;
pub(crate) mod versions;
pub(crate) mod watch;
mod withdrawal;
pub(crate) mod yaml;
