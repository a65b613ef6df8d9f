//! Decoders of this crate for the fuzz targets.

use super::challenge::Challenge;
use super::documents::{Configuration, Manifest, saved};
use super::limits::ImageLimits;
use super::reference::Reference;
use super::tarball::Members;
use std::io::{Read, sink};

/// Reads the members of an archive, and their content, until it ends or is refused.
pub fn tar(data: &[u8]) {
    let limits = ImageLimits::default();
    let mut members = Members::new(data, &limits);
    while let Ok(Some(_)) = members.next() {
        if std::io::copy(&mut members.by_ref(), &mut sink()).is_err() {
            return;
        }
    }
}

/// Reads a document as each of those that images have.
pub fn documents(data: &[u8]) {
    drop((Configuration::parse(data), Manifest::parse(data), saved(data)));
}

/// Reads words: the name of an image, and what a registry asks for.
pub fn words(text: &str) {
    if let Ok(reference) = Reference::parse(text) {
        let again = Reference::parse(&reference.to_string());
        assert!(again.is_ok_and(|again| again == reference), "what was understood once is understood again");
    }
    drop(Challenge::parse(text));
}
