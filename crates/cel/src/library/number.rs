//! Numbers as text, as Go writes them.

/// The shortest form that reads back the same, with an exponent where it is far from one: Go's `%g`.
pub(crate) fn shortest(number: f64) -> String {
    if let Some(special) = special(number) {
        return special.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{number}");
    }
    format!("{digits}e{}", go_exponent(exponent))
}

/// `+06`, `-10`, `+100`.
pub(crate) fn go_exponent(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{:02}", exponent.unsigned_abs())
}

/// What is no number.
pub(crate) fn special(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        return Some("NaN");
    }
    number.is_infinite().then_some(if number > 0.0 { "+Inf" } else { "-Inf" })
}
