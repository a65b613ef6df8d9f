//! The image store on disk, synchronous: importing layers and images, collecting what nobody needs.
//!
//! ```text
//! <images>/index.json          names and images (see `index`)
//! <images>/index.lock          taken by whoever changes the index
//! <images>/import.lock         shared by imports, exclusive for collection
//! <images>/layers/<id>/fs      one unpacked layer
//! <images>/layers/<id>/size    bytes of its files
//! <images>/layers/.new-…       being unpacked; renamed when complete
//! ```
//!
//! A layer's directory is named by the start of the digest of its chain (itself and all below).

use super::archive::{self, ImageArchive};
use super::index::{self, Record, Source, Sync};
use super::reference::Reference;
use super::{ImageError, io_error};
use crate::ids::ImageId;
use crate::wire::RootfsSource;
use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Digits of a chain's digest that name its directory: few, so that many layers fit into one mount's options.
const NAME_DIGITS: usize = 16;

/// Layer of images that have none.
const EMPTY_LAYER: &str = "empty";

#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    /// Run directory of the pods, whose containers keep images in use.
    pods: PathBuf,
}

/// Proof that no layer is removed meanwhile.
pub(super) struct Importing {
    _lock: File,
}

impl Store {
    pub(super) fn open(directory: &Path, pods: &Path) -> Result<Self, ImageError> {
        let store = Self { directory: directory.to_owned(), pods: pods.to_owned() };
        let empty = store.layer_dir(EMPTY_LAYER);
        fs::create_dir_all(&empty).map_err(io_error("create", &empty))?;
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .map_err(io_error("protect", directory))?;
        store.remove_unfinished()?;
        index::read(directory)?;
        Ok(store)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn layers(&self) -> PathBuf {
        self.directory.join("layers")
    }

    fn layer_dir(&self, name: &str) -> PathBuf {
        self.layers().join(name).join("fs")
    }

    pub(super) fn importing(&self) -> Result<Importing, ImageError> {
        let lock = index::lock(&self.directory.join("import.lock"), FlockOperation::LockShared)?;
        Ok(Importing { _lock: lock })
    }

    /// Removes what an interrupted import left, unless an import is under way.
    fn remove_unfinished(&self) -> Result<(), ImageError> {
        let path = self.directory.join("import.lock");
        match index::lock(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(_lock) => self.remove_layers(|name| name.starts_with(".new-")),
            Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove_layers(&self, unwanted: impl Fn(&str) -> bool) -> Result<(), ImageError> {
        let layers = self.layers();
        for entry in fs::read_dir(&layers).map_err(io_error("read", &layers))? {
            let entry = entry.map_err(io_error("read", &layers))?;
            if entry.file_name().to_str().is_some_and(&unwanted) {
                fs::remove_dir_all(entry.path()).map_err(io_error("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Whether a layer is there already.
    pub(super) fn has_layer(&self, chain_id: &str) -> bool {
        self.layers().join(layer_name(chain_id)).exists()
    }

    /// Unpacks a layer (compressed or not) unless it is there, and checks its digest.
    pub(super) fn add_layer(
        &self,
        _importing: &Importing,
        chain: &[String],
        diff_id: &str,
        source: impl Read,
    ) -> Result<(), ImageError> {
        let Some((own, below)) = chain.split_last() else { return Ok(()) };
        if self.has_layer(own) {
            return Ok(());
        }
        let parents: Vec<PathBuf> = below.iter().rev().map(|id| self.layer_dir(&layer_name(id))).collect();
        self.make_layer(&layer_name(own), |target| {
            let malformed =
                |reason: String| ImageError::Malformed { what: format!("layer {diff_id}"), reason };
            let mut hashed = Hashed {
                source: archive::expand(source).map_err(|e| malformed(e.to_string()))?,
                hash: Sha256::new(),
            };
            let size =
                super::layer::unpack(&mut hashed, target, &parents).map_err(|e| malformed(e.to_string()))?;
            io::copy(&mut hashed, &mut io::sink()).map_err(|e| malformed(e.to_string()))?;
            let got = format!("sha256:{}", archive::hex(&hashed.hash.finalize()));
            if got == diff_id {
                Ok(size)
            } else {
                Err(malformed(format!("its content has the digest {got}")))
            }
        })
    }

    /// Fills a layer's directory under a temporary name and puts it in its place.
    fn make_layer(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<u64, ImageError>,
    ) -> Result<(), ImageError> {
        let layers = self.layers();
        let temporary = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&layers)
            .map_err(io_error("create in", &layers))?;
        let target = temporary.path().join("fs");
        fs::create_dir(&target).map_err(io_error("create", &target))?;
        let size = fill(&target)?;
        let note = temporary.path().join("size");
        fs::write(&note, size.to_string()).map_err(io_error("write", &note))?;
        let final_path = layers.join(name);
        match fs::rename(temporary.path(), &final_path) {
            Ok(()) => {
                // Now it lies elsewhere; nothing is left to remove.
                let _moved = temporary.keep();
                Ok(())
            }
            // Another import was faster; its layer is the same.
            Err(_) if final_path.exists() => Ok(()),
            Err(error) => Err(io_error("create", &final_path)(error)),
        }
    }

    /// Enters an image whose layers are all there.
    pub(super) fn add_image(
        &self,
        _importing: &Importing,
        id: &ImageId,
        image: NewImage<'_>,
        source: Source,
        sync: Sync,
    ) -> Result<(), ImageError> {
        let layers: Vec<String> = match image.chain {
            [] => vec![EMPTY_LAYER.into()],
            chain => chain.iter().map(|id| layer_name(id)).collect(),
        };
        let size = |name: &String| {
            fs::read_to_string(self.layers().join(name).join("size")).ok()?.parse::<u64>().ok()
        };
        let record = Record {
            size: layers.iter().filter_map(size).sum(),
            layers,
            digests: image.digests,
            config: image.config,
        };
        index::update(&self.directory, sync, |index| {
            index.add(id, record, &image.names, source);
            Ok(())
        })
    }

    /// Imports every image of an archive. Returns their names.
    pub(super) fn load(&self, path: &Path) -> Result<Vec<String>, ImageError> {
        let malformed =
            |reason: String| ImageError::Malformed { what: format!("archive {}", path.display()), reason };
        let archive = ImageArchive::open(path, self)?;
        let found = archive.images().map_err(|error| malformed(error.to_string()))?;
        if found.is_empty() {
            return Err(malformed(format!("it has no image for linux/{}", archive::architecture())));
        }
        let importing = self.importing()?;
        let mut loaded = Vec::new();
        for image in found {
            let id = image_id(&image.config);
            let configuration =
                archive::configuration(&image.config).map_err(|error| malformed(error.to_string()))?;
            if configuration.diff_ids.len() != image.layers.len() {
                return Err(malformed("its configuration and its manifest differ in layers".into()));
            }
            let chain = archive::chain_ids(&configuration.diff_ids);
            for (n, (layer, diff_id)) in image.layers.iter().zip(&configuration.diff_ids).enumerate() {
                let source = archive.read(layer).map_err(|error| malformed(error.to_string()))?;
                self.add_layer(&importing, &chain[..=n], diff_id, source)?;
            }
            let names = image.names.iter().map(|name| Ok(Reference::parse(name)?.to_string()));
            let mut names = names.collect::<Result<Vec<_>, ImageError>>()?;
            if names.is_empty() {
                names.push(id.to_string());
            }
            let new = NewImage {
                chain: &chain,
                names: names.clone(),
                digests: BTreeSet::new(),
                config: configuration.config,
            };
            self.add_image(&importing, &id, new, Source::Loaded, Sync::All)?;
            loaded.extend(names);
        }
        Ok(loaded)
    }

    /// Makes an image of one file, named by where it lies and what it is, not by its content: reading a large file at
    /// each start would cost more than it brings.
    pub(super) fn add_executable(
        &self,
        name: &str,
        path: &Path,
        arguments: &[&str],
    ) -> Result<ImageId, ImageError> {
        use std::os::unix::fs::MetadataExt;
        let path = fs::canonicalize(path).map_err(io_error("find", path))?;
        let status = fs::metadata(&path).map_err(io_error("find", &path))?;
        let file_name = path.file_name().unwrap_or_default();
        let identity = format!(
            "executable {} {} {} {} {}.{}",
            path.display(),
            status.dev(),
            status.ino(),
            status.size(),
            status.mtime(),
            status.mtime_nsec()
        );
        let chain = [format!("sha256:{}", archive::hex(&Sha256::digest(&identity)))];
        let id = image_id(format!("{identity} {arguments:?}").as_bytes());
        let importing = self.importing()?;
        if !self.has_layer(&chain[0]) {
            self.make_layer(&layer_name(&chain[0]), |target| {
                let target = target.join(file_name);
                if fs::hard_link(&path, &target).is_err() {
                    fs::copy(&path, &target).map_err(io_error("copy to", &target))?;
                }
                Ok(status.size())
            })?;
        }
        let entrypoint = std::iter::once(format!("/{}", file_name.to_string_lossy()));
        let config = super::ImageConfig {
            entrypoint: entrypoint.chain(arguments.iter().map(|a| (*a).to_owned())).collect(),
            ..super::ImageConfig::default()
        };
        let new = NewImage { chain: &chain, names: vec![name.to_owned()], digests: BTreeSet::new(), config };
        self.add_image(&importing, &id, new, Source::Loaded, Sync::Index)?;
        Ok(id)
    }

    /// The layers of an image, topmost first.
    pub(super) fn rootfs(&self, image: &ImageId) -> Result<RootfsSource, ImageError> {
        let index = index::read(&self.directory)?;
        let not_found = || ImageError::NotFound { reference: image.to_string() };
        let record = index.images.get(image).ok_or_else(not_found)?;
        let layers = record.layers.iter().rev().map(|name| format!("{name}/fs")).collect();
        Ok(RootfsSource { directory: self.layers(), layers })
    }

    /// Removes a name and whatever nobody needs any more.
    pub(super) fn remove(&self, name: &str) -> Result<(), ImageError> {
        index::update(&self.directory, Sync::Index, |index| {
            let not_found = || ImageError::NotFound { reference: name.into() };
            let (id, _) = index.find(name).ok_or_else(not_found)?;
            let id = id.clone();
            if index.names.remove(name).is_none() {
                // By identity or digest: all of its names.
                index.names.retain(|_, n| n.image != id);
            }
            Ok(())
        })?;
        self.collect()
    }

    fn collect(&self) -> Result<(), ImageError> {
        let _alone = index::lock(&self.directory.join("import.lock"), FlockOperation::LockExclusive)?;
        let in_use = self.in_use();
        let needed = index::update(&self.directory, Sync::Index, |index| Ok(index.collect(&in_use)))?;
        self.remove_layers(|name| name != EMPTY_LAYER && !needed.contains(name))
    }

    /// The images of all containers there are, as their own files say.
    fn in_use(&self) -> BTreeSet<ImageId> {
        #[derive(serde::Deserialize)]
        struct Uses {
            image: ImageId,
        }
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path());
        let containers = entries(&self.pods).flat_map(|pod| entries(&pod.join("c")).collect::<Vec<_>>());
        let read =
            |path: PathBuf| serde_json::from_slice::<Uses>(&fs::read(path.join("spec.json")).ok()?).ok();
        containers.filter_map(read).map(|uses| uses.image).collect()
    }
}

/// What is entered for an image.
pub(super) struct NewImage<'a> {
    pub(super) chain: &'a [String],
    pub(super) names: Vec<String>,
    pub(super) digests: BTreeSet<String>,
    pub(super) config: super::ImageConfig,
}

/// The identity of an image: the digest of its configuration document.
pub(super) fn image_id(document: &[u8]) -> ImageId {
    let id = ImageId::new(format!("sha256:{}", archive::hex(&Sha256::digest(document))));
    id.unwrap_or_else(|_| unreachable!("a SHA-256 digest has 64 hexadecimal digits"))
}

fn layer_name(chain_id: &str) -> String {
    chain_id.trim_start_matches("sha256:").chars().take(NAME_DIGITS).collect()
}

/// Digests what is read.
struct Hashed<R> {
    source: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
