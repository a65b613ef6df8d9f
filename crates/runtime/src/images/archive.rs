//! Reading image archives: those of `docker save` and OCI layouts, plain or compressed.
//!
//! One pass notes where each file lies; after that files are read in any order, without unpacking the archive.

use super::store::Store;
use super::{ImageConfig, ImageError, io_error};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// One image of an archive.
#[derive(Debug)]
pub(super) struct Found {
    /// As written in the archive.
    pub(super) names: Vec<String>,
    pub(super) config: Vec<u8>,
    /// Files of the layers, bottom first.
    pub(super) layers: Vec<String>,
}

/// An archive and where its files lie.
pub(super) struct ImageArchive {
    file: Arc<File>,
    files: HashMap<String, Extent>,
    links: HashMap<String, String>,
}

#[derive(Clone, Copy)]
struct Extent {
    offset: u64,
    length: u64,
}

/// Longest document read into memory, in bytes.
const DOCUMENT: u64 = 16 << 20;

impl ImageArchive {
    /// Notes what an archive holds; a compressed one is expanded into a temporary file of the store.
    pub(super) fn open(path: &Path, store: &Store) -> Result<Self, ImageError> {
        let mut file = File::open(path).map_err(io_error("open", path))?;
        let scan = |file: &mut File| -> io::Result<_> {
            if compression(&peek(file)?).is_some() {
                let mut plain = tempfile::tempfile_in(store.directory())?;
                io::copy(&mut expand(&*file)?, &mut plain)?;
                plain.seek(SeekFrom::Start(0))?;
                *file = plain;
            }
            // Its own words would show what is in the file.
            index(file).map_err(|error| match error.kind() {
                io::ErrorKind::Other => io::Error::other("not a tar archive, or damaged"),
                _ => error,
            })
        };
        let malformed = |error: io::Error| ImageError::Malformed {
            what: format!("archive {}", path.display()),
            reason: error.to_string(),
        };
        let (files, links) = scan(&mut file).map_err(malformed)?;
        Ok(Self { file: Arc::new(file), files, links })
    }

    /// The images it holds, for this machine's processor where there is a choice.
    pub(super) fn images(&self) -> io::Result<Vec<Found>> {
        if self.files.contains_key("manifest.json") {
            self.docker()
        } else if self.files.contains_key("index.json") {
            self.oci()
        } else {
            Err(io::Error::other("neither manifest.json nor index.json is in it: not an image archive"))
        }
    }

    /// A file of the archive.
    pub(super) fn read(&self, name: &str) -> io::Result<impl Read + use<>> {
        let target = self.links.get(name).map_or(name, String::as_str);
        let extent = self.files.get(target).ok_or_else(|| io::Error::other(format!("{name} is missing")))?;
        Ok(Slice { file: self.file.clone(), offset: extent.offset, left: extent.length })
    }

    fn document(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(name)?.take(DOCUMENT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn docker(&self) -> io::Result<Vec<Found>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Manifest {
            config: String,
            repo_tags: Option<Vec<String>>,
            layers: Vec<String>,
        }
        let manifests: Vec<Manifest> = serde_json::from_slice(&self.document("manifest.json")?)?;
        let found = manifests.into_iter().map(|m| {
            let config = self.document(&m.config)?;
            Ok(Found { names: m.repo_tags.unwrap_or_default(), config, layers: m.layers })
        });
        found.collect()
    }

    fn oci(&self) -> io::Result<Vec<Found>> {
        let index: OciIndex = serde_json::from_slice(&self.document("index.json")?)?;
        let mut found: Vec<Found> = Vec::new();
        let mut by_digest: HashMap<String, usize> = HashMap::new();
        for descriptor in &index.manifests {
            let Some(manifest) = self.choose(descriptor, 0)? else { continue };
            let name = NAME_ANNOTATIONS.iter().find_map(|key| descriptor.annotations.get(*key)).cloned();
            if let Some(at) = by_digest.get(&descriptor.digest) {
                found[*at].names.extend(name);
                continue;
            }
            by_digest.insert(descriptor.digest.clone(), found.len());
            found.push(Found {
                names: name.into_iter().collect(),
                config: self.document(&blob(&manifest.config.digest)?)?,
                layers: manifest.layers.iter().map(|layer| blob(&layer.digest)).collect::<io::Result<_>>()?,
            });
        }
        Ok(found)
    }

    /// The manifest a descriptor stands for; `None` for another processor's or for what is not an image.
    fn choose(&self, descriptor: &Descriptor, depth: u32) -> io::Result<Option<OciManifest>> {
        if descriptor.platform.as_ref().is_some_and(|p| !p.is_ours()) || depth > 4 {
            return Ok(None);
        }
        let name = blob(&descriptor.digest)?;
        // Archives may leave out what is for other processors.
        if !self.files.contains_key(&name) {
            return Ok(None);
        }
        let document = self.document(&name)?;
        if let Ok(index) = serde_json::from_slice::<OciIndex>(&document) {
            for inner in &index.manifests {
                if let Some(manifest) = self.choose(inner, depth + 1)? {
                    return Ok(Some(manifest));
                }
            }
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&document)?))
    }
}

/// Where writers of archives put the name, the more complete one first.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

#[derive(Deserialize)]
struct OciIndex {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct OciManifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Platform {
    fn is_ours(&self) -> bool {
        self.os == "linux" && self.architecture == architecture()
    }
}

/// This machine's processor, as images name it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn blob(digest: &str) -> io::Result<String> {
    match digest.split_once(':') {
        Some((algorithm, hex)) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(format!("blobs/{algorithm}/{hex}"))
        }
        _ => Err(io::Error::other(format!("{digest:?} is not a digest"))),
    }
}

fn index(file: &mut File) -> io::Result<(HashMap<String, Extent>, HashMap<String, String>)> {
    let (mut files, mut links) = (HashMap::new(), HashMap::new());
    let mut archive = tar::Archive::new(BufReader::new(&*file));
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = clean(&entry.path()?);
        if let Some(target) = entry.link_name()? {
            // A symbolic link counts from its own directory, a hard link from the root.
            let from =
                if entry.header().entry_type().is_symlink() { Path::new(&name).parent() } else { None };
            let target = from.unwrap_or(Path::new("")).join(&target);
            links.insert(name, clean(&target));
        } else {
            files.insert(name, Extent { offset: entry.raw_file_position(), length: entry.size() });
        }
    }
    Ok((files, links))
}

/// A path without `.` and with `..` taken back.
fn clean(path: &Path) -> String {
    let mut names: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    names.join("/")
}

/// Part of a file, read without moving its position.
struct Slice {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
}

fn compression(start: &[u8]) -> Option<Compression> {
    match start {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
        _ => None,
    }
}

fn peek(file: &mut File) -> io::Result<[u8; 4]> {
    let mut start = [0; 4];
    let read = file.read_at(&mut start, 0)?;
    if read == 0 { Err(io::Error::other("it is empty")) } else { Ok(start) }
}

/// The content of a file or layer, whatever it is compressed with.
pub(super) fn expand<'a>(mut source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut start)?;
    let kind = compression(&start);
    let whole = io::Cursor::new(start).chain(source);
    Ok(match kind {
        Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(whole)),
        Some(Compression::Zstd) => Box::new(zstd::Decoder::new(whole)?),
        None => Box::new(whole),
    })
}

/// Names the layers' content: the SHA-256 of everything up to each layer.
pub(super) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain = Vec::with_capacity(diff_ids.len());
    let mut last = String::new();
    for diff_id in diff_ids {
        last = if last.is_empty() {
            diff_id.clone()
        } else {
            format!("sha256:{}", hex(&Sha256::digest(format!("{last} {diff_id}"))))
        };
        chain.push(last.clone());
    }
    chain
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to memory cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// What of an image's configuration matters here.
pub(super) struct Configuration {
    pub(super) config: ImageConfig,
    pub(super) diff_ids: Vec<String>,
    pub(super) architecture: String,
    pub(super) os: String,
}

/// Reads an image's configuration document.
pub(super) fn configuration(document: &[u8]) -> serde_json::Result<Configuration> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        architecture: String,
        #[serde(default)]
        os: String,
        config: Option<Config>,
        rootfs: RootFs,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Config {
        env: Option<Vec<String>>,
        entrypoint: Option<Vec<String>>,
        cmd: Option<Vec<String>>,
        working_dir: Option<String>,
        user: Option<String>,
        exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
        stop_signal: Option<String>,
        labels: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct RootFs {
        #[serde(default)]
        diff_ids: Vec<String>,
    }
    let document: Document = serde_json::from_slice(document)?;
    let config = document.config.unwrap_or_default();
    let config = ImageConfig {
        env: config.env.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
        stop_signal: config.stop_signal.unwrap_or_default(),
        labels: config.labels.unwrap_or_default(),
    };
    let Document { architecture, os, rootfs, .. } = document;
    Ok(Configuration { config, diff_ids: rootfs.diff_ids, architecture, os })
}
