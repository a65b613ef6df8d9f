//! The few forms of DER that a certificate is written in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BITS: u8 = 0x03;
pub(super) const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// A value with its tag and its length.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &length[first..]);
    match significant {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // A length has at most eight bytes.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A value inside a tag that tells its place.
pub(super) fn explicit(place: u8, value: &[u8]) -> Vec<u8> {
    tlv(0xa0 | place, value)
}

/// The name of something by numbers.
pub(super) fn oid(numbers: &[u64]) -> Vec<u8> {
    let [first, second, rest @ ..] = numbers else { return tlv(OID, &[]) };
    let mut content = Vec::new();
    for number in [first * 40 + second].iter().chain(rest) {
        let groups =
            (0..10).rev().map(|group| (number >> (7 * group)) & 0x7f).skip_while(|group| *group == 0);
        let mut groups: Vec<u8> = groups.filter_map(|group| u8::try_from(group).ok()).collect();
        if groups.is_empty() {
            groups.push(0);
        }
        let last = groups.len() - 1;
        groups[..last].iter_mut().for_each(|group| *group |= 0x80);
        content.extend(groups);
    }
    tlv(OID, &content)
}

/// Bits with names, the first one highest, without those behind the last that is set.
pub(super) fn named_bits(bits: u16) -> Vec<u8> {
    let [high, low] = bits.to_be_bytes();
    let bytes: &[u8] = if low == 0 { &[high] } else { &[high, low] };
    let unused = bytes.last().map_or(0, |last| last.trailing_zeros().min(7));
    let mut content = vec![u8::try_from(unused).unwrap_or_default()];
    content.extend_from_slice(bytes);
    tlv(BITS, &content)
}

/// DER as PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = behind;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        let head =
            |length: usize| tlv(OCTETS, &vec![0; length])[1..].iter().take(3).copied().collect::<Vec<_>>();
        assert_eq!(tlv(OCTETS, &[]), [4, 0]);
        assert_eq!(head(0x7f)[0], 0x7f);
        assert_eq!(head(0x80)[..2], [0x81, 0x80]);
        assert_eq!(head(0x1234), [0x82, 0x12, 0x34]);
    }

    #[test]
    fn names_by_numbers_have_seven_bits_a_byte() {
        assert_eq!(oid(&[1, 2, 840, 10045, 4, 3, 2]), [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        assert_eq!(oid(&[2, 5, 29, 37, 0]), [6, 4, 0x55, 0x1d, 0x25, 0]);
    }

    #[test]
    fn bits_end_with_the_last_that_is_set() {
        assert_eq!(named_bits(0x8000), [3, 2, 7, 0x80]);
        assert_eq!(named_bits(0xa000), [3, 2, 5, 0xa0]);
        assert_eq!(named_bits(0x0080), [3, 3, 7, 0, 0x80]);
    }
}
