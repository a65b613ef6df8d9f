//! The arithmetic of handing out addresses and node ports.
//!
//! A range is split in two bands: numbers chosen by the server come from the upper one, so that the lower
//! one stays free for people who choose themselves; only a full upper band makes the server use the lower.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use skiff_machinery::NodePorts;

/// The numbers of one range, `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bands {
    first: u128,
    /// Where the band for the server's own choice starts; `first` when the range is too small for two.
    dynamic: u128,
    last: u128,
}

impl Bands {
    /// The assignable addresses of a range: neither the network address nor the IPv4 broadcast address.
    /// Nothing when there is none.
    pub(super) fn of_cidr(range: IpNet) -> Option<Self> {
        let (network, end) = (number(range.network()), number(range.broadcast()));
        // The very last number of all is left out, so that there is one after each.
        let last = end.min(u128::MAX - 1).checked_sub(range.network().is_ipv4().into())?;
        Self::new(network + 1, last, offset((end - network).saturating_add(1), 16, 256))
    }

    /// Node ports.
    pub(super) fn of_node_ports(ports: NodePorts) -> Option<Self> {
        let (first, last) = (ports.first.number().into(), ports.last.number().into());
        let size = u128::checked_sub(last, first)? + 1;
        Self::new(first, last, offset(size, 32, 128))
    }

    fn new(first: u128, last: u128, offset: u128) -> Option<Self> {
        (first <= last).then_some(Self { first, dynamic: first + offset, last })
    }

    /// Whether a number lies in the range.
    pub(super) fn contains(self, number: u128) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// The first free number after a random start, in the upper band or, when that is full, in the lower.
    /// `pick(n)` gives a random number below `n`.
    pub(super) fn find(
        self,
        mut pick: impl FnMut(u64) -> u64,
        mut is_free: impl FnMut(u128) -> bool,
    ) -> Option<u128> {
        let mut walk = |first: u128, end: u128| {
            let size = end.checked_sub(first).filter(|size| *size > 0)?;
            let start = u128::from(pick(u64::try_from(size).unwrap_or(u64::MAX)));
            (0..size).map(|step| first + (start + step) % size).find(|number| is_free(*number))
        };
        walk(self.dynamic, self.last + 1).or_else(|| walk(self.first, self.dynamic))
    }
}

/// How many numbers are kept for people: `size / step`, within `16..=most`, and none of a tiny range.
fn offset(size: u128, step: u128, most: u128) -> u128 {
    const LEAST: u128 = 16;
    if size <= LEAST { 0 } else { (size / step).clamp(LEAST, most) }
}

/// An address as a number.
pub(super) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The address of a number, in the family of `like`.
pub(super) fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        // Numbers come from `Bands::of_cidr` of the same family, so they fit.
        IpAddr::V4(_) => u32::try_from(number).map_or(like, |bits| IpAddr::V4(bits.into())),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bands(cidr: &str) -> (IpAddr, Bands) {
        let cidr: IpNet = cidr.parse().unwrap();
        (cidr.addr(), Bands::of_cidr(cidr).unwrap())
    }

    #[test]
    fn dynamic_addresses_start_after_the_reserved_ones() {
        let check = |cidr: &str, first: &str| {
            let (like, bands) = bands(cidr);
            let found = bands.find(|_| 0, |_| true).map(|number| address(number, like));
            assert_eq!(found, Some(first.parse().unwrap()), "{cidr}");
        };
        check("10.96.0.0/12", "10.96.1.1");
        check("10.0.0.0/24", "10.0.0.17");
        check("10.0.0.0/20", "10.0.1.1");
        check("10.0.0.0/28", "10.0.0.1");
        check("fd00::/108", "fd00::101");
        check("fd00::/64", "fd00::101");
        check("ffff::/16", "ffff::101");
        check("::/0", "::101");
    }

    #[test]
    fn network_and_broadcast_are_never_given() {
        let (like, bands) = bands("10.0.0.0/29");
        let mut given = Vec::new();
        while let Some(number) = bands.find(|bound| bound - 1, |number| !given.contains(&number)) {
            given.push(number);
        }
        given.sort_unstable();
        let last_octets: Vec<u128> = given.iter().map(|n| n - number(like)).collect();
        assert_eq!(last_octets, [1, 2, 3, 4, 5, 6]);
        assert!(!bands.contains(number(like)));
        assert!(!bands.contains(number(like) + 7));
    }

    #[test]
    fn ranges_without_assignable_addresses() {
        for cidr in ["10.0.0.0/32", "10.0.0.0/31"] {
            assert_eq!(Bands::of_cidr(cidr.parse().unwrap()), None, "{cidr}");
        }
    }

    #[test]
    fn falls_back_to_the_lower_band() {
        let (like, bands) = bands("10.0.0.0/24");
        let reserved = |taken: u128| taken - number(like) <= 16;
        let found = bands.find(|_| 3, reserved).map(|number| address(number, like));
        assert_eq!(found, Some("10.0.0.4".parse().unwrap()));
        assert_eq!(bands.find(|_| 3, |_| false), None);
    }

    #[test]
    fn node_ports_above_the_reserved_ones_first() {
        let bands = Bands::of_node_ports(NodePorts::USUAL).unwrap();
        assert_eq!(bands.find(|_| 0, |_| true), Some(30086));
        assert_eq!(bands.find(|bound| bound - 1, |_| true), Some(32767));
        assert_eq!(bands.find(|_| 0, |port| port < 30086), Some(30000));
    }
}
