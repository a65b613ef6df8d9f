//! The index of the image store: which names mean which images, and which layers those have.
//!
//! `index.json` is replaced atomically. Writers in any process take turns by `index.lock`; readers need no lock.

use super::digest::Digest;
use super::layers::LayerName;
use super::{ImageConfig, ImageError, io_error};
use crate::ids::ImageId;
use serde::{Deserialize, Serialize};
use skiff_ordered::Ordered as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Version of the file's format. The first one named layers by a part of their digest; it is read as it is.
const FORMAT: u32 = 2;

/// The whole index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    format: u32,
    /// Normalised names (or, for images without any, their own ID) and what they mean.
    pub(super) names: BTreeMap<String, Name>,
    pub(super) images: BTreeMap<ImageId, Record>,
}

impl Default for Index {
    fn default() -> Self {
        Self { format: FORMAT, names: BTreeMap::new(), images: BTreeMap::new() }
    }
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) image: ImageId,
    pub(super) source: Source,
}

/// Where an image came from under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// A person put it there: never replaced by a pull.
    Loaded,
    /// A registry.
    Pulled,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Directories of its layers, bottom first.
    pub(super) layers: Vec<LayerName>,
    /// Bytes of the layers.
    pub(super) size: u64,
    /// Names by manifest digest.
    pub(super) digests: BTreeSet<String>,
    pub(super) config: ImageConfig,
    #[serde(default)]
    pub(super) access: Access,
}

/// The digest of credentials together with the repository that they were good for.
pub(super) type Proof = Digest;

/// Who may use an image: Kubernetes' `imagePullCredentialsVerificationPolicy: NeverVerifyPreloadedImages` (KEP-2535).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Access {
    /// Any pod: it was loaded, or the registry asked for nothing.
    #[default]
    Anyone,
    /// Who brings credentials that it was pulled with before; others have to ask the registry.
    With(BTreeSet<Proof>),
}

impl Access {
    /// After an image came with these credentials.
    pub(super) fn of(proof: Option<Proof>) -> Self {
        proof.map_or(Self::Anyone, |proof| Self::With(BTreeSet::from([proof])))
    }

    /// Whether somebody with these credentials may use the image.
    pub(super) fn allows(&self, mut proofs: impl Iterator<Item = Proof>) -> bool {
        match self {
            Self::Anyone => true,
            Self::With(known) => proofs.any(|proof| known.contains(&proof)),
        }
    }

    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Anyone, _) => {}
            (all, Self::Anyone) => *all = Self::Anyone,
            (Self::With(known), Self::With(more)) => known.extend(more),
        }
    }
}

impl Index {
    /// The image a normalised name, a name by digest, or an ID means.
    pub(super) fn find(&self, name: &str) -> Option<(&ImageId, &Record)> {
        if let Some(name) = self.names.get(name) {
            return self.images.get_key_value(&name.image);
        }
        if let Ok(id) = ImageId::new(name) {
            return self.images.get_key_value(&id);
        }
        self.images.iter().find(|(_, record)| record.digests.contains(name))
    }

    /// The names of an image, without its own ID.
    pub(super) fn names_of(&self, id: &ImageId) -> Vec<String> {
        let named = self.names.iter().filter(|(name, n)| n.image == *id && name.as_str() != id.as_str());
        named.map(|(name, _)| name.clone()).collect()
    }

    /// Adds an image, or more names and digests of one that is there.
    pub(super) fn add(&mut self, id: &ImageId, record: Record, names: &[String], source: Source) {
        let merged = self.images.entry(id.clone()).or_insert_with(|| record.clone());
        merged.access.merge(record.access);
        if merged.layers.iter().any(LayerName::is_old) {
            (merged.layers, merged.size) = (record.layers, record.size);
        }
        merged.digests.extend(record.digests);
        for name in names {
            self.names.insert(name.clone(), Name { image: id.clone(), source });
        }
    }

    /// Forgets images without a name that nothing uses. Returns the layers still needed.
    pub(super) fn collect(&mut self, in_use: &BTreeSet<ImageId>) -> BTreeSet<LayerName> {
        let named: BTreeSet<ImageId> = self.names.values().map(|name| name.image.clone()).to_set();
        self.images.retain(|id, _| named.contains(id) || in_use.contains(id));
        self.layers()
    }

    /// The layers of all images.
    pub(super) fn layers(&self) -> BTreeSet<LayerName> {
        self.images.values().flat_map(|record| record.layers.iter().cloned()).collect()
    }
}

/// Reads the index; an absent file is an empty one.
pub(super) fn read(directory: &Path) -> Result<Index, ImageError> {
    let path = directory.join("index.json");
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
        other => other.map_err(io_error("read", &path))?,
    };
    let malformed = |reason: String| ImageError::Malformed { what: path.display().to_string(), reason };
    let mut index: Index = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    if !(1..=FORMAT).contains(&index.format) {
        return Err(malformed(format!("format {} is not known, only up to {FORMAT}", index.format)));
    }
    index.format = FORMAT;
    Ok(index)
}

/// Waits until everything that was written so far is on the disk. To be done before the index names it, and without its
/// lock: on a busy disk it takes long.
pub(super) fn sync(directory: &Path) -> Result<(), ImageError> {
    let write = || -> io::Result<()> { Ok(rustix::fs::syncfs(File::open(directory)?)?) };
    write().map_err(io_error("sync", directory))
}

/// Changes the index; nothing is written when `change` fails or changes nothing.
pub(super) fn update<T>(
    directory: &Path,
    change: impl FnOnce(&mut Index) -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    let _lock = lock(&directory.join("index.lock"), rustix::fs::FlockOperation::LockExclusive)?;
    let mut index = read(directory)?;
    let before = index.clone();
    let result = change(&mut index)?;
    if index == before {
        return Ok(result);
    }
    let (path, temporary) = (directory.join("index.json"), directory.join("index.json.new"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        serde_json::to_writer(io::BufWriter::new(&mut file), &index)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(io_error("write", &path))?;
    Ok(result)
}

/// A lock on a file, held until dropped.
pub(super) fn lock(path: &PathBuf, operation: rustix::fs::FlockOperation) -> Result<File, ImageError> {
    let file = File::options().create(true).append(true).open(path).map_err(io_error("open", path))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation))
        .map_err(|errno| io_error("lock", path)(errno.into()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ImageId {
        ImageId::new(format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
    }

    fn layer(digit: &str) -> LayerName {
        LayerName::try_from(digit.repeat(64)).unwrap()
    }

    fn record(layers: &[&str]) -> Record {
        let layers = layers.iter().map(|digit| layer(digit)).collect();
        Record {
            layers,
            size: 1,
            digests: BTreeSet::new(),
            config: ImageConfig::default(),
            access: Access::Anyone,
        }
    }

    #[test]
    fn credentials_are_asked_for_until_an_image_comes_without() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let mut access = Access::of(Some(a));
        assert!(access.allows([b, a].into_iter()) && !access.allows([b].into_iter()));
        assert!(!access.allows(std::iter::empty()));
        access.merge(Access::of(Some(b)));
        assert!(access.allows([a].into_iter()) && access.allows([b].into_iter()));
        access.merge(Access::of(None));
        access.merge(Access::of(Some(a)));
        assert!(access.allows(std::iter::empty()));
    }

    #[test]
    fn unnamed_images_stay_while_used_and_layers_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        update(directory.path(), |index| {
            index.add(&id('1'), record(&["b", "1"]), &["a".into()], Source::Loaded);
            index.add(&id('2'), record(&["b", "2"]), &["b".into()], Source::Pulled);
            Ok(())
        })
        .unwrap();
        let mut index = read(directory.path()).unwrap();
        assert_eq!(index.find("a").unwrap().0, &id('1'));
        assert_eq!(index.find(id('2').as_str()).unwrap().0, &id('2'));
        index.names.remove("a");
        index.names.remove("b");
        let needed = index.collect(&BTreeSet::from([id('2')]));
        assert_eq!(needed.into_iter().collect::<Vec<_>>(), [layer("2"), layer("b")]);
        assert!(index.find(id('1').as_str()).is_none());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("index.json"), r#"{"format":3,"names":{},"images":{}}"#).unwrap();
        assert!(read(directory.path()).unwrap_err().to_string().contains("format 3 is not known"));
    }

    #[test]
    fn images_of_the_first_format_stay_until_they_come_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (id, old) = (id('1'), "0123456789abcdef");
        let written = serde_json::json!({
            "format": 1,
            "names": {"docker.io/library/a:1": {"image": id, "source": "loaded"}},
            "images": {id.as_str(): {"layers": [old], "size": 5, "digests": [], "config": ImageConfig::default()}},
        });
        fs::write(directory.path().join("index.json"), written.to_string()).unwrap();
        let mut index = read(directory.path()).unwrap();
        let (_, found) = index.find("docker.io/library/a:1").unwrap();
        assert_eq!(found.layers, [LayerName::try_from(old.to_owned()).unwrap()]);
        index.add(&id, record(&["1"]), &[], Source::Loaded);
        assert_eq!(index.images[&id].layers, [layer("1")]);
        assert!(index.find("docker.io/library/a:1").is_some());
        let forged = written.to_string().replace(old, "../../../etc");
        fs::write(directory.path().join("index.json"), forged).unwrap();
        read(directory.path()).unwrap_err();
    }
}
