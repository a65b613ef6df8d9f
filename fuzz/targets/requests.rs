//! URLs of requests.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| skiff_apiserver::fuzzing::url(text));
