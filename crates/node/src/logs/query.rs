//! What a request for logs asks for, and which bytes of a log that means; no I/O.

use super::line::LogLine;
use jiff::Timestamp;
use std::time::Duration;

/// What a request for logs asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogQuery {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    /// The last so many lines only.
    pub(crate) tail: Option<u64>,
    /// Nothing that was written earlier.
    pub(crate) since: Option<Timestamp>,
    /// At most so many bytes.
    pub(crate) limit: Option<u64>,
    /// Only one of the two streams: true for standard error.
    pub(crate) stderr: Option<bool>,
}

impl LogQuery {
    /// Reads query parameters; `now` is what `sinceSeconds` counts from. The error is for the user.
    pub(crate) fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, &'a str)>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let mut query = Self::default();
        for (key, value) in parameters.filter(|(_, value)| !value.is_empty()) {
            let number =
                || value.parse::<i64>().map_err(|_| format!("invalid {key}: {value:?} is not a number"));
            match key {
                "follow" => query.follow = is_true(value),
                "previous" => query.previous = is_true(value),
                "timestamps" => query.timestamps = is_true(value),
                "tailLines" => query.tail = Some(natural(key, number()?, 0)?),
                "limitBytes" => query.limit = Some(natural(key, number()?, 1)?),
                "sinceSeconds" => {
                    let seconds = natural(key, number()?, 1)?;
                    query.since =
                        Some(now.checked_sub(Duration::from_secs(seconds)).unwrap_or(Timestamp::MIN));
                }
                "sinceTime" => {
                    let time =
                        value.parse().map_err(|_| format!("invalid sinceTime: {value:?} is not a time"))?;
                    query.since = Some(time);
                }
                "stream" => {
                    query.stderr = match value {
                        "Stdout" => Some(false),
                        "Stderr" => Some(true),
                        _ => None,
                    }
                }
                _ => {}
            }
        }
        Ok(query)
    }
}

/// Whether a boolean query parameter is set.
pub(crate) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true" | "True" | "TRUE" | "t" | "T")
}

fn natural(key: &str, value: i64, least: u64) -> Result<u64, String> {
    u64::try_from(value)
        .ok()
        .filter(|value| *value >= least)
        .ok_or_else(|| format!("invalid {key}: {value}: must be greater than or equal to {least}"))
}

/// Turns records of a log file into the output a request wants.
#[derive(Debug)]
pub(crate) struct Renderer {
    timestamps: bool,
    since: Option<Timestamp>,
    stderr: Option<bool>,
    left: Option<u64>,
    /// The record before was a part of a line.
    within_line: bool,
}

impl Renderer {
    /// Renders for `query`.
    pub(crate) fn new(query: &LogQuery) -> Self {
        Self {
            timestamps: query.timestamps,
            since: query.since,
            stderr: query.stderr,
            left: query.limit,
            within_line: false,
        }
    }

    /// Whether the limit of bytes is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Appends what `record` contributes.
    pub(crate) fn render(&mut self, record: &[u8], output: &mut Vec<u8>) {
        let Some(line) = LogLine::parse(record) else { return };
        if self.stderr.is_some_and(|wanted| wanted != line.stderr) {
            return;
        }
        if let Some(since) = self.since {
            if line.timestamp().is_some_and(|time| time < since) {
                return;
            }
            // Later records are later still.
            self.since = None;
        }
        let start = output.len();
        if self.timestamps && !self.within_line {
            output.extend_from_slice(line.time.as_bytes());
            output.push(b' ');
        }
        output.extend_from_slice(line.content);
        if !line.partial {
            output.push(b'\n');
        }
        self.within_line = line.partial;
        if let Some(left) = &mut self.left {
            let room = usize::try_from(*left).unwrap_or(usize::MAX);
            output.truncate(start.saturating_add(room).min(output.len()));
            *left -= u64::try_from(output.len() - start).unwrap_or(0).min(*left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[&str] = &[
        "2026-01-01T00:00:01.000000001Z stdout F one\n",
        "2026-01-01T00:00:02Z stderr P tw\n",
        "2026-01-01T00:00:02Z stderr F o\n",
        "2026-01-01T00:00:03Z stdout F three\n",
    ];

    fn check(parameters: &[(&str, &str)], expected: &str) {
        let now = "2026-01-01T00:00:04Z".parse().unwrap();
        let query = LogQuery::parse(parameters.iter().copied(), now).unwrap();
        let mut renderer = Renderer::new(&query);
        let mut output = Vec::new();
        for record in LOG {
            renderer.render(record.as_bytes(), &mut output);
        }
        assert_eq!(String::from_utf8(output).unwrap(), expected, "{parameters:?}");
    }

    #[test]
    fn records_are_filtered_and_joined() {
        check(&[], "one\ntwo\nthree\n");
        check(&[("stream", "Stderr")], "two\n");
        check(&[("sinceTime", "2026-01-01T00:00:03Z")], "three\n");
        check(&[("sinceSeconds", "2")], "two\nthree\n");
        check(&[("limitBytes", "5")], "one\nt");
        check(
            &[("timestamps", "true")],
            "2026-01-01T00:00:01.000000001Z one\n2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n",
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let parse = |key, value| LogQuery::parse([(key, value)].into_iter(), Timestamp::UNIX_EPOCH);
        assert!(parse("tailLines", "-1").is_err());
        assert!(parse("limitBytes", "0").is_err());
        assert!(parse("sinceTime", "yesterday").is_err());
        assert_eq!(parse("tailLines", "0").unwrap().tail, Some(0));
    }
}
