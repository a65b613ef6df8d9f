//! Manifests, configurations and names of images, and what registries ask for.

use skiff_runtime::images::fuzzing;

pub(crate) fn run(data: &[u8]) {
    fuzzing::documents(data);
    if let Ok(text) = std::str::from_utf8(data) {
        fuzzing::words(text);
    }
}
