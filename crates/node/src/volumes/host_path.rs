//! Paths of the host that pods ask for. They may lead anywhere by definition; what is checked is the object found, and
//! the runtime checks the one it mounts again.

use super::content::ContentContext;
use super::{Measure, Place, Remark, Shown, Volume, VolumeError};
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use skiff_rooted::{Follow, Handle, Kind, Owner, Root};
use std::io;
use std::path::Path;

/// A path of the host in a pod's specification.
pub(super) struct HostPath<'a>(pub(super) &'a HostPathVolumeSource);

impl Volume for HostPath<'_> {
    fn publish(&self, _: &Place<'_>, _: &ContentContext<'_>) -> Result<Option<Remark>, VolumeError> {
        check(self.0).map(|()| None)
    }

    /// What is there is the host's.
    fn unpublish(&self, _: &Place<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn shown(&self, _: &Place<'_>) -> Shown {
        Shown { expected: expected(self.0), ..Shown::of(self.0.path.clone().into()) }
    }

    fn stats(&self, _: &Place<'_>) -> io::Result<Option<Measure>> {
        Ok(None)
    }
}

/// What the type of a hostPath volume demands; `None` for anything.
pub(crate) fn expected(source: &HostPathVolumeSource) -> Option<Kind> {
    match source.type_.as_deref().unwrap_or_default() {
        "Directory" | "DirectoryOrCreate" => Some(Kind::Directory),
        "File" | "FileOrCreate" => Some(Kind::File),
        "Socket" => Some(Kind::Socket),
        "CharDevice" => Some(Kind::CharDevice),
        "BlockDevice" => Some(Kind::BlockDevice),
        _ => None,
    }
}

/// Checks that a path of the host is what the pod says it is, or makes it where it asks for that.
pub(crate) fn check(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let problem = |problem| VolumeError::HostPath { path: source.path.clone(), problem };
    let io = |action, error| VolumeError::Io { action, path: source.path.clone().into(), source: error };
    let found = match (Handle::open(&source.path), source.type_.as_deref().unwrap_or_default()) {
        (Err(error), kind) if error.kind() == io::ErrorKind::NotFound => match kind {
            // Like a container runtime, make what is missing a directory.
            "" | "DirectoryOrCreate" => make_directory(&source.path),
            "FileOrCreate" => make_file(&source.path),
            _ => return Err(problem(expected(source).map_or("has an unknown type".into(), is_not))),
        }
        .map_err(|error| io("create", error))?,
        (found, _) => found.map_err(|error| io("look at", error))?,
    };
    match (expected(source), source.type_.as_deref().unwrap_or_default()) {
        (Some(kind), _) if kind != found.kind() => Err(problem(is_not(kind))),
        (Some(_), _) | (None, "") => Ok(()),
        (None, _) => Err(problem("has an unknown type".into())),
    }
}

fn is_not(kind: Kind) -> String {
    format!("is not {kind}")
}

fn make_directory(path: &str) -> io::Result<Handle> {
    let directory = root()?.ensure_directories(path, Follow::InRoot, 0o755, Owner::AS_MADE)?;
    directory.find("", Follow::Nothing)
}

/// Makes a file in a directory that is there, as the kubelet does; one that has appeared meanwhile stays as it is.
fn make_file(path: &str) -> io::Result<Handle> {
    let path = Path::new(path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = root()?.directory(parent, Follow::InRoot)?;
    match parent.create(name, 0o644, Owner::AS_MADE) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => parent.find(name, Follow::InRoot),
    }
}

fn root() -> io::Result<Root> {
    Root::open("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked() {
        let directory = tempfile::tempdir().unwrap();
        let check = |name: &str, kind: &str, expected: Result<(), &str>| {
            let path = directory.path().join(name).display().to_string();
            let source = HostPathVolumeSource { path, type_: Some(kind.into()) };
            let actual = super::check(&source).map_err(|error| error.to_string());
            match expected {
                Ok(()) => assert_eq!(actual, Ok(()), "{name} {kind}"),
                Err(text) => assert!(actual.clone().unwrap_err().ends_with(text), "{actual:?}"),
            }
        };
        check("a", "Directory", Err("is not a directory"));
        check("a/b/c", "DirectoryOrCreate", Ok(()));
        check("a", "Directory", Ok(()));
        check("a", "File", Err("is not a file"));
        check("f", "FileOrCreate", Ok(()));
        check("f", "FileOrCreate", Ok(()));
        check("f", "Directory", Err("is not a directory"));
        check("f", "Socket", Err("is not a socket file"));
        check("n", "", Ok(()));
        check("n", "Nonsense", Err("has an unknown type"));
        check("absent", "Nonsense", Err("has an unknown type"));
        std::os::unix::fs::symlink("f", directory.path().join("l")).unwrap();
        check("l", "File", Ok(()));
        std::os::unix::fs::symlink("nowhere", directory.path().join("dangling")).unwrap();
        check("dangling", "File", Err("is not a file"));
    }
}
