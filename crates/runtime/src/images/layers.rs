//! The directories of unpacked layers.
//!
//! ```text
//! <layers>/<name>/fs      one unpacked layer
//! <layers>/<name>/size    bytes of its files
//! <layers>/.new-…         being unpacked; renamed when complete
//! <layers>/.old-…         being removed
//! ```
//!
//! Whoever relies on a layer holds a shared lock (`flock`) on its directory, from before it is complete until the index
//! names it; only what nobody holds is removed. So no import waits for another one, and no removal for an import.

use super::digest::{ChainId, Digest};
use super::{ImageError, io_error};
use crate::ids::InvalidId;
use rustix::fs::{FlockOperation, RenameFlags};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a layer's directory is called. Nothing but what is made here passes as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct LayerName(String);

const EMPTY: &str = "empty";
const EXECUTABLE: &str = "exe-";

/// Digits of a digest, and those of them that named layers in the first format of the store.
const DIGITS: usize = 64;
const OLD_DIGITS: usize = 16;

impl LayerName {
    /// The layer at the top of a chain.
    pub(super) fn chain(chain: ChainId) -> Self {
        Self(chain.0.hex())
    }

    /// A layer that holds one executable, which the digest identifies.
    pub(super) fn executable(identity: Digest) -> Self {
        Self(format!("{EXECUTABLE}{}", identity.hex()))
    }

    /// The layer of images that have none.
    pub(super) fn empty() -> Self {
        Self(EMPTY.into())
    }

    /// Whether it is from a store of the first format, which named layers by the start of their digest only. Such a
    /// layer stays for the images that have it; no further image gets it.
    pub(super) fn is_old(&self) -> bool {
        self.0.len() == OLD_DIGITS
    }

    /// Where its files are, from the directory of all layers.
    pub(super) fn files(&self) -> String {
        format!("{self}/fs")
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LayerName {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        let hex = |digits: &str, length| {
            digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let executable = text.strip_prefix(EXECUTABLE).is_some_and(|digits| hex(digits, DIGITS));
        let ours = text == EMPTY || executable || hex(&text, DIGITS) || hex(&text, OLD_DIGITS);
        if ours { Ok(Self(text)) } else { Err(InvalidId::new("layer", text)) }
    }
}

impl From<LayerName> for String {
    fn from(name: LayerName) -> String {
        name.0
    }
}

/// All layers of a store.
#[derive(Debug)]
pub(super) struct Layers {
    directory: PathBuf,
}

/// A complete layer that stays as long as this is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: LayerName,
    /// Bytes of its files.
    pub(super) size: u64,
    _lock: File,
}

impl Layers {
    /// Makes the directory, with the empty layer.
    pub(super) fn open(directory: PathBuf) -> Result<Self, ImageError> {
        let layers = Self { directory };
        let empty = layers.files(&LayerName::empty());
        fs::create_dir_all(&empty).map_err(io_error("create", &empty))?;
        Ok(layers)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a layer's files are.
    pub(super) fn files(&self, name: &LayerName) -> PathBuf {
        self.directory.join(name.files())
    }

    /// Takes hold of a layer if it is there.
    pub(super) fn hold(&self, name: &LayerName) -> Result<Option<Held>, ImageError> {
        let path = self.directory.join(&name.0);
        let Some(lock) = lock_shared(&path).map_err(io_error("lock", &path))? else { return Ok(None) };
        let size = fs::read_to_string(path.join("size")).unwrap_or_default().parse().unwrap_or_default();
        Ok(Some(Held { name: name.clone(), size, _lock: lock }))
    }

    /// Fills a layer's directory under a temporary name and puts it in its place. `fill` returns the bytes of its files.
    pub(super) fn create(
        &self,
        name: &LayerName,
        fill: impl FnOnce(&Path) -> Result<u64, ImageError>,
    ) -> Result<Held, ImageError> {
        let in_layers = |action| io_error(action, &self.directory);
        let temporary = tempfile::Builder::new().prefix(".new-").tempdir_in(&self.directory);
        let temporary = temporary.map_err(in_layers("create in"))?;
        let lock = lock_shared(temporary.path()).map_err(in_layers("lock in"))?;
        let lock = lock.ok_or_else(|| in_layers("lock in")(io::ErrorKind::NotFound.into()))?;
        let target = temporary.path().join("fs");
        fs::create_dir(&target).map_err(io_error("create", &target))?;
        let size = fill(&target)?;
        let note = temporary.path().join("size");
        fs::write(&note, size.to_string()).map_err(io_error("write", &note))?;
        let path = self.directory.join(&name.0);
        let (here, flags) = (rustix::fs::CWD, RenameFlags::NOREPLACE);
        match rustix::fs::renameat_with(here, temporary.path(), here, &path, flags) {
            Ok(()) => {
                // Now it lies elsewhere; nothing is left to remove.
                let _moved = temporary.keep();
                Ok(Held { name: name.clone(), size, _lock: lock })
            }
            // Another import was faster; its layer is the same.
            Err(rustix::io::Errno::EXIST) => {
                let gone = || io_error("find", &path)(io::ErrorKind::NotFound.into());
                self.hold(name)?.ok_or_else(gone)
            }
            Err(error) => Err(io_error("create", &path)(error.into())),
        }
    }

    /// Puts aside what is neither needed nor held, while the index stays as `needed` was made from; [`Self::clear`]
    /// removes it later.
    pub(super) fn put_aside(&self, needed: impl Fn(&LayerName) -> bool) -> Result<(), ImageError> {
        let failed = io_error("remove in", &self.directory);
        for path in self.entries()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let unfinished = name.starts_with(".new-");
            let unneeded = LayerName::try_from(name.to_owned())
                .is_ok_and(|name| name != LayerName::empty() && !needed(&name));
            if !unfinished && !unneeded {
                continue;
            }
            let directory = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(&failed)?,
            };
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => continue,
                Err(error) => return Err(failed(error.into())),
            }
            let aside = self.directory.join(format!(".old-{}", uuid::Uuid::new_v4().simple()));
            fs::rename(&path, aside).map_err(&failed)?;
        }
        Ok(())
    }

    /// Removes what was put aside.
    pub(super) fn clear(&self) -> Result<(), ImageError> {
        let is_old = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(".old-"))
        };
        for path in self.entries()?.into_iter().filter(is_old) {
            match fs::remove_dir_all(&path) {
                // Another process does the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(io_error("remove", &path))?,
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<PathBuf>, ImageError> {
        let read =
            || fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>();
        read().map_err(io_error("read", &self.directory))
    }
}

/// Locks a directory, unless it is not there, or no longer.
fn lock_shared(path: &Path) -> io::Result<Option<File>> {
    let there = |found: io::Result<fs::Metadata>| match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(|found| Some((found.dev(), found.ino()))),
    };
    let directory = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    rustix::io::retry_on_intr(|| rustix::fs::flock(&directory, FlockOperation::LockShared))?;
    let (locked, named) = (there(directory.metadata())?, there(fs::symlink_metadata(path))?);
    Ok((locked == named).then_some(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(digit: char) -> LayerName {
        LayerName::try_from(digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn only_names_of_layers_are_names_of_layers() {
        let hex = "0123456789abcdef".repeat(4);
        for good in [hex.as_str(), "empty", &hex[..16], &format!("exe-{hex}")] {
            assert!(LayerName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "..", "/proc/1/root", ".new-x", &hex[..63], &hex[..20], "exe-", "exe-012345678912"] {
            assert!(LayerName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_held_stays_and_what_is_not_needed_goes() {
        let directory = tempfile::tempdir().unwrap();
        let layers = Layers::open(directory.path().join("layers")).unwrap();
        let create = |digit| {
            layers.create(&name(digit), |target| Ok(fs::write(target.join("f"), "x").map_or(0, |()| 1)))
        };
        let held = create('1').unwrap();
        drop((create('2').unwrap(), create('3').unwrap()));
        let again = layers.create(&name('1'), |_| Ok(7)).unwrap();
        assert_eq!(again.size, 1, "the first one stays");
        fs::create_dir(layers.directory().join(".new-crashed")).unwrap();
        let remove = || {
            layers.put_aside(|layer| *layer == name('3')).unwrap();
            layers.clear().unwrap();
            let mut left: Vec<_> = layers.entries().unwrap();
            left.sort();
            left.iter()
                .map(|path| path.file_name().unwrap().to_str().unwrap()[..1].to_owned())
                .collect::<String>()
        };
        assert_eq!(remove(), "13e");
        drop((held, again));
        assert_eq!(remove(), "3e");
        assert!(layers.hold(&name('1')).unwrap().is_none() && layers.hold(&name('3')).unwrap().is_some());
    }

    #[test]
    fn a_failed_layer_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let layers = Layers::open(directory.path().join("layers")).unwrap();
        let failed = || ImageError::NotFound { reference: "x".into() };
        layers.create(&name('1'), |_| Err(failed())).unwrap_err();
        assert_eq!(layers.entries().unwrap().len(), 1, "only the empty one");
    }
}
