//! Claims of pods (`persistentVolumeClaim` and `ephemeral`), and the persistent volumes that they are bound to.
//!
//! What a pod's claims were found to be is written to [`CLAIMS`] in its directory before anything is staged, and taken from it
//! when that is undone. So a volume is in use by the pods whose files name it, whoever was killed meanwhile; with the
//! last of them it is unstaged.

mod bound;
mod group;
pub(crate) mod image;
mod news;
mod node;
mod options;
pub(crate) mod resolve;
#[cfg(test)]
mod tests;

pub(crate) use bound::Bound;
pub(crate) use news::ClaimNews;
pub(crate) use node::NodeVolumes;

use crate::directory;
use crate::paths::PodPaths;
use serde::{Deserialize, Serialize};
use skiff_rooted::{Follow, Owner};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// The file of a pod that has claims, in its directory.
pub(crate) const CLAIMS: &str = "claims.json";
/// Most bytes of it.
const CLAIMS_LIMIT: u64 = 4 << 20;

/// A persistent volume as one pod has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimVolume {
    /// Name of the PersistentVolume.
    pub(crate) volume: String,
    pub(crate) source: Source,
    /// The pod gets the device, not what is on it.
    #[serde(default)]
    pub(crate) block: bool,
    #[serde(default)]
    pub(crate) readonly: bool,
    /// Its mount options.
    #[serde(default)]
    pub(crate) options: Vec<String>,
}

/// Where the content of a persistent volume is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Source {
    /// In a file that the provisioner of this node made, which is shown as a block device.
    Image { path: PathBuf },
    /// A directory or block device of the host.
    Local { path: String, fs_type: Option<String> },
    /// Anything of the host.
    HostPath { path: String, kind: Option<String> },
}

/// What the claims of one pod were found to be, by the names of its volumes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Claims(BTreeMap<String, ClaimVolume>);

impl Claims {
    pub(crate) fn get(&self, volume: &str) -> Option<&ClaimVolume> {
        self.0.get(volume)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &ClaimVolume)> {
        self.0.iter()
    }

    /// The same with one more.
    pub(crate) fn with(mut self, name: &str, volume: &ClaimVolume) -> Self {
        self.0.insert(name.to_owned(), volume.clone());
        self
    }

    /// The same with one less.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is this persistent volume.
    fn has(&self, volume: &str) -> bool {
        self.0.values().any(|own| own.volume == volume)
    }

    /// What was written down of a pod.
    pub(crate) fn load(paths: &PodPaths) -> io::Result<Self> {
        let Some(pod) = directory::open(paths)? else { return Ok(Self::default()) };
        match pod.read(CLAIMS, Follow::Nothing, CLAIMS_LIMIT) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes it down; nothing is an absent file.
    pub(crate) fn save(&self, paths: &PodPaths) -> io::Result<()> {
        if !self.is_empty() {
            return directory::make(paths)?.replace(
                CLAIMS,
                &serde_json::to_vec(self)?,
                0o600,
                Owner::AS_MADE,
            );
        }
        match directory::open(paths)? {
            Some(pod) => pod.remove_file(CLAIMS),
            None => Ok(()),
        }
    }
}

impl FromIterator<(String, ClaimVolume)> for Claims {
    fn from_iter<I: IntoIterator<Item = (String, ClaimVolume)>>(volumes: I) -> Self {
        Self(volumes.into_iter().collect())
    }
}
