//! IP addresses and ranges as API fields: parsing, and the checks that several kinds share.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::{FieldError, FieldErrors};

/// What is said of a text that is no address.
pub const NOT_AN_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NOT_A_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Parses an address; the error is the text for a field error. IPv4 addresses in IPv6 clothes are refused.
pub fn ip(text: &str) -> Result<IpAddr, &'static str> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => Err("must not be an IPv4-mapped IPv6 address"),
        Ok(ip) => Ok(ip),
        Err(_) if has_leading_zeros(text) => Err("must not have leading 0s"),
        Err(_) => Err(NOT_AN_IP),
    }
}

/// Whether a text would be an IPv4 address without zeros before other digits.
fn has_leading_zeros(text: &str) -> bool {
    let trimmed = text.split('.').map(|part| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0",
        rest => rest,
    });
    trimmed.collect::<Vec<_>>().join(".").parse::<Ipv4Addr>().is_ok()
}

/// What is said of an address of IPv6 that is valid, but not written in the usual form.
pub fn unusual(path: &str, text: &str) -> Option<String> {
    let ip = ip(text).ok()?;
    let canonical = ip.to_string();
    (ip.is_ipv6() && canonical != text).then(|| {
        format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})")
    })
}

/// Parses `network/length`; the error is the text for a field error. Host bits may be set.
pub fn cidr(text: &str) -> Result<IpNet, &'static str> {
    let (network, length) = text.split_once('/').ok_or(NOT_A_CIDR)?;
    let network: IpAddr = network.parse().map_err(|_| NOT_A_CIDR)?;
    if matches!(network, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err("must not have an IPv4-mapped IPv6 address");
    }
    let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|_| plain).ok_or(NOT_A_CIDR)?;
    IpNet::new(network, length).map_err(|_| NOT_A_CIDR)
}

/// Whether the address of a range has bits set beyond the length of the prefix.
pub fn has_host_bits(range: IpNet) -> bool {
    range.addr() != range.network()
}

/// `IPv4` or `IPv6`, as in `spec.ipFamilies`.
pub fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Checks that an address can be that of another machine: not unspecified, loopback or link-local.
pub fn check_not_special(field: &str, text: &str) -> FieldErrors {
    let invalid = |detail: &str| FieldErrors::from([FieldError::invalid(field, text, detail)]);
    let ip = match ip(text) {
        Ok(ip) => ip,
        Err(detail) => return invalid(detail),
    };
    if ip.is_unspecified() {
        return invalid(&format!("may not be unspecified ({text})"));
    }
    if ip.is_loopback() {
        return invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (unicast, multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if unicast {
        return invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        return invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
    FieldErrors::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_their_addresses() {
        let check = |range: &str, address: &str, expected: bool| {
            assert_eq!(
                cidr(range).unwrap().contains(&address.parse::<IpAddr>().unwrap()),
                expected,
                "{range} {address}"
            );
        };
        check("10.96.0.0/12", "10.111.255.255", true);
        check("10.96.0.0/12", "10.112.0.0", false);
        check("10.96.0.1/32", "10.96.0.1", true);
        check("0.0.0.0/0", "192.0.2.1", true);
        check("::/0", "192.0.2.1", false);
        check("fd00::/112", "fd00::ffff", true);
        check("fd00::/112", "fd00::1:0", false);
    }

    #[test]
    fn refuses_malformed_text() {
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "a/8",
            "10.0.0.0/",
            "010.0.0.0/8",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(cidr(text).is_err(), "{text}");
        }
        for text in ["", "10.0.0", "010.0.0.1", "::ffff:10.0.0.1"] {
            assert!(ip(text).is_err(), "{text}");
        }
    }

    #[test]
    fn special_addresses_are_named() {
        let check = |text: &str, part: &str| {
            let errors = check_not_special("ip", text);
            assert!(errors.iter().any(|e| e.detail.contains(part)), "{text}: {errors:?}");
        };
        check("0.0.0.0", "unspecified");
        check("127.1.1.1", "loopback");
        check("::1", "loopback");
        check("169.254.0.1", "link-local range");
        check("fe80::1", "link-local range");
        check("224.0.0.5", "multicast");
        check("ff02::1", "multicast");
        assert_eq!(check_not_special("ip", "10.0.0.1"), []);
        assert_eq!(check_not_special("ip", "239.0.0.1"), []);
    }
}
