//! `$(NAME)` references in command lines, environment values and sub-paths.

/// Replaces each `$(NAME)` by what `lookup` knows. `$$` stands for one `$` and shields what follows it; a
/// reference to an unknown name stays as it is.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    replace(text, |name| lookup(name).unwrap_or_else(|| format!("$({name})")))
}

/// Like [`expand`], but an unknown name is an error that names it.
pub(crate) fn expand_known(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let missing = std::cell::RefCell::new(None);
    let expanded = replace(text, |name| {
        lookup(name).unwrap_or_else(|| {
            missing.borrow_mut().get_or_insert_with(|| name.to_owned());
            String::new()
        })
    });
    missing.into_inner().map_or(Ok(expanded), Err)
}

fn replace(text: &str, value_of: impl Fn(&str) -> String) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        output.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
        } else if let Some(reference) = rest.strip_prefix('(')
            && let Some(end) = reference.find(')')
        {
            output.push_str(&value_of(&reference[..end]));
            rest = &reference[end + 1..];
        } else {
            output.push('$');
        }
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        assert_eq!(expand(text, lookup), expected, "{text}");
    }

    #[test]
    fn references_follow_the_kubernetes_rules() {
        check("$(A)", "1");
        check("x$(A)y$(A)", "x1y1");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$1");
        check("$(B)", "$(B)");
        check("$(EMPTY)|", "|");
        check("$A", "$A");
        check("$(A", "$(A");
        check("100$", "100$");
        check("$$", "$");
        check("", "");
    }

    #[test]
    fn unknown_names_are_errors_where_they_must_be() {
        assert_eq!(expand_known("a/$(B)", |_| None), Err("B".into()));
        assert_eq!(expand_known("a/$(B)", |_| Some("c".into())), Ok("a/c".into()));
    }
}
