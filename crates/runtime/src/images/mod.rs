//! Images of this node: names, configurations and unpacked layers.
//!
//! A hand-loaded image wins for its names under every pull policy, until it is removed: on a laptop one wants exactly
//! the image just built, whatever a registry has under the same name.

mod archive;
mod index;
mod layer;
mod pull;
mod reference;
mod store;
mod user;

use crate::ids::ImageId;
use crate::spec::UserSpec;
use crate::wire::RootfsSource;
use index::{Record, Source};
use reference::Reference;
use serde::{Deserialize, Serialize};
use skiff_errors::error_text;
use skiff_rooted::{Follow, Root};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use store::Store;
use tokio::sync::OwnedRwLockReadGuard;

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

impl ImageError {
    /// Whether asking again later may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Pull { .. } | Self::Io { .. })
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
    /// Pulls under way, by normalised name.
    flights: Arc<parking_lot::Mutex<HashMap<String, Weak<Flight>>>>,
    /// Read by starting containers, written by removals.
    in_use: Arc<tokio::sync::RwLock<()>>,
}

/// One pull, and its result for everyone who waits for it: the first to lock it pulls.
type Flight = tokio::sync::Mutex<Option<Result<ImageId, String>>>;

impl Images {
    /// Opens (or makes) the store in `directory`. `pods` is where running containers note the image they use.
    pub(crate) fn open(directory: &Path, pods: &Path) -> Result<Self, ImageError> {
        let store = Arc::new(Store::open(directory, pods)?);
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

    /// Finds an image for a container, pulling it as the policy says. Concurrent pulls of one reference are one pull.
    pub async fn resolve(&self, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
        let name = self.name(reference)?;
        let local = self.local(name.clone()).await?;
        match (local, policy) {
            (Some((image, Source::Loaded)), _) => Ok(image),
            (Some((image, Source::Pulled)), PullPolicy::IfNotPresent | PullPolicy::Never) => Ok(image),
            (None, PullPolicy::Never) => Err(ImageError::NeverPull { reference: reference.into() }),
            (Some(_), PullPolicy::Always) | (None, PullPolicy::Always | PullPolicy::IfNotPresent) => {
                self.pull(reference).await
            }
        }
    }

    /// Pulls an image from its registry even if it is there.
    pub async fn pull(&self, reference: &str) -> Result<Image, ImageError> {
        let parsed = Reference::parse(reference)?;
        let name = parsed.to_string();
        let flight = self.flight(&name);
        let mut result = flight.lock().await;
        let outcome = match &*result {
            // Another caller pulled while we waited.
            Some(outcome) => outcome.clone(),
            None => {
                let pulled = pull::pull(self.store.clone(), &parsed).await.map_err(|error| match error {
                    ImageError::Pull { reason, .. } => reason,
                    other => error_text(&other),
                });
                self.flights.lock().remove(&name);
                result.insert(pulled).clone()
            }
        };
        let id = outcome.map_err(|reason| ImageError::Pull { reference: reference.into(), reason })?;
        let found = self.get(id.as_str()).await?;
        found.ok_or_else(|| ImageError::NotFound { reference: reference.into() })
    }

    fn flight(&self, name: &str) -> Arc<Flight> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(name).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(Flight::default());
        flights.insert(name.to_owned(), Arc::downgrade(&flight));
        flight
    }

    /// Imports an archive (`docker save` or OCI layout, plain or compressed). Returns the names, normalised; the images
    /// win for these names under every pull policy until they are removed.
    pub async fn load(&self, archive: &Path) -> Result<Vec<String>, ImageError> {
        let path = archive.to_owned();
        self.blocking(move |store| store.load(&path)).await
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
            images.sort_by(|a, b| (&a.names, &a.id).cmp(&(&b.names, &b.id)));
            Ok(images)
        };
        self.blocking(read).await
    }

    /// The image of this name (normalised first) or identity, if it is on the node.
    pub async fn get(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        let name = self.name(reference)?;
        Ok(self.local(name).await?.map(|(image, _)| image))
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

    async fn local(&self, name: String) -> Result<Option<(Image, Source)>, ImageError> {
        let find = move |store: &Store| {
            let index = index::read(store.directory())?;
            let source = index.names.get(&name).map_or(Source::Pulled, |n| n.source);
            Ok(index.find(&name).map(|(id, record)| (image(id, record, index.names_of(id)), source)))
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
            Err(_) => return String::new(),
        }
    }
    String::new()
}
