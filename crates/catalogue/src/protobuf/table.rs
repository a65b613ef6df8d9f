//! The numbers of fields, read from `fields.txt` when the first body comes.

use std::collections::HashMap;
use std::sync::OnceLock;

const TEXT: &str = include_str!("fields.txt");

/// The fields of one definition by number.
#[derive(Debug, Default)]
pub(super) struct Message(HashMap<u32, Slot>);

/// What a number stands for.
#[derive(Debug)]
pub(super) enum Slot {
    /// A field of the JSON object.
    Field {
        /// As in JSON.
        name: &'static str,
        /// What its zero means.
        zero: Zero,
    },
    /// A message whose fields JSON shows in the outer object.
    Inline(Message),
}

/// What zero or false means in a field that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zero {
    /// That value.
    Value,
    /// That it is not set.
    Unset,
}

impl Message {
    pub(super) fn slot(&self, number: u32) -> Option<&Slot> {
        self.0.get(&number)
    }

    /// Adds a field at a path of numbers.
    fn add(&mut self, path: &[u32], name: &'static str, zero: Zero) {
        match path {
            [] => {}
            [number] => drop(self.0.insert(*number, Slot::Field { name, zero })),
            [number, rest @ ..] => {
                let slot = self.0.entry(*number).or_insert_with(|| Slot::Inline(Self::default()));
                if let Slot::Inline(inner) = slot {
                    inner.add(rest, name, zero);
                }
            }
        }
    }
}

/// The fields of a definition; `None` if there is no line for it.
pub(super) fn message(definition: &str) -> Option<&'static Message> {
    static TABLE: OnceLock<HashMap<&'static str, Message>> = OnceLock::new();
    TABLE.get_or_init(|| TEXT.lines().filter_map(line).collect()).get(definition)
}

fn line(text: &'static str) -> Option<(&'static str, Message)> {
    let mut words = text.split_whitespace();
    let definition = words.next()?;
    let mut message = Message::default();
    for word in words {
        let (name, path) = word.split_once('=')?;
        let zero = if path.ends_with('?') { Zero::Unset } else { Zero::Value };
        let path = path.trim_end_matches('?').split('.').map(str::parse);
        message.add(&path.collect::<Result<Vec<u32>, _>>().ok()?, name, zero);
    }
    Some((definition, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn every_line_names_fields_of_the_schema() {
        for text in TEXT.lines() {
            let (definition, _) = line(text).unwrap_or_else(|| panic!("cannot read {text}"));
            let known = Schema::global().definition(definition).unwrap_or_else(|| panic!("{definition}"));
            for word in text.split_whitespace().skip(1) {
                let (name, _) = word.split_once('=').unwrap();
                assert!(known.field(name).is_some(), "{definition} has no {name}");
            }
        }
    }
}
