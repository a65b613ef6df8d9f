//! Bodies in YAML, aliases and all.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| skiff_apiserver::fuzzing::yaml(body));
