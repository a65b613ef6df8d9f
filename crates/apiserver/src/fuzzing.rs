//! Decoders of this crate for the fuzz targets.

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderValue};

use skiff_auth as auth;
use skiff_registry::Query;

use crate::http::path::RequestInfo;

/// Reads a path and a query, with a `?` between them.
pub fn url(text: &str) {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    drop(RequestInfo::parse(path));
    let query = Query::parse(query);
    drop((query.number("limit"), query.check_writer("CreateOptions", false), query.field_validation()));
    drop(query.timeout());
}

/// Reads a body in YAML.
pub fn yaml(body: &[u8]) {
    skiff_registry::fuzzing::yaml(body);
}

/// Reads lists of WebSocket subprotocols, one in each line, for the token among them, and takes it out.
pub fn subprotocols(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        headers.extend(HeaderValue::from_bytes(line).ok().map(|value| (SEC_WEBSOCKET_PROTOCOL, value)));
    }
    drop(auth::bearer_token(&headers));
    auth::strip_credentials(&mut headers);
    assert_eq!(auth::bearer_token(&headers), None, "what goes on holds no token");
}
