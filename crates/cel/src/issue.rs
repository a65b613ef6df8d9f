//! What is wrong with an expression, and where, in the form that clients of Kubernetes know.

use std::fmt::{self, Write as _};

/// One thing wrong in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issue {
    /// Code points from the start; `None` when it is of the whole expression.
    pub(crate) offset: Option<u32>,
    pub(crate) message: String,
}

/// Why an expression cannot be compiled. Its `Display` is word for word what Kubernetes' API server writes: a line
/// with the position of each issue, the line of the expression and a mark below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors {
    text: String,
}

impl CompileErrors {
    pub(crate) fn new(source: &Source, mut issues: Vec<Issue>) -> Self {
        let all = issues.len();
        issues.truncate(MOST_ISSUES);
        let mut located: Vec<(Location, Issue)> =
            issues.into_iter().map(|issue| (source.location(issue.offset), issue)).collect();
        skiff_ordered::sort_by_key(&mut located, |(location, _)| *location);
        let mut lines: Vec<String> =
            located.iter().map(|(location, issue)| source.display(*location, &issue.message)).collect();
        if all > MOST_ISSUES {
            lines.push(format!("{} more errors were truncated", all - MOST_ISSUES));
        }
        Self { text: lines.join("\n") }
    }
}

const MOST_ISSUES: usize = 100;

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CompileErrors {}

/// Lines count from one, columns from zero; the place of the whole is line −1, column −1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    line: i64,
    column: i64,
}

/// The text of an expression, by code points and lines.
#[derive(Debug)]
pub(crate) struct Source {
    text: Vec<char>,
    /// Where each line starts.
    lines: Vec<u32>,
}

/// Longer lines are not shown.
const LONGEST_SNIPPET: usize = 16_384;

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let ends = (0_u32..).zip(&text).filter(|(_, c)| **c == '\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        Self { text, lines }
    }

    pub(crate) fn text(&self) -> &[char] {
        &self.text
    }

    fn location(&self, offset: Option<u32>) -> Location {
        let Some(offset) = offset else { return Location { line: -1, column: -1 } };
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0);
        Location { line: i64::try_from(line).unwrap_or(i64::MAX), column: i64::from(offset - start) }
    }

    fn line(&self, location: Location) -> Option<&[char]> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let start = *self.lines.get(line)? as usize;
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| *next as usize - 1);
        self.text.get(start..end)
    }

    fn display(&self, at: Location, message: &str) -> String {
        let mut text = format!("ERROR: <input>:{}:{}: {message}", at.line, at.column + 1);
        let Some(line) = self.line(at) else { return text };
        let snippet: String = line.iter().map(|c| if *c == '\t' { ' ' } else { *c }).collect();
        if snippet.len() > LONGEST_SNIPPET {
            return text;
        }
        let _written = write!(text, "\n | {snippet}\n | ");
        let column = usize::try_from(at.column).unwrap_or(0);
        text.extend(line.iter().take(column).map(|c| if c.is_ascii() { '.' } else { '\u{ff0e}' }));
        text.push(if line.get(column).is_none_or(char::is_ascii) { '^' } else { '\u{ff3e}' });
        text
    }
}
