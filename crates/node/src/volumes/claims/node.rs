//! The persistent volumes of this node: where they are, which pods have them, and one pair of hands at a time.

use super::super::VolumeError;
use super::Claims;
use crate::directory;
use crate::paths::PodPaths;
use parking_lot::Mutex;
use skiff_informer::{ObjectKey, Queue};
use skiff_rooted::{Owner, Root};
use skiff_runtime::PodUid;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory of what the node's provisioner has made: a directory for each persistent volume.
const VOLUMES: &str = "volumes";
/// The directory of what the API may not know yet of [`VOLUMES`]: an empty file for each persistent volume.
const MAKING: &str = "making";
/// The directory of what is mounted for the node's pods: a mount point for each persistent volume.
const STAGED: &str = "staged";

/// The persistent volumes of this node.
pub(crate) struct NodeVolumes {
    data_dir: PathBuf,
    /// Who is told of volumes that no pod has any more.
    released: Queue<ObjectKey>,
    /// A lock for each volume that somebody works on.
    locks: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

impl NodeVolumes {
    /// Those below `data_dir`; each that no pod has any more is added to `released`.
    pub(crate) fn new(data_dir: &Path, released: Queue<ObjectKey>) -> Self {
        Self { data_dir: data_dir.to_owned(), released, locks: Mutex::default() }
    }

    /// No pod of the node has the volume any more.
    pub(crate) fn release(&self, volume: &str) {
        self.released.add(ObjectKey::cluster(volume));
    }

    /// Does something with a volume that nobody else works on meanwhile.
    pub(crate) fn alone<T>(&self, volume: &str, work: impl FnOnce() -> T) -> T {
        let lock = self.locks.lock().entry(volume.to_owned()).or_default().clone();
        let done = {
            let _held = lock.lock();
            work()
        };
        drop(lock);
        let mut locks = self.locks.lock();
        // Nobody can come to hold another's while the map is locked.
        if locks.get(volume).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(volume);
        }
        done
    }

    /// The pods that have a volume, but for `pod`.
    pub(crate) fn others(&self, volume: &str, pod: Option<&PodUid>) -> io::Result<Vec<PodUid>> {
        let mut others = Vec::new();
        for uid in directory::known(&self.data_dir)? {
            if Some(&uid) != pod && Claims::load(&PodPaths::new(&self.data_dir, &uid))?.has(volume) {
                others.push(uid);
            }
        }
        Ok(others)
    }

    /// Where a volume is mounted for the node's pods, if it has to be.
    pub(crate) fn staged(&self, volume: &str) -> PathBuf {
        self.data_dir.join(STAGED).join(volume)
    }

    /// The directory of mount points.
    pub(super) fn staging(&self) -> io::Result<Root> {
        Root::open(&self.data_dir)?.ensure_directory(STAGED, 0o700, Owner::AS_MADE)
    }

    /// The directory of what the provisioner has made.
    pub(crate) fn made(&self) -> io::Result<Root> {
        Root::open(&self.data_dir)?.ensure_directory(VOLUMES, 0o700, Owner::AS_MADE)
    }

    fn making(&self) -> io::Result<Root> {
        Root::open(&self.data_dir)?.ensure_directory(MAKING, 0o700, Owner::AS_MADE)
    }

    /// Writes down that a volume is about to be made, which is its claim's alone until the API knows it.
    pub(crate) fn begin(&self, volume: &str) -> Result<(), VolumeError> {
        let begun = self.making().and_then(|making| making.replace(volume, b"", 0o600, Owner::AS_MADE));
        begun.map_err(VolumeError::io("write down the making of", &self.made_path(volume)))
    }

    /// Writes down that the API knows a volume.
    pub(crate) fn set_known(&self, volume: &str) -> Result<(), VolumeError> {
        let known = self.making().and_then(|making| making.remove_file(volume));
        known.map_err(VolumeError::io("write down the making of", &self.made_path(volume)))
    }

    /// The volumes that are being made, or were when an agent was killed.
    pub(crate) fn being_made(&self) -> Result<Vec<String>, VolumeError> {
        let list = || {
            let name = |entry: io::Result<skiff_rooted::Entry>| Ok(entry?.name.into_string().ok());
            let names = self.making()?.entries()?.map(name);
            names.filter_map(io::Result::transpose).collect::<io::Result<Vec<String>>>()
        };
        list().map_err(VolumeError::io("list", &self.data_dir.join(MAKING)))
    }

    /// The directory in which the provisioner keeps a volume.
    pub(crate) fn made_path(&self, volume: &str) -> PathBuf {
        self.data_dir.join(VOLUMES).join(volume)
    }
}
