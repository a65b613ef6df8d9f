//! What the pipeline notes of a request that is written down.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;
use serde_json::Value;
use skiff_machinery::{Object, names::Form};

use crate::level::Level;
use crate::policy::Extent;

/// What is noted of a request. One that is not written down notes nothing, at no cost.
#[derive(Debug, Default)]
pub struct Record {
    extent: OnceLock<Extent>,
    noted: Mutex<Noted>,
}

/// What was noted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noted {
    /// By qualified names.
    pub annotations: BTreeMap<String, String>,
    /// What was sent, as JSON.
    pub request: Option<Value>,
    /// What the object that was sent says of itself.
    pub object: Identified,
}

/// What an object that was sent says of itself; unused parts are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identified {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

impl Record {
    /// Says once what is written down of the request; what was noted before is lost.
    pub fn begin(&self, extent: Extent) {
        self.extent.set(extent).ok();
    }

    /// What is written down of it.
    pub fn extent(&self) -> Extent {
        self.extent.get().copied().unwrap_or_default()
    }

    /// Notes an annotation that is written from a level on. One that has no qualified name, or that is there with another value,
    /// is left out.
    pub fn annotate(&self, level: Level, key: &str, value: impl Into<String>) {
        if self.extent().level >= level.max(Level::Metadata) && is_annotation_key(key) {
            self.noted.lock().annotations.entry(key.to_owned()).or_insert_with(|| value.into());
        }
    }

    /// Notes the object that was sent.
    pub fn object(&self, sent: impl FnOnce() -> Object) {
        if self.extent().level < Level::Metadata {
            return;
        }
        let sent = sent();
        let text = |path: &[&str]| sent.str(path).to_owned();
        let object = Identified {
            namespace: text(&["metadata", "namespace"]),
            name: text(&["metadata", "name"]),
            uid: text(&["metadata", "uid"]),
            resource_version: text(&["metadata", "resourceVersion"]),
        };
        self.noted.lock().object = object;
        self.body(|| sent.into_value());
    }

    /// Notes what was sent that is no object: a patch, options.
    pub fn body(&self, sent: impl FnOnce() -> Value) {
        let extent = self.extent();
        if extent.level >= Level::Request {
            let mut sent = sent();
            if extent.omits_managed_fields {
                without_managed_fields(&mut sent);
            }
            self.noted.lock().request = Some(sent);
        }
    }

    /// What was noted so far.
    pub fn noted(&self) -> Noted {
        self.noted.lock().clone()
    }
}

/// Whether annotations may have a key: a qualified name with a prefix.
pub fn is_annotation_key(key: &str) -> bool {
    key.split('/').count() == 2 && Form::QualifiedName.fits(key)
}

/// Removes managed fields from an object, from those of a list, and from those of a Table's rows.
pub(crate) fn without_managed_fields(object: &mut Value) {
    let remove = |object: &mut Value| {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    };
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        remove(item);
    }
    for row in object.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
        row.get_mut("object").into_iter().for_each(remove);
    }
    if object.get("metadata").is_some() {
        remove(object);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(level: Level, omits_managed_fields: bool) -> Record {
        let record = Record::default();
        record.begin(Extent { level, omits_managed_fields, ..Extent::default() });
        record
    }

    fn pod() -> Object {
        let pod = json!({"metadata": {"name": "a", "uid": "u", "managedFields": [1]}});
        Object::from_value(pod).unwrap()
    }

    #[test]
    fn only_what_is_written_is_noted() {
        for record in [Record::default(), record(Level::None, false)] {
            record.object(|| panic!("asked for in vain"));
            record.annotate(Level::Metadata, "a.b/c", "d");
            assert_eq!(record.noted(), Noted::default());
        }
        let metadata = record(Level::Metadata, false);
        metadata.object(pod);
        metadata.body(|| panic!("asked for in vain"));
        let noted = metadata.noted();
        assert_eq!((noted.object.name.as_str(), noted.object.uid.as_str()), ("a", "u"));
        assert_eq!(noted.request, None);
        let whole = record(Level::Request, false);
        whole.object(pod);
        assert_eq!(whole.noted().request, Some(pod().into_value()));
        let plain = record(Level::Request, true);
        plain.object(pod);
        assert_eq!(plain.noted().request, Some(json!({"metadata": {"name": "a", "uid": "u"}})));
    }

    #[test]
    fn annotations_are_qualified_and_the_first_stays() {
        let record = record(Level::Metadata, false);
        for (level, key, value) in [
            (Level::Metadata, "a.example.com/key", "one"),
            (Level::Metadata, "a.example.com/key", "two"),
            (Level::Metadata, "key", "one"),
            (Level::Metadata, "a/b/c", "one"),
            (Level::Request, "a.example.com/more", "one"),
        ] {
            record.annotate(level, key, value);
        }
        assert_eq!(
            record.noted().annotations,
            BTreeMap::from([("a.example.com/key".to_owned(), "one".to_owned())])
        );
    }

    #[test]
    fn managed_fields_go_from_lists_and_tables() {
        let object = json!({"metadata": {"managedFields": []}});
        let mut all = json!({"metadata": {}, "items": [object.clone()], "rows": [{"object": object}]});
        without_managed_fields(&mut all);
        assert_eq!(
            all,
            json!({"metadata": {}, "items": [{"metadata": {}}], "rows": [{"object": {"metadata": {}}}]})
        );
    }
}
