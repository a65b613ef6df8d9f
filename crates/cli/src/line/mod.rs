//! The command line: a table of commands from which words are parsed and help is written.

pub(crate) mod command;
pub(crate) mod duration;
pub(crate) mod flag;
pub(crate) mod given;
pub(crate) mod help;
mod parse;

pub(crate) use command::Command;
pub(crate) use flag::Flag;
pub(crate) use given::Given;
pub(crate) use parse::{Parsed, parse};
