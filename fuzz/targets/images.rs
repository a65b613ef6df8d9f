//! Manifests, configurations and names of images, and what registries ask for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_runtime::images::fuzzing;

fuzz_target!(|data: &[u8]| {
    fuzzing::documents(data);
    if let Ok(text) = std::str::from_utf8(data) {
        fuzzing::words(text);
    }
});
