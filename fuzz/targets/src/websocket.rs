//! What a WebSocket client sends after its handshake.

pub(crate) fn run(data: &[u8]) {
    skiff_streams::fuzzing::websocket_frames(data);
}
