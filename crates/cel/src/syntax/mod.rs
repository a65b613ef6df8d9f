//! Text to tree.

pub(crate) mod ast;
mod lexer;
mod macros;
mod parser;
mod unescape;

pub(crate) use parser::{Parsed, parse};
