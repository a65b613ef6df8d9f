//! Tokens among the subprotocols that a WebSocket client offers, one header in each line.

pub(crate) fn run(data: &[u8]) {
    skiff_apiserver::fuzzing::subprotocols(data);
}
