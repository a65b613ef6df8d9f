//! What a plan is: a tree of nodes that can be evaluated.

use std::sync::Arc;

use regex::Regex;

use crate::library::Function;
use crate::value::{Key, Value};

/// A node.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Value<'static>),
    Attribute(Box<Attribute>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    NotStrictlyFalse(Box<Node>),
    Equal(Box<[Node; 2]>),
    NotEqual(Box<[Node; 2]>),
    /// `or` (`unwrap` false) or `orValue`.
    OptionalOr {
        sides: Box<[Node; 2]>,
        unwrap: bool,
    },
    /// `x in [constants]`
    Member {
        value: Box<Node>,
        set: Constants,
    },
    Matches {
        call: Box<CallNode>,
        regex: Regex,
    },
    Call(Box<CallNode>),
    /// What a loop has gathered, and one element more.
    Append {
        place: usize,
        element: Box<Node>,
        constant: bool,
    },
    /// What a loop has gathered, and one entry more.
    Insert {
        place: usize,
        key: Box<Node>,
        value: Box<Node>,
    },
    List(Vec<Part>),
    Map(Vec<(Node, Part)>),
    Struct {
        name: Arc<str>,
        fields: Vec<(String, Part)>,
    },
    Fold(Box<Fold>),
}

/// The elements of a constant list.
#[derive(Debug)]
pub(super) struct Constants(pub(super) std::collections::BTreeSet<Key>);

/// An element, entry or field that may be left out.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) value: Node,
    pub(super) optional: bool,
}

/// A call of a function.
#[derive(Debug)]
pub(super) struct CallNode {
    pub(super) function: Called,
    /// When only one overload can be called.
    pub(super) overload: Option<usize>,
    /// The target first.
    pub(super) args: Vec<Node>,
    pub(super) member: bool,
    /// The first argument that fails ends the call; unless it is the last, the call then costs nothing.
    pub(super) eager: bool,
}

/// A function of the libraries.
#[derive(Clone, Copy)]
pub(super) struct Called(pub(super) &'static Function);

impl std::fmt::Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// A value and what is selected from it.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) root: Root,
    pub(super) qualifiers: Vec<Qualifier>,
    /// Only whether the last qualifier finds something is asked.
    pub(super) test: bool,
}

#[derive(Debug)]
pub(super) enum Root {
    /// A variable of the environment.
    Variable(String),
    /// A variable of a loop, by its place.
    Local(usize),
    Value(Node),
    /// Evaluating a branch that is an attribute costs nothing but its qualifiers.
    Conditional {
        condition: Node,
        branches: Box<[Branch; 2]>,
    },
}

#[derive(Debug)]
pub(super) enum Branch {
    Attribute(Attribute),
    Node(Node),
}

#[derive(Debug)]
pub(super) struct Qualifier {
    pub(super) key: QualifierKey,
    pub(super) optional: bool,
}

#[derive(Debug)]
pub(super) enum QualifierKey {
    Constant(Value<'static>),
    /// The root of this costs nothing.
    Attribute(Attribute),
    Computed(Node),
}

/// A loop.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) range: Node,
    /// Where the variables are: what is gathered, then one or two of the loop.
    pub(super) base: usize,
    pub(super) two: bool,
    pub(super) init: Node,
    pub(super) condition: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}
