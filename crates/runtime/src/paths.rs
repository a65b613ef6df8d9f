//! Where everything of a pod lies on disk. One place, so that the agent, the supervisor and clean-up agree.
//!
//! ```text
//! <run>/netns/<uid>                 the pod's network namespace (bind mount)
//! <run>/pods/<uid>/pod.json         what the supervisor was started with
//! <run>/pods/<uid>/state.json       what the supervisor knows, replaced atomically
//! <run>/pods/<uid>/control.sock     the supervisor's socket
//! <run>/pods/<uid>/supervisor.log   its complaints
//! <run>/pods/<uid>/shm              /dev/shm of the pod (tmpfs)
//! <run>/pods/<uid>/userns           the pod's user namespace, if it has one (bind mount)
//! <run>/pods/<uid>/c/<id>/          one container: spec.json, config.json, rootfs (overlay), sources, stage, stdin, stdout,
//!                                   stderr
//! <data>/containers/<uid>/<id>/     its writable layer: upper, work
//! ```

use crate::ids::{ContainerId, PodUid};
use skiff_rooted::Root;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The directories of one pod.
#[derive(Clone, Debug)]
pub(crate) struct PodPaths {
    /// `<run>/pods/<uid>`.
    pub(crate) dir: PathBuf,
    /// `<run>/netns/<uid>`.
    pub(crate) netns: PathBuf,
    /// `<data>/containers/<uid>`.
    pub(crate) data: PathBuf,
}

impl PodPaths {
    pub(crate) fn new(run_dir: &Path, data_dir: &Path, uid: &PodUid) -> Self {
        Self {
            dir: pods_dir(run_dir).join(uid.as_str()),
            netns: run_dir.join("netns").join(uid.as_str()),
            data: data_dir.join("containers").join(uid.as_str()),
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("pod.json")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("supervisor.log")
    }

    pub(crate) fn shm(&self) -> PathBuf {
        self.dir.join("shm")
    }

    pub(crate) fn userns(&self) -> PathBuf {
        self.dir.join("userns")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.dir.join("c")
    }

    pub(crate) fn container(&self, id: &ContainerId) -> ContainerPaths {
        ContainerPaths { dir: self.containers().join(id.as_str()), data: self.data.join(id.as_str()) }
    }
}

/// The directories of one container.
#[derive(Clone, Debug)]
pub(crate) struct ContainerPaths {
    /// `<run>/pods/<uid>/c/<id>`: also the OCI bundle.
    pub(crate) dir: PathBuf,
    /// `<data>/containers/<uid>/<id>`.
    pub(crate) data: PathBuf,
}

impl ContainerPaths {
    pub(crate) fn spec(&self) -> PathBuf {
        self.dir.join("spec.json")
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Where the sources of its mounts are attached while it is made.
    pub(crate) fn sources(&self) -> PathBuf {
        self.dir.join("sources")
    }

    /// Where what a container is made of is put together.
    pub(crate) fn stage(&self) -> PathBuf {
        self.dir.join("stage")
    }

    pub(crate) fn fifo(&self, stream: &str) -> PathBuf {
        self.dir.join(stream)
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.data.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.data.join("work")
    }
}

/// `<run>/pods`.
pub(crate) fn pods_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("pods")
}

/// Name of the control socket in the pod's directory.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// Removes a directory with everything below, which a container may have made. Not there is a success.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match Root::open(parent) {
        Ok(parent) => parent.remove_tree(name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Replaces a file so that a reader sees either the old or the new content, whole.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&temporary, path)
}
