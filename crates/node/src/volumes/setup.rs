//! Makes the volumes of a pod on the host, keeps them current, and removes them. Blocking file work.

use super::content::{ContentContext, ContentError, Payload, payload};
use super::ownership::{Ownership, in_memory};
use super::{atomic, host_path};
use crate::directory;
use crate::paths::{PodPaths, VOLUMES};
use crate::quantity::units;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
use skiff_rooted::{Detached, Follow, Owner, Root};
use std::io;
use std::path::{Path, PathBuf};

/// A volume cannot be made; the text follows `MountVolume.SetUp failed for volume "x" : `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("hostPath type check failed: {path} {problem}")]
    HostPath { path: String, problem: String },
    #[error("volumes of this kind are not supported on this node")]
    Unsupported,
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Io { action, path: path.to_owned(), source }
}

/// Makes every volume of the pod; safe to repeat: what is there already keeps what containers made of it. On failure names
/// the volume.
pub(crate) fn set_up(paths: &PodPaths, context: &ContentContext<'_>) -> Result<(), (String, VolumeError)> {
    let open = || directory::make(paths)?.ensure_directory(VOLUMES, 0o755, Owner::AS_MADE);
    for volume in context.pod.spec.volumes.iter().flatten() {
        let set_up = || {
            let volumes = open().map_err(failed("create", &paths.volumes()))?;
            set_up_one(&Place { volumes: &volumes, paths, name: &volume.name }, volume, context)
        };
        set_up().map_err(|error| (volume.name.clone(), error))?;
    }
    Ok(())
}

/// Brings the volumes that show objects up to date.
pub(crate) fn refresh(paths: &PodPaths, context: &ContentContext<'_>) -> Result<(), (String, VolumeError)> {
    for volume in context.pod.spec.volumes.iter().flatten() {
        let Some(files) = payload(volume, context) else { continue };
        let refresh = || {
            let files = files?;
            let open = || {
                let pod = directory::open(paths)?.ok_or(io::ErrorKind::NotFound)?;
                pod.directory(Path::new(VOLUMES).join(&volume.name), Follow::Nothing)
            };
            let path = paths.volume(&volume.name);
            let owners = Ownership::of(context.pod, volume, context.users);
            fill(&open().map_err(failed("open", &path))?, &path, &files, owners)
        };
        refresh().map_err(|error: VolumeError| (volume.name.clone(), error))?;
    }
    Ok(())
}

/// Where a volume is to be.
struct Place<'a> {
    volumes: &'a Root,
    paths: &'a PodPaths,
    name: &'a str,
}

impl Place<'_> {
    fn path(&self) -> PathBuf {
        self.paths.volume(self.name)
    }

    /// Opens the volume's directory; makes it when missing, whole or not at all.
    fn directory(&self, mode: u32, owner: Owner) -> io::Result<Root> {
        match self.volumes.directory(self.name, Follow::Nothing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        // No volume's name begins so.
        let new = format!("..{}", self.name);
        self.volumes.remove_tree(&new)?;
        drop(self.volumes.make_directory(&new, mode, owner)?);
        self.volumes.rename(&new, self.volumes, self.name)?;
        self.volumes.directory(self.name, Follow::Nothing)
    }

    /// Opens the volume's memory, at most `limit` bytes; makes it when missing.
    fn memory(&self, limit: Option<i64>, mode: u32, owner: Owner) -> io::Result<Root> {
        drop(self.directory(0o700, Owner::AS_MADE)?);
        if !self.volumes.is_mount_point(self.name)? {
            let mode = format!("{mode:o}");
            let [uid, gid] = [owner.user, owner.group].map(|id| id.unwrap_or(0).to_string());
            let limit = limit.map(|limit| limit.to_string());
            let mut options = vec![("mode", mode.as_str()), ("uid", uid.as_str()), ("gid", gid.as_str())];
            options.extend(limit.as_deref().map(|limit| ("size", limit)));
            Detached::memory(&options)?.attach(self.volumes, self.name)?;
        }
        self.volumes.directory(self.name, Follow::Nothing)
    }
}

fn set_up_one(place: &Place<'_>, volume: &Volume, context: &ContentContext<'_>) -> Result<(), VolumeError> {
    if let Some(source) = &volume.host_path {
        return host_path::check(source);
    }
    let owners = Ownership::of(context.pod, volume, context.users);
    if let Some(files) = payload(volume, context) {
        let (files, path) = (files?, place.path());
        let (mode, owner) = writable_for_all(owners);
        let directory = if in_memory(volume) {
            place.memory(None, mode | 0o1000, owner)
        } else {
            place.directory(mode, owner)
        };
        return fill(&directory.map_err(failed("create", &path))?, &path, &files, owners);
    }
    match &volume.empty_dir {
        Some(source) => empty_dir(place, source, owners),
        None if is_default_empty_dir(volume) => empty_dir(place, &EmptyDirVolumeSource::default(), owners),
        None => Err(VolumeError::Unsupported),
    }
}

/// A volume without any source is an emptyDir.
fn is_default_empty_dir(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}

fn fill(directory: &Root, path: &Path, files: &Payload, owners: Ownership) -> Result<(), VolumeError> {
    atomic::write(directory, files, owners, Timestamp::now()).map_err(failed("write", path))
}

fn empty_dir(place: &Place<'_>, source: &EmptyDirVolumeSource, owners: Ownership) -> Result<(), VolumeError> {
    let (mode, owner) = writable_for_all(owners);
    let made = match source.medium.as_deref() {
        None | Some("") => place.directory(mode, owner),
        Some("Memory") => {
            let limit = source.size_limit.as_ref().and_then(units).filter(|limit| *limit > 0);
            // Without a group, as the kubelet's: nobody removes what is another's.
            let sticky = if owners.has_group() { 0 } else { 0o1000 };
            place.memory(limit, mode | sticky, owner)
        }
        Some(_) => return Err(VolumeError::Unsupported),
    };
    made.map(drop).map_err(failed("create", &place.path()))
}

/// Mode and owner of a directory that every user of the pod may write to. With an `fsGroup` what is made in it belongs to
/// that group; it is empty when it is made, so there is nothing below whose group would have to change.
fn writable_for_all(owners: Ownership) -> (u32, Owner) {
    (if owners.has_group() { 0o2777 } else { 0o777 }, owners.owner(None))
}

/// Unmounts and removes all volumes of a pod; what does not exist is no error. Whatever containers with mount propagation
/// left mounted in a volume goes, too.
pub(crate) fn tear_down(paths: &PodPaths) -> Result<(), VolumeError> {
    let root = paths.volumes();
    let Some(pod) = directory::open(paths).map_err(failed("open", &root))? else { return Ok(()) };
    match pod.directory(VOLUMES, Follow::Nothing) {
        Ok(volumes) => volumes.unmount_below().map_err(failed("unmount what is below", &root))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("open", &root)(error)),
    }
    pod.remove_tree(VOLUMES).map_err(failed("remove", &root))
}

/// Removes everything of a pod from the disk, volumes first: what still has mounts is not touched.
pub(crate) fn remove_pod_files(paths: &PodPaths) -> Result<(), VolumeError> {
    tear_down(paths)?;
    directory::remove(paths).map_err(failed("remove", paths.root()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::references::Sources;
    use crate::pod::local::LocalPod;
    use crate::pod::testing::pod_of;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn set_up_pod(spec: &str) -> (tempfile::TempDir, PodPaths, LocalPod) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("pods")).unwrap();
        let pod = pod_of(spec);
        let paths = PodPaths::new(directory.path(), &pod.uid);
        set_up_again(&paths, &pod);
        (directory, paths, pod)
    }

    fn set_up_again(paths: &PodPaths, pod: &LocalPod) {
        let (sources, tokens, allocatable) = (Sources::default(), Default::default(), Default::default());
        let context = ContentContext {
            pod,
            sources: &sources,
            tokens: &tokens,
            allocatable: &allocatable,
            users: None,
        };
        set_up(paths, &context).unwrap();
    }

    #[test]
    fn a_volume_that_is_there_stays_as_containers_made_it() {
        let (_directory, paths, pod) =
            set_up_pod(r#"{"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}"#);
        let volume = paths.volume("v");
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o777);
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(volume.join("kept"), "").unwrap();
        set_up_again(&paths, &pod);
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o700);
        assert!(volume.join("kept").exists());
        remove_pod_files(&paths).unwrap();
        assert!(!paths.root().exists());
        remove_pod_files(&paths).unwrap();
    }

    #[test]
    fn removing_a_pod_touches_nothing_of_the_host() {
        let (directory, paths, _) =
            set_up_pod(r#"{"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}"#);
        let host = directory.path().join("host");
        fs::create_dir(&host).unwrap();
        fs::write(host.join("secret"), "").unwrap();
        std::os::unix::fs::symlink(&host, paths.volume("v").join("out")).unwrap();
        fs::remove_dir_all(paths.root().join("logs")).ok();
        std::os::unix::fs::symlink(&host, paths.root().join("logs")).unwrap();
        remove_pod_files(&paths).unwrap();
        assert!(host.join("secret").exists() && !paths.root().exists());
    }
}
