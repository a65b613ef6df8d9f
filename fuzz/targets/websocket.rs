//! What a WebSocket client sends after its handshake.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| skiff_streams::fuzzing::websocket_frames(data));
