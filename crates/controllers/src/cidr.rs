//! IP address ranges.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses in CIDR notation; host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cidr {
    /// The first address as a number; an IPv4 address in its low 32 bits.
    first: u128,
    prefix: u8,
    v6: bool,
}

/// Text that is not a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address range in CIDR notation")]
pub(crate) struct NotACidr;

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

impl Cidr {
    fn width(self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    /// The number of host bits.
    fn host_bits(self) -> u8 {
        self.width() - self.prefix
    }

    /// Whether the range contains `address`.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let differ = self.first ^ number(address);
        address.is_ipv6() == self.v6 && differ.checked_shr(self.host_bits().into()).unwrap_or(0) == 0
    }

    /// The parts of length `prefix`, lowest first; none if `prefix` is shorter than the range's own or too long.
    pub(crate) fn parts(self, prefix: u8) -> impl Iterator<Item = Cidr> {
        let fits = (self.prefix..=self.width()).contains(&prefix);
        let bits = if fits { prefix - self.prefix } else { 0 };
        let count = if fits { 1_u128.checked_shl(bits.into()).unwrap_or(u128::MAX) } else { 0 };
        let step = 1_u128.checked_shl((self.width().saturating_sub(prefix)).into()).unwrap_or(0);
        (0..count).map(move |index| Cidr { first: self.first + index * step, prefix, v6: self.v6 })
    }

    /// Whether the two ranges have an address in common.
    pub(crate) fn overlaps(self, other: Cidr) -> bool {
        let bits = self.host_bits().max(other.host_bits());
        self.v6 == other.v6 && (self.first ^ other.first).checked_shr(bits.into()).unwrap_or(0) == 0
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let (address, prefix) = text.split_once('/').ok_or(NotACidr)?;
        let address: IpAddr = address.parse().map_err(|_| NotACidr)?;
        let prefix: u8 = prefix.parse().map_err(|_| NotACidr)?;
        let range = Cidr { first: number(address), prefix, v6: address.is_ipv6() };
        if prefix > range.width() {
            return Err(NotACidr);
        }
        let bits = u32::from(range.host_bits());
        let first = range.first.checked_shr(bits).unwrap_or(0).checked_shl(bits).unwrap_or(0);
        Ok(Cidr { first, ..range })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = if self.v6 {
            IpAddr::V6(self.first.into())
        } else {
            // Only the low 32 bits of an IPv4 range are ever set.
            IpAddr::V4(u32::try_from(self.first).unwrap_or(u32::MAX).into())
        };
        write!(f, "{address}/{}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_are_normalised_and_contain_their_addresses() {
        assert_eq!(cidr("10.244.7.9/16").to_string(), "10.244.0.0/16");
        assert_eq!(cidr("fd00::1/64").to_string(), "fd00::/64");
        assert!(cidr("10.96.0.0/12").contains("10.111.255.255".parse().unwrap()));
        assert!(!cidr("10.96.0.0/12").contains("10.112.0.0".parse().unwrap()));
        assert!(!cidr("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(cidr("0.0.0.0/0").contains("255.1.1.1".parse().unwrap()));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/"] {
            assert_eq!(wrong.parse::<Cidr>(), Err(NotACidr), "{wrong}");
        }
    }

    #[test]
    fn parts_divide_the_range() {
        let parts: Vec<_> = cidr("10.244.0.0/22").parts(24).map(|part| part.to_string()).collect();
        assert_eq!(parts, ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]);
        assert_eq!(cidr("10.244.0.0/22").parts(20).count(), 0);
        assert_eq!(cidr("10.244.0.0/22").parts(33).count(), 0);
        assert_eq!(cidr("fd00::/48").parts(64).nth(1).unwrap().to_string(), "fd00:0:0:1::/64");
    }

    #[test]
    fn overlap_is_mutual() {
        assert!(cidr("10.244.0.0/16").overlaps(cidr("10.244.3.0/24")));
        assert!(cidr("10.244.3.0/24").overlaps(cidr("10.244.0.0/16")));
        assert!(!cidr("10.244.2.0/24").overlaps(cidr("10.244.3.0/24")));
    }
}
