//! Archives of images and of their layers.

pub(crate) fn run(data: &[u8]) {
    skiff_runtime::images::fuzzing::tar(data);
}
