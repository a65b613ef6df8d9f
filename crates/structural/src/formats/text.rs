//! Identifiers, numbers with check digits, colours.

use std::sync::LazyLock;

use crate::re2::Pattern;

static CREDIT_CARD: LazyLock<Pattern> = LazyLock::new(|| {
    let visa = "4[0-9]{12}(?:[0-9]{3})?";
    let mastercard = "5[1-5][0-9]{14}";
    let discover = "6(?:011|5[0-9][0-9])[0-9]{12}";
    let american_express = "3[47][0-9]{13}";
    let diners = "3(?:0[0-5]|[68][0-9])[0-9]{11}";
    let jcb = r"(?:2131|1800|35\d{3})\d{11}";
    Pattern::new(&format!("^(?:{visa}|{mastercard}|{discover}|{american_express}|{diners}|{jcb})$"))
});

static RGB: LazyLock<Pattern> = LazyLock::new(|| {
    let part = r"(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])";
    Pattern::new(&format!(r"^rgb\(\s*{part}\s*,\s*{part}\s*,\s*{part}\s*\)$"))
});

/// A UUID, with or without dashes, of a version if one is given; those of versions 4 and 5 have a variant, too.
pub(super) fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut digits = String::with_capacity(32);
    for (at, letter) in text.bytes().enumerate() {
        match letter {
            b'-' if matches!(digits.len(), 8 | 12 | 16 | 20) && at > 0 && text.as_bytes()[at - 1] != b'-' => {
            }
            letter if letter.is_ascii_hexdigit() => digits.push(char::from(letter.to_ascii_lowercase())),
            _ => return false,
        }
    }
    let at = |index: usize| digits.as_bytes().get(index).copied().map(char::from);
    let has_variant = || at(16).is_some_and(|digit| "89ab".contains(digit));
    digits.len() == 32
        && version.is_none_or(|version| at(12) == Some(version) && (version == '3' || has_variant()))
}

fn stripped(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ' | '-')).collect()
}

pub(super) fn is_isbn10(text: &str) -> bool {
    let text = stripped(text);
    let (body, check) = match text.split_at_checked(9) {
        Some((body, "X")) => (body, 10),
        Some((body, digit)) if digit.len() == 1 && digit.as_bytes()[0].is_ascii_digit() => {
            (body, u32::from(digit.as_bytes()[0] - b'0'))
        }
        _ => return false,
    };
    let weighted = |(at, digit): (u32, u8)| digit.is_ascii_digit().then(|| at * u32::from(digit - b'0'));
    let sum: Option<u32> = (1..).zip(body.bytes()).map(weighted).sum();
    sum.is_some_and(|sum| (sum + 10 * check).is_multiple_of(11))
}

pub(super) fn is_isbn13(text: &str) -> bool {
    let text = stripped(text);
    if text.len() != 13 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let weights = [1, 3].into_iter().cycle();
    let sum: u32 = text.bytes().zip(weights).map(|(digit, weight)| weight * u32::from(digit - b'0')).sum();
    sum.is_multiple_of(10)
}

/// The number of a card, whatever stands between its digits, with the check digit that Luhn's formula gives.
pub(super) fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if CREDIT_CARD.is_match(&digits) != Ok(true) {
        return false;
    }
    let value = |(at, digit): (usize, u8)| {
        let value = u32::from(digit - b'0') * if at % 2 == 0 { 1 } else { 2 };
        value / 10 + value % 10
    };
    digits.bytes().rev().enumerate().map(value).sum::<u32>().is_multiple_of(10)
}

/// Three, two and four digits with a dash or space between.
pub(super) fn is_ssn(text: &str) -> bool {
    text.len() == 11
        && text.bytes().enumerate().all(|(at, letter)| match at {
            3 | 6 => letter == b'-' || letter == b' ',
            _ => letter.is_ascii_digit(),
        })
}

pub(super) fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn is_rgb_color(text: &str) -> bool {
    RGB.is_match(text) == Ok(true)
}

/// Base64 with padding, of at least one byte.
pub(super) fn is_base64(text: &str) -> bool {
    let body = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    !body.is_empty()
        && text.len().is_multiple_of(4)
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// Lower-case letters, digits and inner dashes.
pub(super) fn is_name_segment(text: &str) -> bool {
    let is_edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_edge)
        && bytes.last().is_some_and(is_edge)
        && bytes.iter().all(|b| is_edge(b) || *b == b'-')
}
