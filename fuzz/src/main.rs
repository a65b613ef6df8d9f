//! One of the targets, named by the environment's `FUZZ_TARGET`, fed by libFuzzer.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use skiff_fuzz_targets::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    let named = TARGETS.iter().find(|target| target.name == name);
    *named.unwrap_or_else(|| panic!("FUZZ_TARGET={name}: choose one of {}", names()))
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
