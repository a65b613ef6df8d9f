//! Paths of fields that a container may be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| skiff_node::fuzzing::field_path(path));
