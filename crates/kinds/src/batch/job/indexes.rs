//! Lists of indexes as jobs have them: `0,3-5`.

/// How many indexes a list has, or what is wrong with it; each is below `completions`.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let (mut last, mut total) = (None, 0);
    for part in text.split(',') {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(not_increasing(last, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

fn not_increasing(last: i64, next: i64) -> String {
    format!("non-increasing order, previous: {last}, current: {next}")
}

/// One index, or the first and last of several.
fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let index = |text: &str| match text.parse::<i64>() {
        Err(_) => Err(format!("cannot convert string to integer for index: {text:?}")),
        Ok(index) if index >= completions => Err(format!("too large index: {text:?}")),
        Ok(index) => Ok(index),
    };
    let Some((first, last)) = text.split_once('-') else {
        return index(text).map(|index| (index, index));
    };
    if last.contains('-') {
        let rule =
            "violates the requirement that an index interval can have at most two parts separated by '-'";
        return Err(format!("the fragment {text:?} {rule}"));
    }
    let (first, last) = (index(first)?, index(last)?);
    if first >= last { Err(not_increasing(first, last)) } else { Ok((first, last)) }
}

/// The first index that is in both lists. What cannot be read is left out.
pub(super) fn shared(one: &str, other: &str, completions: i64) -> Option<i64> {
    let read = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (one, other) = (read(one), read(other));
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        if a.0 <= b.1 && b.0 <= a.1 {
            return Some(a.0.max(b.0));
        }
        if a.0 <= b.0 { i += 1 } else { j += 1 }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let check = |text: &str, expected: Result<i64, &str>| {
            assert_eq!(count(text, 10), expected.map_err(str::to_owned), "{text}");
        };
        check("", Ok(0));
        check("0,3-5", Ok(4));
        check("9", Ok(1));
        check("10", Err("too large index: \"10\""));
        check("3,3", Err("non-increasing order, previous: 3, current: 3"));
        check("5-3", Err("non-increasing order, previous: 5, current: 3"));
        check("a", Err("cannot convert string to integer for index: \"a\""));
        check(
            "1-2-3",
            Err(
                "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
        );
    }

    #[test]
    fn lists_overlap() {
        let check = |one: &str, other: &str, at: Option<i64>| assert_eq!(shared(one, other, 10), at);
        check("0,3-5", "4-6", Some(4));
        check("0-2", "3,5", None);
        check("", "1", None);
        check("x,7", "1,7", Some(7));
    }
}
