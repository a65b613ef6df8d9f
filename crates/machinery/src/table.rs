//! Server-side Tables: what `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{Column, Kind, Object, Printer, Row, Subresource};

/// What each row carries of its object (`includeObject=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata, as PartialObjectMetadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// A value of `includeObject=` that is none of `None`, `Metadata`, `Object`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("includeObject: Invalid value: {0:?}: must be 'Metadata', 'Object', 'None', or empty")]
pub struct UnknownInclude(pub String);

impl std::str::FromStr for IncludeObject {
    type Err = UnknownInclude;

    fn from_str(text: &str) -> Result<Self, UnknownInclude> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            _ => Err(UnknownInclude(text.to_owned())),
        }
    }
}

/// The columns of a Table, and what fills them.
#[derive(Clone, Copy)]
pub struct Shape<'k> {
    /// From left to right.
    pub columns: &'k [Column],
    /// The cells of an object; ages count from the time given.
    pub print: &'k Printer,
    /// The annotations that metadata is shown without.
    pub hidden: &'static [&'static str],
}

impl Shape<'_> {
    /// Whether it is the Table that Kubernetes has for kinds without one of their own.
    pub fn is_default(self) -> bool {
        self.columns.iter().map(|column| &*column.name).eq(["Name", "Created At"])
    }
}

impl Kind {
    /// The Table of its objects.
    pub fn shape(&self) -> Shape<'_> {
        Shape { columns: &self.columns, print: &self.print, hidden: self.strategy.added_annotations() }
    }

    /// Whether there is a Table of what it, or one of its subresources, answers: of objects that are kept and of Scales, not
    /// of reviews, tokens and what is answered by a Status.
    pub fn has_table(&self, subresource: Option<Subresource>) -> bool {
        self.persistence.has_objects()
            && !matches!(subresource, Some(Subresource::Binding | Subresource::Eviction | Subresource::Token))
            && (subresource != Some(Subresource::Status) || self.strategy.status_has_table())
    }
}

/// The metadata of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMeta {
    /// The revision at which the list was read, as text.
    pub resource_version: String,
    /// Where the next page starts, if there is one.
    pub continue_token: Option<String>,
    /// How many objects follow this page, if known.
    pub remaining: Option<u64>,
}

/// Whether a Table names its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// It does: lists, single objects, the first event of a watch.
    Shown,
    /// It does not: later events of a watch.
    Omitted,
}

impl ListMeta {
    /// As in `metadata` of a list or Table.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("resourceVersion".to_owned(), self.resource_version.as_str().into());
        if let Some(token) = &self.continue_token {
            map.insert("continue".to_owned(), token.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            map.insert("remainingItemCount".to_owned(), remaining.into());
        }
        Value::Object(map)
    }
}

/// The Table of one object; ages count from `now`.
pub fn render(shape: Shape<'_>, object: &Object, now: Timestamp, include: IncludeObject) -> Value {
    let meta = ListMeta { resource_version: object.resource_version().to_owned(), ..ListMeta::default() };
    table(shape, vec![row(shape, object, now, include)], Headers::Shown, meta.to_value())
}

/// The Table with one row that a watch event carries as its object.
pub fn event(
    shape: Shape<'_>,
    object: &Object,
    now: Timestamp,
    include: IncludeObject,
    headers: Headers,
) -> Value {
    let meta = json!({"resourceVersion": object.resource_version()});
    table(shape, vec![row(shape, object, now, include)], headers, meta)
}

/// The metadata of an object as `meta.k8s.io/v1` PartialObjectMetadata, without the annotations that are not to be shown.
pub fn partial_metadata(object: &Object, hidden: &[&str]) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata_alone(object, hidden),
    })
}

/// The metadata of an object, without the annotations that are not to be shown.
pub fn metadata_alone(object: &Object, hidden: &[&str]) -> Map<String, Value> {
    let mut metadata = object.get(&["metadata"]).and_then(Value::as_object).cloned().unwrap_or_default();
    if !hidden.is_empty()
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.retain(|name, _| !hidden.contains(&name.as_str()));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    metadata
}

fn table(shape: Shape<'_>, rows: Vec<Value>, headers: Headers, metadata: Value) -> Value {
    let columns = match headers {
        Headers::Shown => columns(shape),
        // Null, as Kubernetes has it, and not an empty list, which would be a Table without columns.
        Headers::Omitted => Value::Null,
    };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// The definitions of a Table's columns.
pub fn columns(shape: Shape<'_>) -> Value {
    Value::Array(shape.columns.iter().map(column).collect())
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind.as_str(),
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}

/// The row of an object; ages count from `now`.
pub fn row(shape: Shape<'_>, object: &Object, now: Timestamp, include: IncludeObject) -> Value {
    let Row { cells, completed } = shape.print.row(object, now);
    let mut row = Map::new();
    row.insert("cells".to_owned(), Value::Array(cells));
    if let Some(reason) = completed {
        let condition = json!({
            "type": "Completed",
            "status": "True",
            "reason": reason,
            "message": completion(&reason),
        });
        row.insert("conditions".to_owned(), json!([condition]));
    }
    let embedded = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial_metadata(object, shape.hidden),
        IncludeObject::Object => Value::Object(object.as_map().clone()),
    };
    row.insert("object".to_owned(), embedded);
    Value::Object(row)
}

fn completion(reason: &str) -> &'static str {
    match reason {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::kind;

    fn object() -> Object {
        let value = json!({"kind": "Widget", "metadata": {"name": "a", "resourceVersion": "7"}, "spec": {}});
        Object::from_value(value).unwrap()
    }

    #[test]
    fn renders_objects() {
        let table =
            render(kind("widgets").shape(), &object(), Timestamp::UNIX_EPOCH, IncludeObject::Metadata);
        let expected = json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "7"},
            "columnDefinitions": [
                {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            ],
            "rows": [{"cells": ["a"], "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": "a", "resourceVersion": "7"},
            }}],
        });
        assert_eq!(table, expected);
    }

    #[test]
    fn renders_events() {
        let render = |include, headers| {
            event(kind("widgets").shape(), &object(), Timestamp::UNIX_EPOCH, include, headers)
        };
        let first = render(IncludeObject::Object, Headers::Shown);
        assert_eq!(first["columnDefinitions"].as_array().unwrap().len(), 1);
        assert_eq!(first["rows"][0]["object"], object().into_value());
        assert_eq!(first["metadata"]["resourceVersion"], "7");
        let later = render(IncludeObject::None, Headers::Omitted);
        assert_eq!(later["columnDefinitions"], Value::Null);
        assert_eq!(later["rows"], json!([{"cells": ["a"], "object": null}]));
    }
}
