//! A cluster on a host of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Host, Output, program};

/// Which program speaks to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubectl {
    /// kubectl 1.35, which prefers WebSockets.
    New,
    /// kubectl 1.20, which knows only SPDY.
    Old,
    /// `skiff kubectl`.
    Skiff,
}

/// A one-node cluster, started by `skiff up`.
#[derive(Debug)]
pub struct Cluster {
    host: Host,
}

/// The story's manifest.
const KUBIA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/kubia/kubia.yaml");

impl Cluster {
    /// Starts a cluster and loads the image `luksa/kubia`.
    #[must_use]
    pub fn up() -> Self {
        let cluster = Self::empty();
        let image = program("SKIFF_TEST_IMAGE");
        cluster.skiff(["image", "load", &image.to_string_lossy()]).ok();
        cluster
    }

    /// Starts a cluster.
    #[must_use]
    pub fn empty() -> Self {
        let cluster = Self::stopped();
        cluster.start();
        cluster
    }

    /// A host on which nothing runs yet.
    #[must_use]
    pub fn stopped() -> Self {
        Self { host: Host::new() }
    }

    /// A host inside a privileged container on which nothing runs yet; see [`Host::in_container`].
    #[must_use]
    pub fn in_container() -> Option<Self> {
        Some(Self { host: Host::in_container()? })
    }

    /// Starts the server, for the first time or again.
    pub fn start(&self) {
        self.skiff(["up", "--node-name", "node-1"]).ok();
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.host.directory().join("data")
    }

    /// The run directory.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.host.directory().join("run")
    }

    /// The kubeconfig that `skiff up` wrote.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.host.directory().join("kubeconfig")
    }

    /// Runs `skiff` with these arguments.
    pub fn skiff<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        Output::of(self.skiff_command().args(arguments))
    }

    /// A `skiff` that has not been started.
    #[must_use]
    pub fn skiff_command(&self) -> Command {
        self.command(program("SKIFF_TEST_BINARY"))
    }

    /// Runs kubectl with these arguments, split at spaces.
    pub fn kubectl(&self, which: Kubectl, arguments: &str) -> Output {
        Output::of(&mut self.kubectl_command(which, arguments))
    }

    /// The new kubectl, which must succeed.
    pub fn k(&self, arguments: &str) -> String {
        self.kubectl(Kubectl::New, arguments).ok()
    }

    /// A kubectl that has not been started, with arguments split at spaces.
    #[must_use]
    pub fn kubectl_command(&self, which: Kubectl, arguments: &str) -> Command {
        let mut command = match which {
            Kubectl::New => self.command(program("SKIFF_TEST_KUBECTL_NEW")),
            Kubectl::Old => self.command(program("SKIFF_TEST_KUBECTL_OLD")),
            Kubectl::Skiff => {
                let mut command = self.skiff_command();
                command.arg("kubectl");
                command
            }
        };
        command.args(arguments.split_whitespace());
        command
    }

    /// Runs a shell command on the node.
    pub fn sh(&self, script: &str) -> Output {
        Output::of(&mut self.shell(script))
    }

    /// A shell on the node that has not been started.
    #[must_use]
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.command("bash");
        command.args(["-c", script]);
        command
    }

    /// Applies YAML text.
    pub fn apply(&self, yaml: &str) {
        let path = self.host.directory().join("manifest.yaml");
        std::fs::write(&path, yaml).unwrap();
        self.k(&format!("apply -f {}", path.display()));
    }

    /// Creates the story's Service and ReplicationController and waits until all three pods are ready.
    pub fn create_kubia(&self, which: Kubectl) {
        self.kubectl(which, &format!("create -f {KUBIA}")).ok();
        self.wait_ready_replicas(3);
    }

    /// Creates the story's Service and ReplicationController and does not wait.
    pub fn create_kubia_unready(&self) {
        self.k(&format!("create -f {KUBIA}"));
    }

    /// Waits until the ReplicationController has this many ready pods.
    pub fn wait_ready_replicas(&self, replicas: u32) {
        self.k(&format!("wait rc/kubia --timeout=60s --for=jsonpath={{.status.readyReplicas}}={replicas}"));
    }

    /// Names of the story's pods.
    #[must_use]
    pub fn pods(&self) -> Vec<String> {
        let text = self.k("get pods -l app=kubia -o jsonpath={.items[*].metadata.name}");
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The story's ClusterIP.
    #[must_use]
    pub fn cluster_ip(&self, service: &str) -> String {
        self.k(&format!("get service {service} -o jsonpath={{.spec.clusterIP}}"))
    }

    /// A program on the node, with the cluster's environment, that has not been started.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.host.command(program.as_ref());
        command.env("KUBECONFIG", self.kubeconfig());
        command.env("SKIFF_DATA_DIR", self.data_dir()).env("SKIFF_RUN_DIR", self.run_dir());
        // kubectl caches discovery under the home directory.
        command.env("HOME", self.host.directory());
        command
    }
}

/// A shell function `post RESOURCE BODY`, which creates an object in the namespace `default` by a process of its own, as
/// the administrator, and prints the status code. It leaves its credentials in files that begin with `name`.
#[must_use]
pub fn poster(name: &str) -> String {
    let kubectl = program("SKIFF_TEST_KUBECTL_NEW").display().to_string();
    format!(
        r#"view() {{ {kubectl} config view --raw -o "jsonpath={{$1}}" | base64 -d; }}
        view '.clusters[0].cluster.certificate-authority-data' > {name}.ca
        view '.users[0].user.client-certificate-data' > {name}.crt
        view '.users[0].user.client-key-data' > {name}.key
        post() {{
            curl -s -m 5 -o /dev/null -w '%{{http_code}}' --cacert {name}.ca --cert {name}.crt --key {name}.key \
                -H 'Content-Type: application/json' -d "$2" "https://127.0.0.1:6443/api/v1/namespaces/default/$1"
        }}
        "#
    )
}

impl Cluster {
    /// Prints the end of each log: that of a server in the background, and those of processes in the foreground.
    fn show_logs(&self) {
        const LINES: usize = 60;
        let logs = [self.data_dir(), self.host.directory().to_path_buf()];
        let files = logs.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten();
        for path in
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "log"))
        {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the end of {}", path.display());
            lines[lines.len().saturating_sub(LINES)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Taints and true conditions tell of a machine on which no pod can run, a full disk for one.
            const HEALTH: &str = "custom-columns=NODE:.metadata.name,TAINTS:.spec.taints[*].key,\
                                  CONDITIONS:.status.conditions[?(@.status==\"True\")].type";
            for what in ["nodes,rc,pods,events -A -o wide", &format!("nodes -o {HEALTH}")] {
                eprintln!("{}", self.kubectl(Kubectl::New, &format!("get {what} --request-timeout=5s")));
            }
            self.show_logs();
        }
        // Cgroups are the one thing that does not end with the host's namespaces.
        let mut down = self.skiff(["down", "--purge"]);
        if down.stderr.contains("is at work") {
            // The test failed while a command ran.
            let lock = "$SKIFF_RUN_DIR/command.lock";
            self.sh(&format!("kill -9 $(cut -d ' ' -f 1 {lock}); flock --timeout 10 {lock} true"));
            down = self.skiff(["down", "--purge"]);
        }
        if down.code != Some(0) {
            eprintln!("{down}");
        }
    }
}
