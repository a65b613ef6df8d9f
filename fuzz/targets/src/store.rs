//! The store's file as a crash or a bad disk may leave it: opened, or refused with an error.

use std::io::Write as _;

use skiff_store::{Embedded, no_terms};

pub(crate) fn run(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("memory for a file");
    file.write_all(data).expect("memory for a file");
    if let Ok(store) = Embedded::open(file.path(), no_terms) {
        store.close();
    }
}
