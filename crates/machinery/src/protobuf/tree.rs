//! What messages are made of: trees of JSON, and such as borrow their text from where it was read, which takes a fraction of
//! the time.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Number, Value};

/// A tree of JSON.
pub(super) trait Tree: Serialize + Sized {
    type Members: Members<Value = Self>;

    fn view(&self) -> View<'_, Self>;
}

/// The members of an object.
pub(super) trait Members {
    type Value: Tree<Members = Self>;

    fn find(&self, name: &str) -> Option<&Self::Value>;

    fn each(&self) -> impl Iterator<Item = (&str, &Self::Value)>;
}

/// What a tree is.
pub(super) enum View<'t, T: Tree> {
    Null,
    Bool(bool),
    Number(&'t Number),
    Text(&'t str),
    List(&'t [T]),
    Object(&'t T::Members),
}

impl Tree for Value {
    type Members = Map<String, Value>;

    fn view(&self) -> View<'_, Self> {
        match self {
            Self::Null => View::Null,
            Self::Bool(value) => View::Bool(*value),
            Self::Number(number) => View::Number(number),
            Self::String(text) => View::Text(text),
            Self::Array(items) => View::List(items),
            Self::Object(map) => View::Object(map),
        }
    }
}

impl Members for Map<String, Value> {
    type Value = Value;

    fn find(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// A tree that borrows from its text.
pub(super) enum Borrowed<'t> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'t, str>),
    List(Vec<Self>),
    Object(BorrowedMembers<'t>),
}

/// As they stand in the text; there are few, or they are not looked for.
#[derive(Default)]
pub(super) struct BorrowedMembers<'t>(Vec<(Cow<'t, str>, Borrowed<'t>)>);

impl<'t> BorrowedMembers<'t> {
    /// An object's.
    pub(super) fn of(text: &'t [u8]) -> Result<Self, serde_json::Error> {
        match serde_json::from_slice(text)? {
            Borrowed::Object(members) => Ok(members),
            _ => Err(serde_json::Error::custom("not an object")),
        }
    }

    /// Gives an object that is a member another text member.
    pub(super) fn set(&mut self, object: &str, name: &'t str, text: &'t str) {
        let found = self.0.iter_mut().find(|(key, _)| key == object);
        if let Some((_, Borrowed::Object(members))) = found {
            members.0.retain(|(key, _)| key != name);
            members.0.push((Cow::Borrowed(name), Borrowed::Text(Cow::Borrowed(text))));
        }
    }
}

impl<'t> Tree for Borrowed<'t> {
    type Members = BorrowedMembers<'t>;

    fn view(&self) -> View<'_, Self> {
        match self {
            Self::Null => View::Null,
            Self::Bool(value) => View::Bool(*value),
            Self::Number(number) => View::Number(number),
            Self::Text(text) => View::Text(text),
            Self::List(items) => View::List(items),
            Self::Object(members) => View::Object(members),
        }
    }
}

impl<'t> Members for BorrowedMembers<'t> {
    type Value = Borrowed<'t>;

    fn find(&self, name: &str) -> Option<&Borrowed<'t>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Borrowed<'t>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(BorrowedMembers(members)) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Borrows what it can: all text without escapes.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Borrowed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Borrowed::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Borrowed::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Borrowed::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Borrowed::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(value).map_or(Borrowed::Null, Borrowed::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Borrowed::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Borrowed::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Borrowed::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Borrowed::Object(BorrowedMembers(members)))
    }
}

/// A member's name: a `Cow` alone would be read as text of its own.
struct Name<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Names)
    }
}
