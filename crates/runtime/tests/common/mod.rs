//! A runtime in temporary directories and an image made from the machine's static busybox.

#![allow(dead_code, reason = "each test program uses some of it")]

use skiff_runtime::{
    ContainerId, ContainerSpec, ContainerState, ContainerStatus, ImageLimits, PodHandle, PodSandbox, PodUid,
    PullPolicy, Resources, Runtime, RuntimeConfig, Seccomp, UserSpec,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Capabilities container runtimes give by default.
pub(crate) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Name of the test image.
pub(crate) const IMAGE: &str = "example.test/busybox:1";

/// Longest wait for anything, in total.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime of its own for one test. [`Machine::finish`] checks that nothing stays behind.
pub(crate) struct Machine {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) cgroup: String,
}

impl Machine {
    /// None, with the reason printed, when not root.
    pub(crate) async fn new() -> Option<Self> {
        Self::limited("").await
    }

    /// The same with other bounds for images.
    pub(crate) async fn limited(limits: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("skipped: containers need root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let cgroup = format!("skiff-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let image_limits = limits.parse().unwrap();
        let config = RuntimeConfig { image_limits, ..config(directory.path(), &cgroup) };
        let runtime = Runtime::new(config).unwrap();
        runtime.check().unwrap();
        let archive = directory.path().join("busybox.tar");
        std::fs::write(&archive, docker_archive(IMAGE)).unwrap();
        assert_eq!(runtime.images().load(&archive).await.unwrap(), [IMAGE]);
        Some(Self { directory, runtime, cgroup })
    }

    /// Another runtime on the same directories: the agent after a restart.
    pub(crate) fn restarted(&self) -> Runtime {
        Runtime::new(config(self.directory.path(), &self.cgroup)).unwrap()
    }

    /// The same, which cannot start any process.
    pub(crate) fn without_processes(&self) -> Runtime {
        self.with_executable("/does-not-exist".into())
    }

    /// The same with other supervisors.
    pub(crate) fn with_executable(&self, executable: PathBuf) -> Runtime {
        let config = config(self.directory.path(), &self.cgroup);
        Runtime::new(RuntimeConfig { executable, ..config }).unwrap()
    }

    /// The same with another bound for starts.
    pub(crate) fn with_start_limit(&self, start_limit: Duration) -> Runtime {
        let config = config(self.directory.path(), &self.cgroup);
        Runtime::new(RuntimeConfig { start_limit, ..config }).unwrap()
    }

    pub(crate) fn sandbox(&self, name: &str) -> PodSandbox {
        PodSandbox {
            uid: PodUid::new(format!("uid-{name}")).unwrap(),
            namespace: "default".into(),
            name: name.into(),
            hostname: name.into(),
            host_network: false,
            host_pid: false,
            host_ipc: false,
            sysctls: Default::default(),
            share_pids: false,
            class: Default::default(),
            resources: None,
            users: None,
            log_dir: self.directory.path().join("logs").join(name),
        }
    }

    pub(crate) async fn pod(&self, name: &str) -> PodHandle {
        self.runtime.start_pod(self.sandbox(name)).await.unwrap()
    }

    /// A container that runs a shell script.
    pub(crate) async fn shell(&self, pod: &PodHandle, name: &str, script: &str) -> ContainerSpec {
        let image = self.runtime.images().resolve(IMAGE, PullPolicy::IfNotPresent, &[]).await.unwrap();
        ContainerSpec {
            name: name.into(),
            attempt: 0,
            image: image.id,
            image_ref: IMAGE.into(),
            args: ["sh", "-c", script].map(String::from).to_vec(),
            env: image.config.env,
            cwd: image.config.working_dir,
            user: UserSpec::default(),
            mounts: Vec::new(),
            devices: Vec::new(),
            rootfs_readonly: false,
            capabilities: CAPABILITIES.map(String::from).to_vec(),
            privileged: false,
            unmasked: false,
            no_new_privileges: false,
            seccomp: Seccomp::RuntimeDefault,
            target: None,
            resources: Resources::default(),
            oom_score_adj: Some(1000),
            tty: false,
            stdin: false,
            stdin_once: false,
            stop_signal: String::new(),
            log_path: pod.sandbox().log_dir.join(format!("{name}.log")),
            labels: Default::default(),
        }
    }

    /// Runs a script to its end; returns its exit code and the text of its log.
    pub(crate) async fn run(&self, pod: &PodHandle, name: &str, script: &str) -> (i32, String) {
        let spec = self.shell(pod, name, script).await;
        let log = spec.log_path.clone();
        let id = pod.start_container(spec).await.unwrap();
        let state = exited(pod, &id).await;
        (code(&state), log_text(&log))
    }

    /// Stops everything and checks that nothing is left.
    pub(crate) async fn finish(self) {
        self.runtime.cleanup_all().await.unwrap();
        let run = self.directory.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let left: Vec<_> = mounts.lines().filter(|l| l.contains(&run)).collect();
        assert!(left.is_empty(), "mounts left: {left:?}");
        assert_eq!(groups_named(&self.cgroup), Vec::<PathBuf>::new());
        assert_eq!(supervisors_of(self.directory.path()), Vec::<i32>::new());
        for empty in ["run/pods", "run/netns", "data/containers"] {
            let path = self.directory.path().join(empty);
            assert_eq!(std::fs::read_dir(&path).map_or(0, Iterator::count), 0, "{}", path.display());
        }
    }
}

/// A failed test leaves nothing behind either.
impl Drop for Machine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let config = config(self.directory.path(), &self.cgroup);
        let clean = move || {
            let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            executor.block_on(async { Runtime::new(config).unwrap().cleanup_all().await })
        };
        println!("cleaned up after the failure: {:?}", std::thread::spawn(clean).join());
    }
}

fn config(directory: &Path, cgroup: &str) -> RuntimeConfig {
    RuntimeConfig {
        data_dir: directory.join("data"),
        run_dir: directory.join("run"),
        executable: PathBuf::from(env!("CARGO_BIN_EXE_supervisor-for-tests")),
        image_limits: ImageLimits::default(),
        cgroup_parent: cgroup.into(),
        start_limit: skiff_runtime::START_LIMIT,
    }
}

/// What `docker save` would write for a busybox image.
pub(crate) fn docker_archive(name: &str) -> Vec<u8> {
    let layer = busybox_layer();
    let config = configuration(&layer);
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["l/layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    add_file(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest).unwrap());
    add_file(&mut archive, "config.json", 0o644, &config);
    add_file(&mut archive, "l/layer.tar", 0o644, &layer);
    archive.into_inner().unwrap()
}

/// What `docker save` would write for an image of these layers, lowest first.
pub(crate) fn layered_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let files: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": files}]);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| sha256(layer)).collect::<Vec<_>>()},
    });
    let mut archive = tar::Builder::new(Vec::new());
    add_file(&mut archive, "manifest.json", 0o644, &serde_json::to_vec(&manifest).unwrap());
    add_file(&mut archive, "config.json", 0o644, &serde_json::to_vec(&config).unwrap());
    for (file, layer) in files.iter().zip(layers) {
        add_file(&mut archive, file, 0o644, layer);
    }
    archive.into_inner().unwrap()
}

/// A layer with these files.
pub(crate) fn layer(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode, content) in files {
        add_file(&mut layer, path, *mode, content.as_bytes());
    }
    layer.into_inner().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let digits: String = sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{digits}")
}

/// The image's configuration document.
pub(crate) fn configuration(layer: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin:/usr/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"], "WorkingDir": "/work"},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]},
    }))
    .unwrap()
}

/// A layer with busybox, its usual names, and two users.
pub(crate) fn busybox_layer() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    add_file(&mut layer, "bin/busybox", 0o755, &std::fs::read("/bin/busybox").unwrap());
    for name in APPLETS.split_whitespace() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        blank(&mut header, 0o777);
        layer.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
    }
    add_file(
        &mut layer,
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv:/bin/sh\n",
    );
    add_file(&mut layer, "etc/group", 0o644, b"root:x:0:\nweb:x:102:\nwww:x:33:web\n");
    add_file(&mut layer, "etc/secret", 0o600, b"root only\n");
    layer.into_inner().unwrap()
}

const APPLETS: &str = "cat chown chroot date dd df echo env false find grep head hostname id ifconfig ip kill ls mkdir mknod mount \
    mv nc ping ps pwd readlink sh sleep stat stty tail test touch tr true tty umount uname unshare wc whoami yes";

pub(crate) fn add_file(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    blank(&mut header, mode);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive.append_data(&mut header, path, content).unwrap();
}

pub(crate) fn blank(header: &mut tar::Header, mode: u32) {
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000);
    header.set_size(0);
}

/// Waits until a container is in the wanted state.
pub(crate) async fn until(
    pod: &PodHandle,
    id: &ContainerId,
    wanted: impl Fn(&ContainerStatus) -> bool,
) -> ContainerState {
    let mut watch = pod.watch();
    let found = |state: &skiff_runtime::PodState| state.container(id).is_some_and(|c| wanted(&c.status));
    let state =
        tokio::time::timeout(PATIENCE, watch.wait_for(found)).await.expect("in time").unwrap().clone();
    state.container(id).unwrap().clone()
}

pub(crate) async fn exited(pod: &PodHandle, id: &ContainerId) -> ContainerState {
    until(pod, id, |status| matches!(status, ContainerStatus::Exited { .. })).await
}

pub(crate) fn code(state: &ContainerState) -> i32 {
    match state.status {
        ContainerStatus::Exited { code, .. } => code,
        ref other => panic!("not exited: {other:?}"),
    }
}

/// The text of a log without its time stamps: `stream text`, one per line.
pub(crate) fn log_text(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut parts = line.splitn(4, ' ');
        let (_time, stream, _tag) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        format!("{stream} {}\n", parts.next().unwrap_or_default())
    };
    text.lines().map(line).collect()
}

fn groups_named(name: &str) -> Vec<PathBuf> {
    let trees = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|e| e.path());
    let mut candidates: Vec<PathBuf> = trees.map(|tree| tree.join(name)).collect();
    candidates.push(Path::new("/sys/fs/cgroup").join(name));
    candidates.retain(|path| path.exists());
    candidates
}

/// Living supervisors of pods below a directory.
pub(crate) fn supervisors_of(directory: &Path) -> Vec<i32> {
    let needle = directory.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("pod-supervisor") && line.contains(&needle)
    };
    pids.filter(is_ours).collect()
}
