//! Decoders of this crate for the fuzz targets.

use bytes::Bytes;

use crate::http::path::RequestInfo;
use crate::http::query::Query;
use crate::pipeline::decode;

/// Reads a path and a query, with a `?` between them.
pub fn url(text: &str) {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    drop(RequestInfo::parse(path));
    let query = Query::parse(query);
    drop((query.number("limit"), query.dry_run("CreateOptions"), query.field_validation("CreateOptions")));
    drop(query.check_timeout());
}

/// Reads a body in YAML.
pub fn yaml(body: &[u8]) {
    drop(decode::to_json("application/yaml", &Bytes::copy_from_slice(body)));
}
