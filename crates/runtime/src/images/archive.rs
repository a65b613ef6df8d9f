//! Reading image archives: those of `docker save` and OCI layouts.
//!
//! One pass notes where each file lies; after that files are read in any order, without unpacking the archive. Only
//! regular files of the archive are ever read, and links of it lead to files of it.

use super::digest::Digest;
use super::documents::{Configuration, Descriptor, Manifest, Unusable, saved};
use super::limits::{Bound, ImageLimits};
use super::parts::Contents;
use super::tarball::Members;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};
use std::sync::Arc;
use tar::EntryType;

/// One image of an archive.
#[derive(Debug)]
pub(super) struct Found {
    /// As written in the archive.
    pub(super) names: Vec<String>,
    pub(super) contents: Contents,
    /// Bottom first.
    pub(super) layers: Vec<LayerFile>,
}

/// A layer's file in an archive.
#[derive(Debug)]
pub(super) struct LayerFile {
    path: String,
    /// The digest of what the file holds, where the archive says it.
    pub(super) digest: Option<Digest>,
}

/// Why an archive is not usable.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadArchive {
    #[error("not a tar archive, or damaged: {0}")]
    Tar(#[source] io::Error),
    #[error("neither manifest.json nor index.json is in it: not an image archive")]
    NoManifest,
    #[error("{0} is missing in it")]
    Missing(String),
    #[error("{path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} has not the digest and size that the archive says")]
    Digest { path: String },
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// An archive and where its files lie.
pub(super) struct ImageArchive<'a> {
    file: Arc<File>,
    limits: &'a ImageLimits,
    files: HashMap<String, Extent>,
    links: HashMap<String, String>,
    /// Bytes of documents read so far: indexes may name each other again and again.
    documents: Cell<u64>,
}

#[derive(Clone, Copy)]
struct Extent {
    offset: u64,
    length: u64,
}

/// Most indexes within each other.
const NESTED: u32 = 4;

/// How many of the longest documents all documents of an archive may be together.
const DOCUMENTS: u64 = 64;

impl<'a> ImageArchive<'a> {
    /// Notes what an archive holds, which is not compressed.
    pub(super) fn open(file: File, limits: &'a ImageLimits) -> Result<Self, BadArchive> {
        let (files, links) = index(&file, limits).map_err(BadArchive::Tar)?;
        Ok(Self { file: Arc::new(file), limits, files, links, documents: Cell::new(0) })
    }

    /// The images it holds, for this machine's processor where there is a choice.
    pub(super) fn images(&self) -> Result<Vec<Found>, BadArchive> {
        if self.extent("manifest.json").is_some() {
            self.docker()
        } else if self.extent("index.json").is_some() {
            self.oci()
        } else {
            Err(BadArchive::NoManifest)
        }
    }

    /// The content of a layer's file, and its length in bytes.
    pub(super) fn layer(&self, layer: &LayerFile) -> Result<(Slice, u64), BadArchive> {
        let slice = self.read(&layer.path)?;
        let length = slice.left;
        Ok((slice, length))
    }

    fn extent(&self, name: &str) -> Option<Extent> {
        let target = self.links.get(name).map_or(name, String::as_str);
        self.files.get(target).copied()
    }

    fn read(&self, name: &str) -> Result<Slice, BadArchive> {
        let extent =
            self.extent(name).ok_or_else(|| BadArchive::Missing(name.chars().take(200).collect()))?;
        Ok(Slice { file: self.file.clone(), offset: extent.offset, left: extent.length })
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, BadArchive> {
        let mut slice = self.read(name)?;
        let failed = |source| BadArchive::Read { path: name.chars().take(200).collect(), source };
        self.limits.check(Bound::DocumentBytes, slice.left).map_err(|error| failed(error.into()))?;
        self.documents.set(self.documents.get() + slice.left);
        let share = self.documents.get() / DOCUMENTS;
        self.limits.check(Bound::DocumentBytes, share).map_err(|error| failed(error.into()))?;
        let mut bytes = Vec::new();
        slice.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn docker(&self) -> Result<Vec<Found>, BadArchive> {
        let images = saved(&self.document("manifest.json")?)?;
        let found = images.into_iter().map(|image| {
            let layers = image.layers.into_iter().map(|path| LayerFile { path, digest: None });
            Ok(Found {
                names: image.repo_tags.unwrap_or_default(),
                contents: image_of(&self.document(&image.config)?)?,
                layers: layers.collect(),
            })
        });
        found.collect()
    }

    fn oci(&self) -> Result<Vec<Found>, BadArchive> {
        let Manifest::Index(descriptors) = Manifest::parse(&self.document("index.json")?)? else {
            return Err(BadArchive::NoManifest);
        };
        let mut found: Vec<Found> = Vec::new();
        let mut by_digest: HashMap<Digest, usize> = HashMap::new();
        for descriptor in &descriptors {
            let name = descriptor.name().cloned();
            if let Some(at) = by_digest.get(&descriptor.digest) {
                found[*at].names.extend(name);
                continue;
            }
            let Some((contents, layers)) = self.choose(descriptor, 0)? else { continue };
            by_digest.insert(descriptor.digest, found.len());
            let layer = |l: &Descriptor| LayerFile { path: blob(l.digest), digest: Some(l.digest) };
            found.push(Found {
                names: name.into_iter().collect(),
                contents,
                layers: layers.iter().map(layer).collect(),
            });
        }
        Ok(found)
    }

    /// The image or artifact that a descriptor stands for; `None` for another processor's or for what is not there.
    fn choose(
        &self,
        descriptor: &Descriptor,
        depth: u32,
    ) -> Result<Option<(Contents, Vec<Descriptor>)>, BadArchive> {
        // Archives may leave out what is for other processors.
        if descriptor.is_foreign() || depth > NESTED || self.extent(&blob(descriptor.digest)).is_none() {
            return Ok(None);
        }
        match Manifest::parse(&self.blob(descriptor)?)? {
            Manifest::Image { config, layers } => Ok(Some((image_of(&self.blob(&config)?)?, layers))),
            Manifest::Artifact { layers } => {
                Ok(Some((Contents::of_artifact(descriptor.digest, &layers)?, layers)))
            }
            Manifest::Index(descriptors) => {
                for inner in &descriptors {
                    if let Some(chosen) = self.choose(inner, depth + 1)? {
                        return Ok(Some(chosen));
                    }
                }
                Ok(None)
            }
        }
    }

    /// A document that is what its descriptor says.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, BadArchive> {
        let path = blob(descriptor.digest);
        let bytes = self.document(&path)?;
        if bytes.len() as u64 == descriptor.size && Digest::of(&bytes) == descriptor.digest {
            Ok(bytes)
        } else {
            Err(BadArchive::Digest { path })
        }
    }
}

/// The image with this configuration.
fn image_of(document: &[u8]) -> Result<Contents, Unusable> {
    Ok(Contents::of_image(Digest::of(document), Configuration::parse(document)?))
}

/// Where OCI layouts have a blob.
fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

type Index = (HashMap<String, Extent>, HashMap<String, String>);

fn index(file: &File, limits: &ImageLimits) -> io::Result<Index> {
    let length = file.metadata()?.len();
    let (mut files, mut links) = (HashMap::new(), HashMap::new());
    let mut at = 0;
    // Contents are skipped by position: only headers are read.
    while at < length {
        let source =
            BufReader::new(Slice { file: Arc::new(file.try_clone()?), offset: at, left: length - at });
        let mut members = Members::new(source, limits);
        let Some(member) = members.next()? else { break };
        let (offset, size) = (at + member.position, member.size);
        limits.check(Bound::Entries, files.len() as u64 + links.len() as u64 + 1)?;
        let path = String::from_utf8_lossy(&member.path);
        let target = String::from_utf8_lossy(&member.link);
        let name = clean(Path::new(&*path));
        match member.kind {
            EntryType::Regular | EntryType::Continuous => {
                files.insert(name, Extent { offset, length: size });
            }
            // A symbolic link counts from its own directory, a hard link from the root.
            EntryType::Symlink => {
                let from = Path::new(&name).parent().unwrap_or(Path::new("")).join(&*target);
                links.insert(name, clean(&from));
            }
            EntryType::Link => drop(links.insert(name, clean(Path::new(&*target)))),
            // Directories and whatever else no image archive has.
            _ => {}
        }
        let end = size.checked_next_multiple_of(512).and_then(|whole| offset.checked_add(whole));
        at = end.ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok((files, links))
}

/// A path without `.` and with `..` taken back.
fn clean(path: &Path) -> String {
    let mut names: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    names.join("/")
}

/// Part of a file, read without moving its position.
pub(super) struct Slice {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn open<'a>(bytes: &[u8], limits: &'a ImageLimits) -> Result<ImageArchive<'a>, BadArchive> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        ImageArchive::open(file, limits)
    }

    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, path, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            if *kind == EntryType::Regular {
                header.set_size(text.len() as u64);
                builder.append_data(&mut header, path, text.as_bytes()).unwrap();
            } else {
                header.set_size(0);
                builder.append_link(&mut header, path, text).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn links_lead_to_files_of_the_archive_only() {
        let limits = ImageLimits::default();
        let bytes = archive(&[
            (EntryType::Regular, "a/layer.tar", "content"),
            (EntryType::Symlink, "b/layer.tar", "../a/layer.tar"),
            (EntryType::Symlink, "out", "/../../etc/passwd"),
            (EntryType::Symlink, "self", "self"),
            (EntryType::Char, "device", "x"),
        ]);
        let archive = open(&bytes, &limits).unwrap();
        let read = |name: &str| {
            let mut text = String::new();
            archive.read(name).map(|mut slice| slice.read_to_string(&mut text)).map(|_| text)
        };
        assert_eq!(read("b/layer.tar").unwrap(), "content");
        for absent in ["out", "self", "device", "/etc/passwd", "../a/layer.tar"] {
            assert!(matches!(read(absent), Err(BadArchive::Missing(_))), "{absent}");
        }
    }

    #[test]
    fn documents_are_bounded_and_digested() {
        let limits: ImageLimits = "document-bytes=2048".parse().unwrap();
        let long = " ".repeat(3000);
        let error = open(&archive(&[(EntryType::Regular, "manifest.json", &long)]), &limits);
        let error = error.unwrap().images().unwrap_err().to_string();
        assert!(error.contains("document-bytes"), "{error}");
        let digest = Digest::of("something else");
        let index = serde_json::json!({"manifests": [{"digest": digest, "size": 2}]}).to_string();
        let bytes =
            archive(&[(EntryType::Regular, "index.json", &index), (EntryType::Regular, &blob(digest), "{}")]);
        let error = open(&bytes, &limits).unwrap().images().unwrap_err();
        assert!(matches!(error, BadArchive::Digest { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _either = open(&bytes, &ImageLimits::default()).map(|archive| archive.images().is_ok());
        }
    }
}
