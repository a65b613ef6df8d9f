//! The image store on disk, synchronous: importing layers and images, collecting what nobody needs.
//!
//! ```text
//! <images>/index.json    names and images (see `index`)
//! <images>/index.lock    taken by whoever changes the index
//! <images>/layers        unpacked layers (see `layers`)
//! ```
//!
//! Imports of different images do not wait for each other: unpacking takes no lock but those that keep its layers.

use super::archive::{Found, ImageArchive, LayerFile};
use super::digest::{ChainId, DiffId, Digest, Hasher};
use super::documents;
use super::index::{self, Access, Index, Proof, Record, Source};
use super::layer;
use super::layers::{Held, LayerName, Layers};
use super::limits::{Bound, ImageLimits};
use super::parts::{Contents, Holds, Part};
use super::reference::Reference;
use super::unpack::{Blob, Compression, Failed, Interrupted, Unpacker};
use super::{ImageError, io_error};
use crate::ids::ImageId;
use crate::spec::{Mount, MountKind};
use crate::wire::RootfsSource;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    /// Run directory of the pods, whose containers keep images in use.
    pods: PathBuf,
    layers: Layers,
    unpacker: Unpacker,
}

/// The layers of an image on their way in, bottom first.
#[derive(Debug, Default)]
pub(super) struct Stack {
    layers: Vec<Held>,
}

impl Stack {
    /// Bytes of its layers.
    fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

impl Store {
    pub(super) fn open(directory: &Path, pods: &Path, unpacker: Unpacker) -> Result<Self, ImageError> {
        let layers = Layers::open(directory.join("layers"))?;
        let store = Self { directory: directory.to_owned(), pods: pods.to_owned(), layers, unpacker };
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
            .map_err(io_error("protect", directory))?;
        // Layers that no image has may be incomplete after a crash of the machine: the index follows what it names.
        let keep_all = |_: &mut Index| ();
        store.remove_unneeded(keep_all)?;
        Ok(store)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn limits(&self) -> &ImageLimits {
        &self.unpacker.limits
    }

    /// Whether a layer is there. Nothing keeps it there.
    pub(super) fn has_layer(&self, chain: ChainId) -> Result<bool, ImageError> {
        Ok(self.layers.hold(&LayerName::chain(chain))?.is_some())
    }

    /// Takes the next layer of an image, which was there a moment ago.
    pub(super) fn take_present_layer(&self, stack: &mut Stack, chain: ChainId) -> Result<(), ImageError> {
        if self.take_layer(stack, chain)? {
            return Ok(());
        }
        let reason = "it was removed meanwhile; another try fetches it anew".into();
        Err(ImageError::Unpack { what: format!("layer {}", chain.0), reason })
    }

    /// Takes the next layer of an image if it is there already.
    fn take_layer(&self, stack: &mut Stack, chain: ChainId) -> Result<bool, ImageError> {
        let held = self.layers.hold(&LayerName::chain(chain))?;
        let found = held.is_some();
        stack.layers.extend(held);
        self.check_size(stack, chain)?;
        Ok(found)
    }

    fn check_size(&self, stack: &Stack, chain: ChainId) -> Result<(), ImageError> {
        let exceeded = |error: super::limits::Exceeded| malformed_layer(chain.0, error.to_string());
        self.limits().check(Bound::ImageBytes, stack.size()).map_err(exceeded)
    }

    /// Puts the next layer of an image or artifact in its place, unless it is there; checks what it is against its digests.
    pub(super) fn add_layer(
        &self,
        stack: &mut Stack,
        part: &Part,
        blob: Blob<impl Read + Send>,
    ) -> Result<(), ImageError> {
        if self.take_layer(stack, part.chain)? {
            return Ok(());
        }
        let held = match &part.holds {
            Holds::Archive(diff_id) => self.unpack(stack, part.chain, *diff_id, blob)?,
            Holds::File(path) => {
                let size = stack.size().saturating_add(blob.length);
                self.limits()
                    .check(Bound::ImageBytes, size)
                    .map_err(|error| malformed_file(path, error.to_string()))?;
                self.layers.create(&LayerName::chain(part.chain), |target| {
                    copy_file(target, path, blob)
                        .map_err(|failed| unpack_error(format!("file {}", path.display()), failed))
                })?
            }
        };
        stack.layers.push(held);
        Ok(())
    }

    /// Unpacks a layer, compressed or not.
    fn unpack(
        &self,
        stack: &Stack,
        chain: ChainId,
        diff_id: Option<DiffId>,
        blob: Blob<impl Read + Send>,
    ) -> Result<Held, ImageError> {
        let left = self.limits().get(Bound::ImageBytes).saturating_sub(stack.size());
        let limits = self.limits().with(Bound::ImageBytes, left);
        let below: Vec<PathBuf> =
            stack.layers.iter().rev().map(|held| self.layers.files(&held.name)).collect();
        let fill = |target: &Path| {
            let extracted = self.unpacker.extract(blob, &limits, target, &below);
            let named = diff_id.map_or(chain.0, |diff_id| diff_id.0);
            let extracted = extracted.map_err(|failed| unpack_error(format!("layer {named}"), failed))?;
            if diff_id.is_some_and(|diff_id| diff_id.0 != extracted.digest) {
                let reason = format!("its content has the digest {}", extracted.digest);
                return Err(malformed_layer(named, reason));
            }
            let root = layer::open_directory(target).map_err(io_error("open", target))?;
            layer::mark_opaque(&root, &extracted.unpacked.opaque).map_err(io_error("mark in", target))?;
            Ok(extracted.unpacked.size)
        };
        self.layers.create(&LayerName::chain(chain), fill)
    }

    /// Waits until the layers of an import are on the disk.
    pub(super) fn sync(&self) -> Result<(), ImageError> {
        index::sync(&self.directory)
    }

    /// Enters an image whose layers are all there, and on the disk.
    pub(super) fn add_image(
        &self,
        id: &ImageId,
        stack: &Stack,
        image: NewImage,
        source: Source,
    ) -> Result<(), ImageError> {
        let mut layers: Vec<LayerName> = stack.layers.iter().map(|held| held.name.clone()).collect();
        if layers.is_empty() {
            layers.push(LayerName::empty());
        }
        let (size, access) = (stack.size(), Access::of(image.access));
        let record = Record { size, layers, digests: image.digests, config: image.config, access };
        index::update(&self.directory, |index| {
            index.add(id, record, &image.names, source);
            Ok(())
        })
    }

    /// Imports every image of an archive, which has to be a file. Returns their names.
    pub(super) fn load(&self, path: &Path) -> Result<Vec<String>, ImageError> {
        let what = format!("archive {}", path.display());
        // A named pipe is not waited for, and no device is touched.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let found = fs::metadata(path).map_err(io_error("open", path))?;
        let mut file = None;
        if found.is_file() {
            let opened = File::options().read(true).custom_flags(flags).open(path);
            file = Some(opened.map_err(io_error("open", path))?);
        }
        match file {
            Some(file) if file.metadata().is_ok_and(|found| found.is_file()) => self.load_file(&what, file),
            _ => {
                let kind = kind_of(found.file_type());
                let reason = format!("it is {kind}, not a file; `-` reads an archive from standard input");
                Err(ImageError::Malformed { what, reason })
            }
        }
    }

    /// Imports every image of an archive that comes in pieces.
    pub(super) fn load_stream(&self, mut source: impl Read) -> Result<Vec<String>, ImageError> {
        let what = "archive";
        let mut file = self.temporary()?;
        let most = self.limits().get(Bound::ArchiveBytes);
        let copied = io::copy(&mut source.by_ref().take(most.saturating_add(1)), &mut file);
        let copied = copied.map_err(io_error("copy to", &self.directory))?;
        let exceeded = |error: super::limits::Exceeded| malformed(what, error.to_string());
        self.limits().check(Bound::ArchiveBytes, copied).map_err(exceeded)?;
        self.load_file(what, file)
    }

    /// A file without a name in the store's directory.
    pub(super) fn temporary(&self) -> Result<File, ImageError> {
        tempfile::tempfile_in(&self.directory).map_err(io_error("create a file in", &self.directory))
    }

    fn load_file(&self, what: &str, file: File) -> Result<Vec<String>, ImageError> {
        let file = self.plain(what, file)?;
        let archive = ImageArchive::open(file, self.limits());
        let archive = archive.map_err(|error| malformed(what, error.to_string()))?;
        let found = archive.images().map_err(|error| malformed(what, error.to_string()))?;
        if found.is_empty() {
            let reason = format!("it has no image for linux/{}", documents::architecture());
            return Err(malformed(what, reason));
        }
        let mut loaded = Vec::new();
        for image in found {
            loaded.extend(self.load_image(what, &archive, image)?);
        }
        Ok(loaded)
    }

    /// The archive itself, or a temporary file that holds it expanded.
    fn plain(&self, what: &str, mut file: File) -> Result<File, ImageError> {
        let read = io_error("read", Path::new(what));
        let mut start = [0; 4];
        let length = file.read_at(&mut start, 0).map_err(&read)?;
        file.seek(SeekFrom::Start(0)).map_err(&read)?;
        if length == 0 {
            return Err(malformed(what, "it is empty".into()));
        }
        if Compression::of(&start[..length]).is_none() {
            return Ok(file);
        }
        let length = file.metadata().map_err(&read)?.len();
        let mut plain = self.temporary()?;
        let blob = Blob { content: file, length, digest: None };
        let expanded =
            self.unpacker.expand(blob, self.limits(), Bound::ArchiveBytes, |bytes| plain.write_all(bytes));
        match expanded {
            Ok(()) => Ok(plain),
            Err(Interrupted::Failed(failed)) => Err(unpack_error(what.to_owned(), failed)),
            Err(Interrupted::Sink(error)) => Err(io_error("write in", &self.directory)(error)),
        }
    }

    fn load_image(
        &self,
        what: &str,
        archive: &ImageArchive<'_>,
        image: Found,
    ) -> Result<Vec<String>, ImageError> {
        let names = image.names.iter().map(|name| Ok(Reference::parse(name)?.to_string()));
        let mut names = names.collect::<Result<Vec<_>, ImageError>>()?;
        let Contents { id, config, parts } = image.contents;
        self.check_layers(&parts, image.layers.len()).map_err(|reason| malformed(what, reason))?;
        let mut stack = Stack::default();
        for (file, part) in image.layers.iter().zip(&parts) {
            let blob = blob_of(archive, file).map_err(|error| malformed(what, error.to_string()))?;
            self.add_layer(&mut stack, part, blob)?;
        }
        if names.is_empty() {
            names.push(id.to_string());
        }
        let new = NewImage { names: names.clone(), digests: BTreeSet::new(), config, access: None };
        self.sync()?;
        self.add_image(&id, &stack, new, Source::Loaded)?;
        Ok(names)
    }

    /// Whether a configuration and a manifest fit together, within bounds.
    pub(super) fn check_layers(&self, parts: &[Part], layers: usize) -> Result<(), String> {
        self.limits().check(Bound::Layers, layers as u64).map_err(|error| error.to_string())?;
        if parts.len() == layers {
            Ok(())
        } else {
            Err("its configuration and its manifest differ in layers".into())
        }
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
        let layer = LayerName::executable(Digest::of(&identity));
        let id = Digest::of(format!("{identity} {arguments:?}")).image_id();
        let held = match self.layers.hold(&layer)? {
            Some(held) => held,
            None => self.layers.create(&layer, |target| {
                let target = target.join(file_name);
                if fs::hard_link(&path, &target).is_err() {
                    fs::copy(&path, &target).map_err(io_error("copy to", &target))?;
                }
                Ok(status.size())
            })?,
        };
        let entrypoint = std::iter::once(format!("/{}", file_name.to_string_lossy()));
        let config = super::ImageConfig {
            entrypoint: entrypoint.chain(arguments.iter().map(|a| (*a).to_owned())).collect(),
            ..super::ImageConfig::default()
        };
        let new = NewImage { names: vec![name.to_owned()], digests: BTreeSet::new(), config, access: None };
        self.add_image(&id, &Stack { layers: vec![held] }, new, Source::Loaded)?;
        Ok(id)
    }

    /// The layers of an image, topmost first.
    pub(super) fn rootfs(&self, image: &ImageId) -> Result<RootfsSource, ImageError> {
        let index = index::read(&self.directory)?;
        let not_found = || ImageError::NotFound { reference: image.to_string() };
        let record = index.images.get(image).ok_or_else(not_found)?;
        let layers = record.layers.iter().rev().map(LayerName::files).collect();
        Ok(RootfsSource { directory: self.layers.directory().to_owned(), layers })
    }

    /// Removes a name and whatever nobody needs any more.
    pub(super) fn remove(&self, name: &str) -> Result<(), ImageError> {
        index::update(&self.directory, |index| {
            let not_found = || ImageError::NotFound { reference: name.into() };
            let (id, _) = index.find(name).ok_or_else(not_found)?;
            let id = id.clone();
            if index.names.remove(name).is_none() {
                // By identity or digest: all of its names.
                index.names.retain(|_, n| n.image != id);
            }
            Ok(())
        })?;
        let in_use = self.in_use();
        self.remove_unneeded(|index| drop(index.collect(&in_use)))
    }

    /// Removes the layers that the index does not name after a change of it. What an import holds stays: it becomes
    /// part of an image soon, or goes another time.
    fn remove_unneeded(&self, change: impl FnOnce(&mut Index)) -> Result<(), ImageError> {
        // What a running container of a store of the first format was mounted from may have no image any more.
        let running = !self.in_use().is_empty();
        index::update(&self.directory, |index| {
            change(index);
            let needed = index.layers();
            self.layers.put_aside(|layer| needed.contains(layer) || (running && layer.is_old()))
        })?;
        self.layers.clear()
    }

    /// The images of all containers there are, as their own files say.
    fn in_use(&self) -> BTreeSet<ImageId> {
        #[derive(serde::Deserialize)]
        struct Uses {
            image: ImageId,
            mounts: Vec<Mount>,
        }
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path());
        let containers = entries(&self.pods).flat_map(|pod| entries(&pod.join("c")).collect::<Vec<_>>());
        let read =
            |path: PathBuf| serde_json::from_slice::<Uses>(&fs::read(path.join("spec.json")).ok()?).ok();
        let images = |uses: Uses| {
            let mounted = uses.mounts.into_iter().filter_map(|mount| match mount.kind {
                MountKind::Image { image, .. } => Some(image),
                MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
            });
            std::iter::once(uses.image).chain(mounted).collect::<Vec<_>>()
        };
        containers.filter_map(read).flat_map(images).collect()
    }
}

/// What is entered for an image.
pub(super) struct NewImage {
    pub(super) names: Vec<String>,
    pub(super) digests: BTreeSet<String>,
    pub(super) config: super::ImageConfig,
    /// What proved the right to it; `None` when none was needed.
    pub(super) access: Option<Proof>,
}

fn blob_of(
    archive: &ImageArchive<'_>,
    file: &LayerFile,
) -> Result<Blob<impl Read + Send + use<>>, super::archive::BadArchive> {
    let (content, length) = archive.layer(file)?;
    Ok(Blob { content, length, digest: file.digest })
}

/// Writes one file, with the directories that it lies in, into a directory where there is nothing that others have made. Returns how
/// many bytes it has.
fn copy_file(target: &Path, path: &Path, blob: Blob<impl Read>) -> Result<u64, Failed> {
    let machine = |error: io::Error| Failed::Machine(error.to_string());
    let path = target.join(path);
    let above: Vec<&Path> = path.ancestors().skip(1).take_while(|above| above.starts_with(target)).collect();
    for directory in above.into_iter().rev() {
        if directory != target {
            fs::create_dir(directory).map_err(machine)?;
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).map_err(machine)?;
    }
    let mut file = File::create_new(&path).map_err(machine)?;
    file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(machine)?;
    let (mut hash, mut buffer, mut length) = (Hasher::default(), vec![0; 1 << 16], 0);
    let mut content = blob.content.take(blob.length.saturating_add(1));
    loop {
        let read = content.read(&mut buffer).map_err(machine)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(machine)?;
        length += read as u64;
    }
    if length != blob.length || blob.digest.is_some_and(|digest| digest != hash.finish()) {
        return Err(Failed::Content("it has not the digest and size that its manifest says".to_owned()));
    }
    Ok(length)
}

fn kind_of(kind: fs::FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

fn malformed(what: &str, reason: String) -> ImageError {
    ImageError::Malformed { what: what.to_owned(), reason }
}

fn malformed_file(path: &Path, reason: String) -> ImageError {
    malformed(&format!("file {}", path.display()), reason)
}

fn malformed_layer(digest: Digest, reason: String) -> ImageError {
    malformed(&format!("layer {digest}"), reason)
}

fn unpack_error(what: String, failed: Failed) -> ImageError {
    match failed {
        Failed::Content(reason) => ImageError::Malformed { what, reason },
        Failed::Machine(reason) => ImageError::Unpack { what, reason },
    }
}
