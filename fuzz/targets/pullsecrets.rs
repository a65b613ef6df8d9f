//! Credentials for registries: the name of a repository, a zero byte, docker's configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((repository, content)) = skiff_fuzz::halves(data) else { return };
    skiff_node::fuzzing::pull_secret(content, &String::from_utf8_lossy(repository));
});
