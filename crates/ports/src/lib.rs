//! Ports, each of whom it belongs to. None is 0: a number becomes a port once, where it is read, and is never checked again.

mod node_ports;

use std::fmt;
use std::num::{NonZeroU16, ParseIntError};
use std::str::FromStr;

pub use node_ports::NodePorts;

macro_rules! port {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(NonZeroU16);

        impl $name {
            /// The port of a number; none if no port has it.
            pub fn of(number: impl Into<i64>) -> Option<Self> {
                u16::try_from(number.into()).ok().and_then(NonZeroU16::new).map(Self)
            }

            /// Its number.
            pub fn number(self) -> u16 {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }
    };
}

port! {
    /// The port of a Service at its own addresses, those of the cluster and those from outside.
    VirtualPort
}

port! {
    /// A port of the node, which leads to a Service or to a pod.
    NodePort
}

port! {
    /// A port at which a pod or another endpoint listens.
    TargetPort
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_ports_are_ports() {
        let check = |number: i64, expected: Option<&str>| {
            assert_eq!(TargetPort::of(number).map(|port| port.to_string()).as_deref(), expected);
        };
        check(1, Some("1"));
        check(65_535, Some("65535"));
        for none in [0, -1, 65_536] {
            check(none, None);
        }
        assert_eq!("80".parse::<NodePort>().ok(), NodePort::of(80));
        assert!("0".parse::<NodePort>().is_err() && "web".parse::<NodePort>().is_err());
    }
}
