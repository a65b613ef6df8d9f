//! Images of this node: names, configurations and unpacked layers.

use crate::ids::ImageId;
use crate::spec::UserSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Digest of its configuration.
    pub id: ImageId,
    /// Its names, normalised (`docker.io/library/nginx:1.27`), sorted.
    pub names: Vec<String>,
    /// Its names by manifest digest (`docker.io/library/nginx@sha256:…`), known only for pulled images.
    pub digests: Vec<String>,
    /// Bytes of its unpacked layers.
    pub size: u64,
    /// What its containers run by default.
    pub config: ImageConfig,
}

/// What containers of an image run by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Environment, each `KEY=value`.
    pub env: Vec<String>,
    /// First part of the command line.
    pub entrypoint: Vec<String>,
    /// Second part, replaced by a container's arguments.
    pub cmd: Vec<String>,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty means root.
    pub user: String,
    /// Ports such as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Signal that asks a container to stop; empty means `SIGTERM`.
    pub stop_signal: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// When to ask the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time; a hand-loaded image still wins for its name.
    Always,
    /// When the node has no image of that name.
    IfNotPresent,
    /// Never.
    Never,
}

/// A failed operation on an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference cannot be understood: `InvalidImageName`.
    #[error("couldn't parse image name {reference:?}: {reason}")]
    InvalidReference {
        /// As written.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not on this node, and pulling is forbidden: `ErrImageNeverPull`.
    #[error("Container image {reference:?} is not present with pull policy of Never")]
    NeverPull {
        /// As written.
        reference: String,
    },
    /// Pulling failed: `ErrImagePull`, later `ImagePullBackOff`.
    #[error("failed to pull image {reference:?}: {reason}")]
    Pull {
        /// As written.
        reference: String,
        /// What the registry or the network said.
        reason: String,
    },
    /// No such image on this node.
    #[error("image {reference:?} is not on this node")]
    NotFound {
        /// Name or identity.
        reference: String,
    },
    /// An archive or layer cannot be used.
    #[error("{what}: {reason}")]
    Malformed {
        /// The archive, layer or file.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A user or group name that the image does not know.
    #[error("unable to find user {user:?} in image {image}: no matching entry in its passwd or group file")]
    UnknownUser {
        /// As written.
        user: String,
        /// The image.
        image: ImageId,
    },
    /// A file of the image store.
    #[error("image store: {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The images of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Images {}

impl Images {
    /// Opens (or makes) the store.
    pub fn open(directory: &Path) -> Result<Self, ImageError> {
        std::fs::create_dir_all(directory).map_err(|source| ImageError::Io {
            action: "create",
            path: directory.to_owned(),
            source,
        })?;
        Ok(Self {})
    }

    /// Finds an image for a container, pulling it as the policy says. Concurrent pulls of one reference are one pull.
    pub async fn resolve(&self, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
        let _unused = policy;
        Err(ImageError::NotFound { reference: reference.into() })
    }

    /// Pulls an image from its registry even if it is there.
    pub async fn pull(&self, reference: &str) -> Result<Image, ImageError> {
        Err(ImageError::NotFound { reference: reference.into() })
    }

    /// Imports an archive (`docker save` or OCI layout, plain or gzip). Returns the names, normalised; the images win
    /// for these names under every pull policy until they are removed.
    pub async fn load(&self, archive: &Path) -> Result<Vec<String>, ImageError> {
        Err(ImageError::NotFound { reference: archive.display().to_string() })
    }

    /// Makes an image whose one layer holds one executable (hard-linked where possible) as `/<file name>`.
    pub async fn add_executable(
        &self,
        reference: &str,
        executable: &Path,
        arguments: &[&str],
    ) -> Result<Image, ImageError> {
        let _unused = (executable, arguments);
        Err(ImageError::NotFound { reference: reference.into() })
    }

    /// Every image, sorted by first name.
    pub async fn list(&self) -> Result<Vec<Image>, ImageError> {
        Ok(Vec::new())
    }

    /// The image of this name (normalised first) or identity, if it is on the node.
    pub async fn get(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        let _unused = reference;
        Ok(None)
    }

    /// Removes a name; with the last name, the image and the layers no other image or container uses.
    pub async fn remove(&self, reference: &str) -> Result<(), ImageError> {
        Err(ImageError::NotFound { reference: reference.into() })
    }

    /// Turns a user as written in an image or pod (`""`, `nginx`, `101`, `101:101`, `nginx:www`) into numbers, by the
    /// image's own `/etc/passwd` and `/etc/group`. Numbers need no entry there; supplementary groups come from there.
    pub async fn user(&self, image: &ImageId, user: &str) -> Result<UserSpec, ImageError> {
        Err(ImageError::UnknownUser { user: user.into(), image: image.clone() })
    }
}
