//! Images of this node: names, configurations and unpacked layers; and artifacts, which are mounted like them.
//!
//! A hand-loaded image wins for its names under every pull policy, until it is removed: on a laptop one wants exactly
//! the image just built, whatever a registry has under the same name.

mod archive;
#[cfg(test)]
#[path = "../../testing/archives.rs"]
mod archives;
mod challenge;
mod credentials;
mod digest;
mod documents;
#[cfg(debug_assertions)]
pub mod fuzzing;
mod index;
mod layer;
mod layers;
mod limits;
mod parts;
mod pull;
mod reference;
mod registry;
mod store;
mod tarball;
mod unpack;
mod user;

pub use credentials::PullCredentials;
pub use documents::{architecture, named_by_images};
pub use limits::{ImageLimits, InvalidLimits};
pub use unpack::unpacker_main;

use crate::ids::ImageId;
use crate::spec::UserSpec;
use crate::wire::RootfsSource;
use index::{Index, Record, Source};
use reference::Reference;
use serde::{Deserialize, Serialize};
use skiff_errors::error_text;
use skiff_rooted::{Follow, Root};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use store::Store;
use tokio::sync::OwnedRwLockReadGuard;
use unpack::Unpacker;

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
    /// On this node, but not for whoever has only these credentials, and pulling is forbidden: `ErrImageNeverPull`.
    #[error(
        "Container image {reference:?} is present with pull policy of Never but does not have the proper credentials to \
         access the image"
    )]
    NoAccess {
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
    /// Unpacking failed for a reason that is not the image's.
    #[error("{what}: {reason}")]
    Unpack {
        /// The archive or layer.
        what: String,
        /// What the machine said.
        reason: String,
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

impl ImageError {
    /// Whether asking again later may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Pull { .. } | Self::Unpack { .. } | Self::Io { .. })
    }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { action, path: path.clone(), source }
}

/// The images of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Images {
    store: Arc<Store>,
    /// Pulls under way, by normalised name and credentials.
    flights: Arc<parking_lot::Mutex<HashMap<FlightKey, Weak<Flight>>>>,
    /// Read by starting containers, written by removals.
    in_use: Arc<tokio::sync::RwLock<()>>,
}

/// One pull, and its result for everyone who waits for it: the first to lock it pulls.
type Flight = tokio::sync::Mutex<Option<Result<ImageId, String>>>;
type FlightKey = (String, Vec<index::Proof>);

impl Images {
    /// Opens (or makes) the store in `directory`. `pods` is where running containers note the image they use, and
    /// `executable` is started to unpack.
    pub(crate) fn open(
        directory: &Path,
        pods: &Path,
        executable: &Path,
        limits: ImageLimits,
    ) -> Result<Self, ImageError> {
        let unpacker = Unpacker { executable: executable.to_owned(), limits };
        let store = Arc::new(Store::open(directory, pods, unpacker)?);
        Ok(Self { store, flights: Arc::default(), in_use: Arc::default() })
    }

    /// While this is held, no layers are removed.
    pub(crate) async fn hold(&self) -> OwnedRwLockReadGuard<()> {
        self.in_use.clone().read_owned().await
    }

    /// The layers of an image.
    pub(crate) async fn rootfs(&self, image: &ImageId) -> Result<RootfsSource, ImageError> {
        let image = image.clone();
        self.blocking(move |store| store.rootfs(&image)).await
    }

    /// Finds an image for a container, pulling it as the policy says. Concurrent pulls of one reference with the same
    /// credentials are one pull.
    pub async fn resolve(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: &[PullCredentials],
    ) -> Result<Image, ImageError> {
        match self.available(reference, policy, credentials).await? {
            Some(image) => Ok(image),
            None => self.pull(reference, credentials).await,
        }
    }

    /// The image that a container can have without asking the registry; `None` when it has to be pulled first. One that
    /// was pulled with credentials is only for those who have them, too.
    pub async fn available(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: &[PullCredentials],
    ) -> Result<Option<Image>, ImageError> {
        let parsed = ImageId::new(reference).is_err().then(|| Reference::parse(reference)).transpose()?;
        let repository = parsed.as_ref().map(Reference::name).unwrap_or_default();
        let name = self.name(reference)?;
        let found = self.find(name, move |id, record, index, source| {
            (image(id, record, index.names_of(id)), source, record.access.clone())
        });
        let Some((image, source, access)) = found.await? else {
            return match policy {
                PullPolicy::Never => Err(ImageError::NeverPull { reference: reference.into() }),
                PullPolicy::Always | PullPolicy::IfNotPresent => Ok(None),
            };
        };
        let allowed = access.allows(credentials.iter().map(|one| one.proof(&repository)));
        match (source, policy) {
            (Source::Loaded, _) => Ok(Some(image)),
            (Source::Pulled, PullPolicy::Always) => Ok(None),
            (Source::Pulled, PullPolicy::IfNotPresent) => Ok(allowed.then_some(image)),
            (Source::Pulled, PullPolicy::Never) if allowed => Ok(Some(image)),
            (Source::Pulled, PullPolicy::Never) => Err(ImageError::NoAccess { reference: reference.into() }),
        }
    }

    /// The name of an image's repository with its registry, normalised: what credentials are for.
    pub fn repository(reference: &str) -> Result<String, ImageError> {
        Ok(Reference::parse(reference)?.name())
    }

    /// Pulls an image from its registry even if it is there, with the first of the credentials that are good enough, or
    /// without any if there are none.
    pub async fn pull(&self, reference: &str, credentials: &[PullCredentials]) -> Result<Image, ImageError> {
        let parsed = Reference::parse(reference)?;
        let proofs = credentials.iter().map(|one| one.proof(&parsed.name())).collect();
        let key = (parsed.to_string(), proofs);
        let flight = self.flight(&key);
        let mut result = flight.lock().await;
        let outcome = match &*result {
            // Another caller pulled while we waited.
            Some(outcome) => outcome.clone(),
            None => {
                let pulled = pull::pull(self.store.clone(), &parsed, credentials).await;
                let pulled = pulled.map_err(|error| match error {
                    ImageError::Pull { reason, .. } => reason,
                    other => error_text(&other),
                });
                self.flights.lock().remove(&key);
                result.insert(pulled).clone()
            }
        };
        let id = outcome.map_err(|reason| ImageError::Pull { reference: reference.into(), reason })?;
        let found = self.get(id.as_str()).await?;
        found.ok_or_else(|| ImageError::NotFound { reference: reference.into() })
    }

    fn flight(&self, key: &FlightKey) -> Arc<Flight> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(Flight::default());
        flights.insert(key.clone(), Arc::downgrade(&flight));
        flight
    }

    /// Imports an archive (`docker save` or OCI layout, plain or compressed). Returns the names, normalised; the images
    /// win for these names under every pull policy until they are removed.
    pub async fn load(&self, archive: &Path) -> Result<Vec<String>, ImageError> {
        let path = archive.to_owned();
        self.blocking(move |store| store.load(&path)).await
    }

    /// Imports an archive as [`Images::load`] does, from something that is no file.
    pub async fn load_from(&self, source: impl Read + Send + 'static) -> Result<Vec<String>, ImageError> {
        self.blocking(move |store| store.load_stream(source)).await
    }

    /// Makes an image whose one layer holds one executable (hard-linked where possible) as `/<file name>`, run with the
    /// given arguments. Counts as hand-loaded.
    pub async fn add_executable(
        &self,
        reference: &str,
        executable: &Path,
        arguments: &[&str],
    ) -> Result<Image, ImageError> {
        let name = Reference::parse(reference)?.to_string();
        let executable = executable.to_owned();
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let add = move |store: &Store| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            store.add_executable(&name, &executable, &arguments)
        };
        let id = self.blocking(add).await?;
        let found = self.get(id.as_str()).await?;
        found.ok_or_else(|| ImageError::NotFound { reference: reference.into() })
    }

    /// Every image, sorted by first name.
    pub async fn list(&self) -> Result<Vec<Image>, ImageError> {
        let read = |store: &Store| {
            let index = index::read(store.directory())?;
            let mut images: Vec<Image> =
                index.images.iter().map(|(id, record)| image(id, record, index.names_of(id))).collect();
            skiff_ordered::sort_by(&mut images, |a, b| (&a.names, &a.id).cmp(&(&b.names, &b.id)));
            Ok(images)
        };
        self.blocking(read).await
    }

    /// The image of this name (normalised first) or identity, if it is on the node.
    pub async fn get(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        let name = self.name(reference)?;
        self.find(name, |id, record, index, _| image(id, record, index.names_of(id))).await
    }

    /// Removes a name; with the last name, the image and the layers no other image or container uses. By identity, all
    /// names are removed.
    pub async fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let name = self.name(reference)?;
        let _alone = self.in_use.write().await;
        self.blocking(move |store| store.remove(&name)).await
    }

    /// Turns a user as written in an image or pod (`""`, `nginx`, `101`, `101:101`, `nginx:www`) into numbers, by the
    /// image's own `/etc/passwd` and `/etc/group`. Numbers need no entry there; supplementary groups come from there.
    pub async fn user(&self, image: &ImageId, user: &str) -> Result<UserSpec, ImageError> {
        let (image, user) = (image.clone(), user.to_owned());
        let resolve = move |store: &Store| {
            let layers = store.rootfs(&image)?;
            let passwd = read_file(&layers, "etc/passwd");
            let group = read_file(&layers, "etc/group");
            user::resolve(&user, &passwd, &group).map_err(|user| ImageError::UnknownUser { user, image })
        };
        self.blocking(resolve).await
    }

    /// A reference as the index knows it: an identity as it is, anything else normalised.
    fn name(&self, reference: &str) -> Result<String, ImageError> {
        match ImageId::new(reference) {
            Ok(id) => Ok(id.to_string()),
            Err(_) => Ok(Reference::parse(reference)?.to_string()),
        }
    }

    async fn find<T: Send + 'static>(
        &self,
        name: String,
        read: impl FnOnce(&ImageId, &Record, &Index, Source) -> T + Send + 'static,
    ) -> Result<Option<T>, ImageError> {
        let find = move |store: &Store| {
            let index = index::read(store.directory())?;
            let source = index.names.get(&name).map_or(Source::Pulled, |n| n.source);
            Ok(index.find(&name).map(|(id, record)| read(id, record, &index, source)))
        };
        self.blocking(find).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let store = self.store.clone();
        let directory: PathBuf = store.directory().to_owned();
        let joined = tokio::task::spawn_blocking(move || work(&store)).await;
        joined.unwrap_or_else(|error| Err(io_error("work in", &directory)(io::Error::other(error))))
    }
}

fn image(id: &ImageId, record: &Record, names: Vec<String>) -> Image {
    Image {
        id: id.clone(),
        names,
        digests: record.digests.iter().cloned().collect(),
        size: record.size,
        config: record.config.clone(),
    }
}

/// A small file of an image, from the topmost layer that has it; empty when none does.
fn read_file(layers: &RootfsSource, path: &str) -> String {
    /// Bytes read at most.
    const LONGEST: u64 = 1 << 20;
    for layer in &layers.layers {
        let read = || Root::open(layers.directory.join(layer))?.read_start(path, Follow::InRoot, LONGEST);
        match read() {
            Ok(bytes) => return String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Deleted in this layer, or something that has no text.
            Err(_) => return String::new(),
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut layers = Vec::new();
        for layer in ["0", "1", "2"] {
            std::fs::create_dir_all(directory.path().join(layer).join("etc")).unwrap();
            layers.insert(0, layer.to_owned());
        }
        let source = RootfsSource { directory: directory.path().to_owned(), layers };
        let path = |layer: &str| directory.path().join(layer).join("etc/passwd");
        std::fs::write(path("0"), "lowest").unwrap();
        assert_eq!(read_file(&source, "etc/passwd"), "lowest");
        // Nothing writes to it: whoever opened and read it would wait for ever.
        rustix::fs::mknodat(rustix::fs::CWD, path("2"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(read_file(&source, "etc/passwd"), "");
        std::fs::remove_file(path("2")).unwrap();
        std::os::unix::fs::symlink("/etc/group", path("1")).unwrap();
        assert_eq!(read_file(&source, "etc/passwd"), "lowest", "the link leads nowhere in its own layer");
    }
}
