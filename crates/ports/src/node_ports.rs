//! The ports of the nodes that lead to Services.

use std::fmt;
use std::num::NonZeroU16;

use crate::NodePort;

/// The node ports that Services get, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// The first of them.
    pub first: NodePort,
    /// The last of them.
    pub last: NodePort,
}

impl NodePorts {
    /// Those that Services get where nobody says otherwise.
    pub const USUAL: Self = {
        let (first, last) = (NonZeroU16::new(30_000), NonZeroU16::new(32_767));
        Self { first: NodePort(first.expect("it is not 0")), last: NodePort(last.expect("it is not 0")) }
    };

    /// Whether a port is one of them.
    pub fn contains(self, port: NodePort) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl fmt::Display for NodePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_among_them() {
        let is_usual = |number| NodePort::of(number).is_some_and(|port| NodePorts::USUAL.contains(port));
        assert!(is_usual(30_000) && is_usual(32_767) && !is_usual(29_999) && !is_usual(32_768));
        assert_eq!(NodePorts::USUAL.to_string(), "30000-32767");
    }
}
