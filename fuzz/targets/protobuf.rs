//! Bodies in protobuf.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_catalogue::protobuf;
use skiff_fuzz::kind;

fuzz_target!(|data: &[u8]| {
    if let Some((kind, body)) = kind(data) {
        drop(protobuf::decode(body, kind.definition));
    }
});
