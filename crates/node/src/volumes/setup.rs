//! Makes the volumes of a pod on the host, keeps them current, and removes them. Blocking file work.

use super::atomic;
use super::content::{ContentContext, ContentError, Payload, payload};
use crate::paths::PodPaths;
use crate::pod::local::LocalPod;
use crate::quantity::units;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, Volume};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A volume cannot be made; the text follows `MountVolume.SetUp failed for volume "x" : `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("hostPath type check failed: {path} {problem}")]
    HostPath { path: String, problem: &'static str },
    #[error("volumes of this kind are not supported on this node")]
    Unsupported,
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    move |source| VolumeError::Io { action, path: path.to_owned(), source }
}

/// Makes every volume of the pod; safe to repeat. On failure names the volume.
pub(crate) fn set_up(paths: &PodPaths, context: &ContentContext<'_>) -> Result<(), (String, VolumeError)> {
    for volume in context.pod.spec.volumes.iter().flatten() {
        set_up_one(paths, volume, context).map_err(|error| (volume.name.clone(), error))?;
    }
    Ok(())
}

/// Brings the volumes that show objects up to date.
pub(crate) fn refresh(paths: &PodPaths, context: &ContentContext<'_>) -> Result<(), (String, VolumeError)> {
    for volume in context.pod.spec.volumes.iter().flatten() {
        if let Some(files) = payload(volume, context) {
            let files = files.map_err(|error| (volume.name.clone(), error.into()))?;
            fill(&paths.volume(&volume.name), &files, context.pod)
                .map_err(|error| (volume.name.clone(), error))?;
        }
    }
    Ok(())
}

fn set_up_one(paths: &PodPaths, volume: &Volume, context: &ContentContext<'_>) -> Result<(), VolumeError> {
    let directory = paths.volume(&volume.name);
    if let Some(host_path) = &volume.host_path {
        return check_host_path(host_path);
    }
    if let Some(files) = payload(volume, context) {
        let files = files?;
        make_directory(&directory)?;
        // What may be secret never touches the disk.
        if volume.secret.is_some() || volume.projected.is_some() {
            mount_memory(&directory, None)?;
        }
        return fill(&directory, &files, context.pod);
    }
    match &volume.empty_dir {
        Some(source) => empty_dir(&directory, source, context.pod),
        None if is_default_empty_dir(volume) => {
            empty_dir(&directory, &EmptyDirVolumeSource::default(), context.pod)
        }
        None => Err(VolumeError::Unsupported),
    }
}

/// A volume without any source is an emptyDir.
fn is_default_empty_dir(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}

fn fill(directory: &Path, files: &Payload, pod: &LocalPod) -> Result<(), VolumeError> {
    atomic::write(directory, files, fs_group(pod), Timestamp::now()).map_err(failed("write", directory))
}

fn empty_dir(directory: &Path, source: &EmptyDirVolumeSource, pod: &LocalPod) -> Result<(), VolumeError> {
    make_directory(directory)?;
    match source.medium.as_deref() {
        None | Some("") => {}
        Some("Memory") => {
            let limit = source.size_limit.as_ref().and_then(units).filter(|limit| *limit > 0);
            mount_memory(directory, limit)?;
        }
        Some(_) => return Err(VolumeError::Unsupported),
    }
    if let Some(group) = fs_group(pod) {
        chown(directory, None, Some(group)).map_err(failed("change group of", directory))?;
        set_mode(directory, 0o2777)?;
    }
    Ok(())
}

fn fs_group(pod: &LocalPod) -> Option<u32> {
    let group = pod.spec.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// Makes a directory that every user of the pod may write to.
fn make_directory(directory: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(directory).map_err(failed("create", directory))?;
    set_mode(directory, 0o777)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set permissions of", path))
}

/// Mounts memory of at most `limit` bytes, unless that was done before.
fn mount_memory(directory: &Path, limit: Option<i64>) -> Result<(), VolumeError> {
    if is_mount_point(directory).map_err(failed("look at", directory))? {
        return Ok(());
    }
    let options = match limit {
        Some(limit) => format!("mode=1777,size={limit}"),
        None => "mode=1777".to_owned(),
    };
    let options = std::ffi::CString::new(options).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", directory, "tmpfs", flags, options.as_c_str())
        .map_err(|error| failed("mount memory on", directory)(error.into()))
}

fn is_mount_point(path: &Path) -> io::Result<bool> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(fs::symlink_metadata(path)?.dev() != fs::symlink_metadata(parent)?.dev())
}

/// Checks that a path of the host is what the pod says it is, or makes it where it asks for that.
fn check_host_path(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let problem = |problem| VolumeError::HostPath { path: source.path.clone(), problem };
    let kind = source.type_.as_deref().unwrap_or_default();
    let found = fs::metadata(path).ok();
    match (kind, found) {
        // Like a container runtime, make what is missing a directory.
        ("", Some(_)) => Ok(()),
        ("", None) => fs::create_dir_all(path).map_err(failed("create", path)),
        ("DirectoryOrCreate", None) => {
            fs::create_dir_all(path).map_err(failed("create", path))?;
            set_mode(path, 0o755)
        }
        ("FileOrCreate", None) => {
            fs::File::create(path).map_err(failed("create", path))?;
            set_mode(path, 0o644)
        }
        ("Directory" | "DirectoryOrCreate", found) if found.as_ref().is_none_or(|f| !f.is_dir()) => {
            Err(problem("is not a directory"))
        }
        ("File" | "FileOrCreate", found) if found.as_ref().is_none_or(|f| !f.is_file()) => {
            Err(problem("is not a file"))
        }
        ("Socket", found) if found.as_ref().is_none_or(|f| !f.file_type().is_socket()) => {
            Err(problem("is not a socket file"))
        }
        ("CharDevice", found) if found.as_ref().is_none_or(|f| !f.file_type().is_char_device()) => {
            Err(problem("is not a character device"))
        }
        ("BlockDevice", found) if found.as_ref().is_none_or(|f| !f.file_type().is_block_device()) => {
            Err(problem("is not a block device"))
        }
        (
            "Directory" | "DirectoryOrCreate" | "File" | "FileOrCreate" | "Socket" | "CharDevice"
            | "BlockDevice",
            _,
        ) => Ok(()),
        _ => Err(problem("has an unknown type")),
    }
}

/// Unmounts and removes all volumes of a pod; what does not exist is no error.
pub(crate) fn tear_down(paths: &PodPaths) -> Result<(), VolumeError> {
    let root = paths.volumes();
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", &root)(error)),
    };
    for entry in entries {
        let path = entry.map_err(failed("read", &root))?.path();
        if is_mount_point(&path).map_err(failed("look at", &path))? {
            unmount(&path, UnmountFlags::DETACH).map_err(|error| failed("unmount", &path)(error.into()))?;
        }
    }
    fs::remove_dir_all(&root).map_err(failed("remove", &root))
}

/// Removes everything of a pod from the disk, volumes first: a directory that still has mounts is not touched.
pub(crate) fn remove_pod_files(paths: &PodPaths) -> Result<(), VolumeError> {
    tear_down(paths)?;
    match fs::remove_dir_all(paths.root()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", paths.root())(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_paths_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let check = |name: &str, kind: &str, expected: Result<(), &str>| {
            let path = directory.path().join(name).display().to_string();
            let source = HostPathVolumeSource { path, type_: Some(kind.into()) };
            let actual = check_host_path(&source).map_err(|error| error.to_string());
            match expected {
                Ok(()) => assert_eq!(actual, Ok(())),
                Err(text) => assert!(actual.unwrap_err().ends_with(text)),
            }
        };
        check("a", "Directory", Err("is not a directory"));
        check("a", "DirectoryOrCreate", Ok(()));
        check("a", "Directory", Ok(()));
        check("a", "File", Err("is not a file"));
        check("f", "FileOrCreate", Ok(()));
        check("f", "Socket", Err("is not a socket file"));
        check("n", "", Ok(()));
        check("n", "Nonsense", Err("has an unknown type"));
    }
}
