//! Fields that JSON text names twice, for kinds that are read as trees.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Paths of fields that occur more than once in an object, e.g. `spec.parts[0].name`; each once, in order. At most this
/// many are told, as Kubernetes' decoder does.
const MOST: usize = 100;

/// Finds them. Text that is no JSON has none: whoever reads it says what is wrong.
pub fn duplicates(text: &[u8]) -> Vec<String> {
    let mut finder = Finder { path: String::new(), found: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    match (Walk(&mut finder)).deserialize(&mut deserializer) {
        Ok(()) => finder.found,
        Err(_) => Vec::new(),
    }
}

struct Finder {
    path: String,
    found: Vec<String>,
}

impl Finder {
    /// Walks on with a longer path.
    fn below<T>(&mut self, step: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(step);
        let out = walk(self);
        self.path.truncate(length);
        out
    }
}

struct Walk<'f>(&'f mut Finder);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let finder = self.0;
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let step = if finder.path.is_empty() { name.clone() } else { format!(".{name}") };
            let is_new = names.insert(name);
            finder.below(&step, |finder| {
                if !is_new && finder.found.len() < MOST && !finder.found.contains(&finder.path) {
                    finder.found.push(finder.path.clone());
                }
                map.next_value_seed(Walk(finder))
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let finder = self.0;
        for index in 0.. {
            let next = finder.below(&format!("[{index}]"), |finder| items.next_element_seed(Walk(finder)))?;
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_fields_are_named_once() {
        let check = |text: &str, wanted: &[&str]| assert_eq!(duplicates(text.as_bytes()), wanted, "{text}");
        check(r#"{"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]}"#, &[]);
        check(r#"{"a":1,"a":2,"a":3}"#, &["a"]);
        check(r#"{"s":{"n":[{"x":1,"x":null}],"n":true},"s":{}}"#, &["s.n[0].x", "s.n", "s"]);
        check(r#"{"a":1,"a""#, &[]);
        check("", &[]);
    }
}
