//! What describes an object, line by line.

use std::fmt::Write;

use serde_json::Value;

/// Text in the making; each part of an object adds its lines.
#[derive(Debug, Default)]
pub(super) struct Text(pub(super) String);

/// Two spaces for each level.
const LEVELS: [&str; 4] = ["", "  ", "    ", "      "];

pub(super) fn str_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Text {
    pub(super) fn line(&mut self, level: usize, text: impl std::fmt::Display) {
        writeln!(self.0, "{}{text}", LEVELS[level.min(3)]).expect("a string takes what is written");
    }

    pub(super) fn field(&mut self, level: usize, name: &str, value: impl std::fmt::Display) {
        self.line(level, format_args!("{name}:\t{value}"));
    }

    /// `KEY=VALUE` of each entry, one below the other.
    pub(super) fn labels(&mut self, title: &str, labels: &Value) {
        let mut pairs =
            labels.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", str_of(value)));
        self.field(0, title, pairs.next().unwrap_or_else(|| "<none>".to_owned()));
        pairs.for_each(|pair| self.line(0, format_args!("\t{pair}")));
    }

    pub(super) fn annotations(&mut self, title: &str, annotations: &Value) {
        const LONGEST: usize = 140;
        let hidden = "kubectl.kubernetes.io/last-applied-configuration";
        let entries = annotations.as_object().into_iter().flatten().filter(|(key, _)| *key != hidden);
        let mut before = format!("{title}:\t");
        for (key, value) in entries {
            let value = str_of(value).trim_end_matches('\n');
            if value.len() + key.len() + 2 > LONGEST || value.contains('\n') {
                self.line(0, format_args!("{before}{key}:"));
                for line in value.split('\n') {
                    let end = line.char_indices().nth(LONGEST - 2).map_or(line.len(), |(at, _)| at);
                    let rest = if end < line.len() { "..." } else { "" };
                    self.line(0, format_args!("\t  {}{rest}", &line[..end]));
                }
            } else {
                self.line(0, format_args!("{before}{key}: {value}"));
            }
            before = "\t".to_owned();
        }
        if before != "\t" {
            self.field(0, title, "<none>");
        }
    }
}

/// `Mon, 02 Jan 2006 15:04:05 +0000`.
pub(super) fn rfc1123(time: &str) -> String {
    match time.parse::<k8s_openapi::jiff::Timestamp>() {
        Ok(time) => {
            let zoned = time.to_zoned(k8s_openapi::jiff::tz::TimeZone::system());
            zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
        }
        Err(_) => "Mon, 01 Jan 0001 00:00:00 +0000".to_owned(),
    }
}
