//! Names and addresses of networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

use crate::re2::Pattern;

static LETTERS: LazyLock<Pattern> = LazyLock::new(|| Pattern::new(r"^\p{L}+$"));
static LABELS: LazyLock<Pattern> = LazyLock::new(|| Pattern::new(r"^[0-9.\p{S}\p{L}-]+$"));

/// One label, or labels of which the last has only letters. Letters may be those of any language, and symbols.
pub(super) fn is_hostname(text: &str) -> bool {
    if text.len() > 255 || LABELS.is_match(text) != Ok(true) || text.split('.').any(|label| label.len() > 63)
    {
        return false;
    }
    let Some((labels, last)) = text.rsplit_once('.') else { return is_lone_label(text) };
    let is_inner = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    labels.split('.').all(is_inner) && last.chars().count() >= 2 && LETTERS.is_match(last) == Ok(true)
}

/// A label alone may have one dash, after its first letter.
fn is_lone_label(label: &str) -> bool {
    let mut letters = label.chars();
    letters.next().is_some_and(|first| first != '-') && {
        let rest = letters.as_str();
        !rest.strip_prefix('-').unwrap_or(rest).contains('-')
    }
}

/// Also an IPv6 address that ends in dots; zeros may lead numbers.
pub(super) fn is_ipv4(text: &str) -> bool {
    text.contains('.') && sloppy(text).is_some()
}

pub(super) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Some(address) = sloppy(address) else { return false };
    // Zeros may lead the length, too, but no sign.
    let digits = length.bytes().all(|b| b.is_ascii_digit());
    digits && length.parse().is_ok_and(|length| IpNet::new(address, length).is_ok())
}

/// An address in which zeros may lead decimal numbers.
fn sloppy(text: &str) -> Option<IpAddr> {
    let Some((before, last)) = text.rsplit_once(':') else { return sloppy_v4(text).map(IpAddr::V4) };
    if !last.contains('.') {
        return text.parse().ok().map(IpAddr::V6);
    }
    format!("{before}:{}", sloppy_v4(last)?).parse().ok().map(IpAddr::V6)
}

fn sloppy_v4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        Some(part)
            .filter(|_| digits)?
            .trim_start_matches('0')
            .parse()
            .or_else(|error| match part.bytes().all(|b| b == b'0') {
                true => Ok(0),
                false => Err(error),
            })
            .ok()
    });
    let address = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then(|| Ipv4Addr::from(address))
}

/// 6, 8 or 20 bytes in hexadecimal, by colons or dashes, or two by two by dots.
pub(super) fn is_mac(text: &str) -> bool {
    let (separator, width) = match (text.as_bytes().get(2), text.as_bytes().get(4)) {
        (Some(b':'), _) => (':', 2),
        (Some(b'-'), _) => ('-', 2),
        (_, Some(b'.')) => ('.', 4),
        _ => return false,
    };
    let is_part = |part: &str| part.len() == width && part.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes = text.split(separator).count() * width / 2;
    [6, 8, 20].contains(&bytes) && text.split(separator).all(is_part)
}
