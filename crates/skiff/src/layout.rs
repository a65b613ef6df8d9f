//! Where a cluster's files are (`docs/files.md` describes all of them).

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use skiff_runtime::ImageLimits;

use crate::lock;

/// The two directories of a cluster and the files in them. The data directory survives reboots, the run
/// directory need not.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    data: PathBuf,
    run: PathBuf,
    image_limits: ImageLimits,
}

impl Layout {
    pub(crate) fn new(data: PathBuf, run: PathBuf) -> Self {
        Self { data, run, image_limits: ImageLimits::default() }
    }

    /// The same with other limits for images.
    pub(crate) fn with_image_limits(self, image_limits: ImageLimits) -> Self {
        Self { image_limits, ..self }
    }

    /// How much an image may ask for.
    pub(crate) fn image_limits(&self) -> ImageLimits {
        self.image_limits
    }

    /// Makes the directories, for root alone: they hold keys and secrets. Directories that are there already are
    /// tightened, and refused when they are not a cluster's.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        private_directory(&self.data, is_a_clusters)?;
        private_directory(&self.run, is_a_clusters)?;
        // In a directory of ours it is ours.
        private_directory(&self.data.join("store"), |_| Ok(true))
    }

    /// Refuses directories that hold files and no cluster's: nothing there is to be stopped or deleted.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for path in [&self.data, &self.run] {
            if path.exists() && !is_a_clusters(path)? {
                bail!("{} holds other files and no cluster; nothing was changed", path.display());
            }
        }
        Ok(())
    }

    /// Objects, images, pods, keys.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Sockets, namespaces, process records.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        self.data.join("store/state.redb")
    }

    /// Keys and certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    /// Kubeconfig of the administrator, for tools on this machine.
    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.data.join("admin.kubeconfig")
    }

    /// The node's name, as it was when the server last started.
    pub(crate) fn node_name(&self) -> PathBuf {
        self.data.join("node-name")
    }

    /// What the background server writes.
    pub(crate) fn log(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// Which process starts the server again when it ends; locked by it while it runs.
    pub(crate) fn keeper_record(&self) -> PathBuf {
        self.run.join("keeper.json")
    }

    /// How often and why the server was started again.
    pub(crate) fn restarts(&self) -> PathBuf {
        self.run.join("restarts.json")
    }

    /// Locked by the server until pods can run.
    pub(crate) fn starting(&self) -> PathBuf {
        self.run.join("starting.json")
    }

    /// Which process is an agent beside the server; locked by it while it runs.
    pub(crate) fn agent_record(&self) -> PathBuf {
        self.run.join("agent.json")
    }

    /// Addresses of pods; there once the node has begun to make its network.
    pub(crate) fn network(&self) -> PathBuf {
        self.run.join("network")
    }

    /// The persistent volumes that the node's provisioner has made.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// Which process is the server; locked by it while it runs.
    pub(crate) fn server_record(&self) -> PathBuf {
        self.run.join("server.json")
    }
}

/// What may be in a cluster's directories, but for families of names.
const NAMES: [&str; 19] = [
    "admin.kubeconfig",
    "agent.json",
    "containers",
    "images",
    "keeper.json",
    "making",
    "netns",
    "network",
    "node-name",
    "pki",
    "pods",
    "restarts.json",
    "server.json",
    "staged",
    "starting.json",
    "store",
    "timeline.json",
    "trial-pod.lock",
    "volumes",
];

/// Whether a cluster's directory has an entry of this name that may go with the cluster (`docs/files.md`).
pub(crate) fn is_made_here(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // Logs, directories of trials, files that were being written.
    let family =
        name.starts_with("server.log") || name.starts_with(".trial-") || name.ends_with(".skiff-new");
    family || NAMES.contains(&&*name)
}

/// Names that only a cluster's directory has.
const MARKS: [&str; 4] = ["store", "pki", "server.json", lock::NAME];

/// Makes a directory that only root can enter, or sees to it that one that is there is such a directory, which may be
/// changed if it is `ours`.
fn private_directory(path: &Path, ours: impl Fn(&Path) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).recursive(true).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("make {}", path.display()));
        }
        _ => {}
    }
    let found = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
    if !found.is_dir() {
        bail!("{} is not a directory; a cluster keeps its files there", path.display());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "{} belongs to user {}; a cluster's files hold keys, so its directory must be root's",
            path.display(),
            found.uid()
        );
    }
    if found.mode() & 0o077 == 0 {
        return Ok(());
    }
    if !ours(path)? {
        bail!(
            "{} is open to other users and holds other files; name an empty directory, or one of a cluster",
            path.display()
        );
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))
        .with_context(|| format!("tighten {}", path.display()))
}

/// Whether a directory is empty or holds a cluster's files. `lost+found` is what an empty file system has.
fn is_a_clusters(path: &Path) -> anyhow::Result<bool> {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.with_context(|| format!("read {}", path.display()))?;
    let names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
    let others = names.iter().any(|name| *name != "lost+found");
    Ok(!others || names.iter().any(|name| MARKS.iter().any(|mark| *name == *mark)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn tightens_its_own_and_refuses_others() {
        let check = |files: &[&str], mode: u32, taken: bool| {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                fs::write(dir.path().join(file), "").unwrap();
            }
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(private_directory(dir.path(), is_a_clusters).is_ok(), taken, "{files:?} {mode:o}");
            let after = fs::metadata(dir.path()).unwrap().mode() & 0o7777;
            assert_eq!(after, if taken { 0o700 } else { mode }, "{files:?} {mode:o}");
        };
        check(&[], 0o755, true);
        check(&["lost+found"], 0o755, true);
        check(&["pki", "notes"], 0o755, true);
        check(&["notes"], 0o755, false);
        check(&["notes"], 0o1777, false);
        check(&["notes"], 0o700, true);
    }

    /// The names at the top of the directory that a section of `docs/files.md` describes.
    fn documented(section: &str) -> BTreeSet<String> {
        let text = include_str!("../../../docs/files.md");
        let (_, rest) = text.split_once(section).unwrap();
        let rows = rest.lines().skip(1).take_while(|line| !line.starts_with("## "));
        let paths = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        paths.map(|path| path.split('/').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_document_names_what_is_there_and_nothing_else() {
        let layout = Layout::new("/data".into(), "/run".into());
        let (data, run) = (documented("## Data directory"), documented("## Run directory"));
        let top = |path: PathBuf, directory: &str| {
            let inner = path.strip_prefix(directory).unwrap();
            inner.iter().next().unwrap().to_str().unwrap().to_owned()
        };
        for path in
            [layout.store(), layout.pki(), layout.admin_kubeconfig(), layout.node_name(), layout.log()]
        {
            assert!(data.contains(&top(path.clone(), "/data")), "{}", path.display());
        }
        for path in [
            layout.keeper_record(),
            layout.restarts(),
            layout.starting(),
            layout.agent_record(),
            layout.network(),
            layout.server_record(),
        ] {
            assert!(run.contains(&top(path.clone(), "/run")), "{}", path.display());
        }
        let all: BTreeSet<String> = data.union(&run).cloned().collect();
        for name in &all {
            // The command that empties the directory holds its own lock until it ends.
            assert_eq!(is_made_here(OsStr::new(name)), name != lock::NAME, "{name}");
        }
        for name in NAMES.iter().chain(&MARKS) {
            assert!(all.contains(*name), "{name} is in no table");
        }
    }
}
