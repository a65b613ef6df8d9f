//! What commands print: tables, objects in the formats that `--output` names, and what has happened to objects.

pub(crate) mod columns;
pub(crate) mod jsonpath;
pub(crate) mod objects;
pub(crate) mod server_table;
pub(crate) mod yaml;

pub(crate) use objects::{Change, DryRun, Format};
