//! What comes of admission besides the decision: warnings for the client, annotations for the audit log.

use std::collections::BTreeMap;

use skiff_audit::{Level, is_annotation_key};

/// The value of an annotation, and from which level on it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Annotation {
    pub(crate) level: Level,
    pub(crate) value: String,
}

/// Warnings and annotations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) warnings: Vec<String>,
    pub(crate) annotations: BTreeMap<String, Annotation>,
}

impl Notes {
    /// Each warning is told once.
    pub(crate) fn warn(&mut self, text: String) {
        if !text.is_empty() && !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// The first value of a key stays.
    pub(crate) fn annotate(&mut self, level: Level, key: String, value: String) {
        if is_annotation_key(&key) {
            self.annotations.entry(key).or_insert(Annotation { level, value });
        }
    }

    /// Adds what another has.
    pub(crate) fn extend(&mut self, other: Self) {
        other.warnings.into_iter().for_each(|text| self.warn(text));
        for (key, annotation) in other.annotations {
            self.annotations.entry(key).or_insert(annotation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_qualified_and_values_stay() {
        let mut notes = Notes::default();
        let check = |notes: &mut Notes, key: &str, value: &str, expected: Option<&str>| {
            notes.annotate(Level::Metadata, key.to_owned(), value.to_owned());
            let found = notes.annotations.get(key).map(|annotation| annotation.value.as_str());
            assert_eq!(found, expected, "{key}");
        };
        check(&mut notes, "a.example.com/key", "one", Some("one"));
        check(&mut notes, "a.example.com/key", "two", Some("one"));
        check(&mut notes, "key", "one", None);
        check(&mut notes, "a/b/c", "one", None);
        check(&mut notes, "a.example.com/-", "one", None);
    }

    #[test]
    fn a_warning_is_told_once() {
        let mut notes = Notes::default();
        ["a", "", "b", "a"].into_iter().for_each(|text| notes.warn(text.to_owned()));
        assert_eq!(notes.warnings, ["a", "b"]);
    }
}
