//! The order of keys.

use std::cmp::Ordering;

/// Order of keys: letters behind other signs, numbers by what they count.
pub(super) fn natural(left: &str, right: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let Some(at) = left.iter().zip(&right).position(|(a, b)| a != b) else {
        return left.len().cmp(&right.len());
    };
    let (a, b) = (left[at], right[at]);
    match (a.is_alphabetic(), b.is_alphabetic()) {
        (true, true) => return a.cmp(&b),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // Zeros in front count only before the first other digit of a number.
    let inside = (a == '0' || b == '0')
        && left[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let number = |letters: &[char]| {
        let digits: String = letters[at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        let value: i64 = format!("{}{digits}", if inside { "1" } else { "0" }).parse().unwrap_or(i64::MAX);
        (value, digits.len())
    };
    number(&left).cmp(&number(&right)).then(a.cmp(&b))
}
