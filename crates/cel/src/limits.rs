//! The bounds of expressions, and Kubernetes' limits of their cost.

/// Code points of an expression.
pub const EXPRESSION_SIZE: usize = 100_000;
/// How deeply expressions may be nested.
pub const RECURSION: u16 = 250;
/// Nodes of an expression after its macros are expanded; only chains of `optMap` come near it, which double
/// what they are called on.
pub const NODES: usize = 300_000;

/// Cost that one evaluation of one expression may have.
pub const PER_CALL: u64 = 1_000_000;
/// Cost that all expressions of one object's schema, or of one policy binding, may have together.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// Cost that the match conditions of one webhook or policy binding may have together.
pub const RUNTIME_BUDGET_MATCH_CONDITIONS: u64 = 2_500_000;
/// Bytes of the largest request, from which the size of unbounded values is estimated.
pub const REQUEST_SIZE: u64 = 3 * 1024 * 1024;
/// Bytes of the longest message that an expression may make.
pub const MESSAGE_SIZE: usize = 5 * 1024;
