//! One record of a log file in CRI format: `<RFC 3339 time> <stream> <F|P> <content>`.

use jiff::Timestamp;

/// One record.
#[derive(Debug, PartialEq)]
pub(crate) struct LogLine<'a> {
    /// As written.
    pub(crate) time: &'a str,
    /// Written to standard error.
    pub(crate) stderr: bool,
    /// The line goes on in the next record.
    pub(crate) partial: bool,
    /// Without the line's end.
    pub(crate) content: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// Reads a record; `None` when it is damaged.
    pub(crate) fn parse(record: &'a [u8]) -> Option<Self> {
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let mut fields = record.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(fields.next()?).ok()?;
        let stream = fields.next()?;
        let tag = fields.next()?;
        let content = fields.next().unwrap_or_default();
        let stderr = match stream {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        // The tag may carry more, after colons.
        let partial = match tag.split(|byte| *byte == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self { time, stderr, partial, content })
    }

    /// When it was written.
    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_apart() {
        let line = LogLine::parse(b"2026-01-01T00:00:01.5Z stderr P a b \n").unwrap();
        assert_eq!((line.stderr, line.partial, line.content), (true, true, b"a b ".as_slice()));
        assert_eq!(line.timestamp(), Some("2026-01-01T00:00:01.5Z".parse().unwrap()));
        assert_eq!(LogLine::parse(b"2026-01-01T00:00:01Z stdout F \n").unwrap().content, b"");
        assert!(LogLine::parse(b"garbage\n").is_none());
        assert!(LogLine::parse(b"t stdwhat F x").is_none());
    }
}
