//! Tokens among the subprotocols that a WebSocket client offers, one header in each line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| skiff_apiserver::fuzzing::subprotocols(data));
