//! Ports of the nodes that lead to Services.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A port of every node that leads to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodePort(u16);

impl NodePort {
    /// The port of a number; none if no port has it.
    pub fn of(number: i64) -> Option<Self> {
        u16::try_from(number).ok().filter(|number| *number != 0).map(Self)
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for NodePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodePort {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

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
    pub const USUAL: Self = Self { first: NodePort(30_000), last: NodePort(32_767) };

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
    fn only_numbers_of_ports_are_ports() {
        let check = |number: i64, expected: Option<&str>| {
            assert_eq!(NodePort::of(number).map(|port| port.to_string()).as_deref(), expected);
        };
        check(30_000, Some("30000"));
        for none in [0, -1, 65_536] {
            check(none, None);
        }
        let is_usual = |number| NodePort::of(number).is_some_and(|port| NodePorts::USUAL.contains(port));
        assert!(is_usual(30_000) && is_usual(32_767) && !is_usual(29_999) && !is_usual(32_768));
        assert_eq!(NodePorts::USUAL.to_string(), "30000-32767");
    }
}
