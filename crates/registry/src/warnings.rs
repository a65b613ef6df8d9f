//! What a client is warned of, in headers: bounded as Kubernetes bounds it, for a body of a megabyte can give reason for a
//! hundred thousand warnings.

use http::header::WARNING;
use http::{HeaderMap, HeaderValue};

/// How many characters all warnings may have before each is cut.
const ALL: usize = 4096;

/// How many characters of each warning are left then.
const EACH: usize = 256;

/// The warnings of one request, each once, in the order in which they came up.
#[derive(Debug, Default)]
pub struct Warnings {
    texts: Vec<String>,
    /// Characters in all of them.
    length: usize,
    /// Whether each is cut.
    cut: bool,
}

impl Warnings {
    /// Adds one, unless it is there or there is no more room.
    pub fn add(&mut self, mut text: String) {
        if text.is_empty() || (self.cut && self.length >= ALL) {
            return;
        }
        if self.cut {
            shorten(&mut text);
        }
        if self.texts.contains(&text) {
            return;
        }
        self.length += text.chars().count();
        self.texts.push(text);
        if self.length > ALL && !self.cut {
            self.cut = true;
            self.texts.iter_mut().for_each(shorten);
            self.length = self.texts.iter().map(|text| text.chars().count()).sum();
        }
    }

    /// Writes them.
    pub fn write(&self, headers: &mut HeaderMap) {
        for text in &self.texts {
            let printable: String = text.chars().filter(|c| !c.is_control()).collect();
            let quoted = printable.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                headers.append(WARNING, value);
            }
        }
    }
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(EACH) {
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(texts: impl IntoIterator<Item = String>) -> Vec<String> {
        let (mut warnings, mut headers) = (Warnings::default(), HeaderMap::new());
        texts.into_iter().for_each(|text| warnings.add(text));
        warnings.write(&mut headers);
        let texts = headers.get_all(WARNING).into_iter();
        texts.map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap()).collect()
    }

    #[test]
    fn warnings_are_quoted_and_told_once() {
        let field = "unknown field \"spec.foo\"\n".to_owned();
        assert_eq!(written([field.clone(), String::new(), field]), [r#"299 - "unknown field \"spec.foo\"""#]);
    }

    #[test]
    fn many_are_cut_and_then_left_out() {
        let framed = |text: &str| format!("299 - \"{text}\"");
        let long = "é".repeat(ALL);
        assert_eq!(written([long.clone()]), [framed(&long)], "there is room for it");
        assert_eq!(written([long.clone(), "b".to_owned()]), [framed(&"é".repeat(EACH)), framed("b")]);
        let many = written((0..400_000).map(|i| format!("{i:064}")));
        assert_eq!(many.len(), ALL / 64 + 1);
        assert_eq!(many.last(), Some(&framed(&format!("{:064}", ALL / 64))));
    }
}
