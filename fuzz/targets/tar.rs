//! Archives of images and of their layers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| skiff_runtime::images::fuzzing::tar(data));
