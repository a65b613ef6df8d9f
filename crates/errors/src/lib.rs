//! An error with its causes, as people read it: one line for events, status messages, logs and the command line.
//!
//! Libraries disagree on whether an error's text includes its cause, so a cause that is named already is left out.

use std::error::Error;

/// The text of an error, followed by those of its causes that it does not contain already.
pub fn error_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Chained(&'static str, Option<Box<Chained>>);

    impl fmt::Display for Chained {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Chained {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &(dyn Error + 'static))
        }
    }

    #[test]
    fn names_each_cause_once() {
        let check = |texts: &[&'static str], expected: &str| {
            let chain = texts.iter().rev().fold(None, |cause, text| Some(Box::new(Chained(text, cause))));
            assert_eq!(error_text(&*chain.expect("a text")), expected);
        };
        check(&["open a"], "open a");
        check(&["open a", "not found"], "open a: not found");
        check(&["open a: not found", "not found"], "open a: not found");
        check(&["load", "open a: not found", "not found"], "load: open a: not found");
    }
}
