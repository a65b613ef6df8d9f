//! Events of watches: a line of JSON each, or a message of protobuf after its length.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_exposition::{Counter, Histogram};
use skiff_machinery::table::{self, Headers};
use skiff_machinery::{Object, protobuf as wire};
use skiff_registry::{ApiError, Scribe, Told, codec};
use skiff_store::{Entry, Revision};

use super::asked::Asked;
use super::{format, protobuf};
use crate::http::accept::{Encoding, Format, MetaVersion, View};
use crate::http::metrics::{WATCH_EVENT_SIZES, WATCH_EVENTS};

/// Writes them as the client wants them.
pub(super) struct Events {
    asked: Arc<Asked>,
    /// Columns are named in the first event of a Table watch only.
    headers: Headers,
    counted: Arc<Counter>,
    sizes: Arc<Histogram>,
}

impl Events {
    pub(super) fn new(asked: Arc<Asked>) -> Self {
        let kind = &asked.call.kind;
        let version: &str = &kind.gv.version;
        let labels = [&*kind.gv.group, version, &*kind.names.plural];
        let (counted, sizes) = (WATCH_EVENTS.of(labels), WATCH_EVENT_SIZES.of(labels));
        Self { asked, headers: Headers::Shown, counted, sizes }
    }

    /// Writes an event of something that is not stored.
    fn write(&self, out: &mut Vec<u8>, kind: &str, object: Value) {
        match self.asked.encoding.format {
            Format::Protobuf => {
                let object = Object::from_value(object).unwrap_or_default();
                match protobuf::object(&self.asked, &object) {
                    Ok(body) => wire::event(out, kind, &body),
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "an event was lost")
                    }
                }
            }
            Format::Json | Format::Yaml => {
                open(out, kind);
                codec::write_json(out, &object);
                out.extend_from_slice(b"}\n");
            }
        }
    }

    /// Appends a stored object as JSON.
    fn json(&mut self, out: &mut Vec<u8>, entry: &Entry) -> Result<(), ApiError> {
        match self.asked.encoding.view {
            View::Whole => entry.value.read(|text| codec::splice(out, text, entry.modified)),
            View::Metadata(version, _) => format::splice_metadata(&self.asked, out, entry, version)?,
            View::Table(version) => codec::write_json(out, &self.row(entry, version)?),
        }
        Ok(())
    }

    fn row(&mut self, entry: &Entry, version: MetaVersion) -> Result<Value, ApiError> {
        let asked = &self.asked;
        let object = asked.decoded(entry)?;
        let headers = std::mem::replace(&mut self.headers, Headers::Omitted);
        let now = jiff::Timestamp::now();
        let table = table::event(asked.call.kind.shape(), &object, now, format::include(asked)?, headers);
        Ok(format::versioned(table, version))
    }
}

impl Scribe for Events {
    fn makes_trees(&self) -> bool {
        let Encoding { format, view } = self.asked.encoding;
        format == Format::Protobuf || matches!(view, View::Table(_))
    }

    fn object(&mut self, out: &mut Vec<u8>, told: Told, entry: &Entry) -> Result<(), ApiError> {
        let kind = match told {
            Told::Added => "ADDED",
            Told::Modified => "MODIFIED",
            Told::Deleted => "DELETED",
        };
        let start = out.len();
        match self.asked.encoding.format {
            Format::Protobuf => wire::event(out, kind, &protobuf::entry(&self.asked, entry)?),
            Format::Json | Format::Yaml => {
                open(out, kind);
                self.json(out, entry)?;
                out.extend_from_slice(b"}\n");
            }
        }
        self.counted.add(1);
        self.sizes.observe(f64::from(u32::try_from(out.len() - start).unwrap_or(u32::MAX)));
        Ok(())
    }

    fn bookmark(&mut self, out: &mut Vec<u8>, revision: Revision, initial_end: bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let kind = &self.asked.call.kind;
        let object = match self.asked.encoding.view {
            View::Whole => {
                json!({"kind": &kind.names.kind, "apiVersion": kind.gv.to_string(), "metadata": metadata})
            }
            View::Metadata(version, _) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(), "metadata": metadata})
            }
            View::Table(version) => json!({
                "kind": "Table", "apiVersion": version.api_version(), "metadata": metadata,
                "columnDefinitions": [], "rows": [],
            }),
        };
        self.write(out, "BOOKMARK", object);
    }

    fn failure(&mut self, out: &mut Vec<u8>, status: Value) {
        self.write(out, "ERROR", status);
    }

    /// From now on it takes no seats.
    fn begun(&mut self) {
        self.asked.seat.iter().for_each(|seat| seat.release());
    }
}

fn open(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","object":"#);
}
