//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use skiff_apiserver::{AuditConfig, AuditOptions, EventTtl, PluginConfiguration, PluginNames, Plugins};
use skiff_node::EvictionHard;
use skiff_runtime::ImageLimits;

use crate::access::AccessArgs;
use crate::layout::Layout;
use crate::scheduling::SchedulerArgs;

/// A complete Kubernetes cluster in one binary, centred on the Service.
///
/// Start a one-node cluster with `skiff up`, talk to it with kubectl (or `skiff kubectl`), stop it with
/// `skiff down`. `skiff demo` plays the tour of the README on a cluster of its own.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The command line of this process; ends it when that makes no sense.
    pub(crate) fn read() -> Self {
        let matches = Self::command().get_matches();
        Self::of(&matches).unwrap_or_else(|error| error.exit())
    }

    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        if let (Command::Up(args), Some((_, options))) = (&mut cli.command, matches.subcommand()) {
            let given = |id: &&clap::Id| options.value_source(id.as_str()) != Some(ValueSource::DefaultValue);
            args.given = options.ids().filter(given).map(|id| id.as_str().to_owned()).collect();
        }
        Ok(cli)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a one-node cluster in the background; return when pods can run
    ///
    /// Leaves a context `skiff` in the kubeconfig and makes it the current one. Running it again while the
    /// cluster is up changes nothing, and is refused with other options than it runs with; running it after `skiff down` finds all objects again.
    Up(UpArgs),
    /// Stop the cluster and leave nothing of it in the kernel or the process table
    Down(DownArgs),
    /// Show the health of each part
    ///
    /// Asks the server's parts and the kernel, and makes connections as pods make them; says what is not well and what to
    /// do. Exits with 0 when all is well, 1 when something is not, and 3 when no server runs.
    Status(LayoutArgs),
    /// Run the cluster in the foreground, for service managers
    Server(ServerArgs),
    /// Run only the node agent against a server on this machine
    Agent(ServerArgs),
    /// Play the tour of the README, with explanation, on a fresh cluster that is removed afterwards
    Demo(DemoArgs),
    /// Manage the images that pods on this machine can use
    Image(ImageArgs),
    /// Replace what the cluster signs with, while it runs
    Rotate(RotateArgs),
    /// The kubectl verbs that people use most, for machines without kubectl
    #[command(disable_help_flag = true)]
    Kubectl {
        /// As kubectl takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Serve the cluster's DNS; what the DNS pod runs
    #[command(hide = true)]
    Dns(DnsArgs),
}

/// Where a cluster keeps its state. Clusters with different directories do not know of each other.
#[derive(Clone, Debug, Args)]
pub(crate) struct LayoutArgs {
    /// Objects, images, pods and keys
    #[arg(long, env = "SKIFF_DATA_DIR", default_value = "/var/lib/skiff", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Sockets, namespaces and process records; need not survive a reboot
    #[arg(long, env = "SKIFF_RUN_DIR", default_value = "/run/skiff", value_name = "DIR")]
    pub(crate) run_dir: PathBuf,
    /// What an image may ask for beyond the usual, e.g. `image-bytes=128Gi,entries=5000000`; errors name the limits
    #[arg(
        long,
        env = "SKIFF_IMAGE_LIMIT",
        default_value = "",
        hide_default_value = true,
        value_name = "NAME=NUMBER,…"
    )]
    pub(crate) image_limit: ImageLimits,
}

impl LayoutArgs {
    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.data_dir.clone(), self.run_dir.clone()).with_image_limits(self.image_limit)
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// Name of the node; when not given the one it had before, at first the host name in lower case
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// Address of the node and of the API server; found from the machine's routes when not given
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) node_ip: Option<IpAddr>,
    /// Port of the API server
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub(crate) api_port: u16,
    /// Port of the node's kubelet API
    #[arg(long, default_value_t = 10250, value_name = "PORT")]
    pub(crate) kubelet_port: u16,
    /// What must be left on the node's disk, as the kubelet's evictionHard, e.g. `nodefs.available<10%,nodefs.inodesFree<5%`;
    /// when not given, a tenth or 1Gi, whichever is less, and 5% of the inodes
    #[arg(long, value_name = "SIGNAL<QUANTITY,…")]
    pub(crate) eviction_hard: Option<EvictionHard>,
    /// How long Events are kept after they were last written, e.g. 90m; 0: for ever
    #[arg(long, default_value_t = EventTtl::default(), value_name = "DURATION")]
    pub(crate) event_ttl: EventTtl,
    #[command(flatten)]
    pub(crate) admission: AdmissionArgs,
    #[command(flatten)]
    pub(crate) scheduler: SchedulerArgs,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,
    /// Name of the context written into the kubeconfig
    #[arg(long, default_value = "skiff", value_name = "NAME")]
    pub(crate) context: String,
    /// Serve the API without being a node (`skiff server` only); run `skiff agent` beside it
    #[arg(long)]
    pub(crate) without_agent: bool,
    /// Report progress on standard output as JSON lines and detach from the terminal; what `skiff up` starts
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// What is asked before something is written, as options of kube-apiserver say it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct AdmissionArgs {
    /// Admission plugins that are off by default and are to be on: DenyServiceExternalIPs; errors name all plugins
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PLUGIN,…")]
    pub(crate) enable_admission_plugins: PluginNames,
    /// Admission plugins that are on by default and are to be off, e.g. DefaultTolerationSeconds
    #[arg(long, default_value = "", hide_default_value = true, value_name = "PLUGIN,…")]
    pub(crate) disable_admission_plugins: PluginNames,
    /// AdmissionConfiguration (apiserver.config.k8s.io/v1) for PodSecurity, ResourceQuota and webhooks; read whenever the server starts
    #[arg(long, value_name = "FILE")]
    pub(crate) admission_control_config_file: Option<PathBuf>,
}

impl AdmissionArgs {
    /// The plugins that these options ask for.
    pub(crate) fn plugins(&self) -> anyhow::Result<Plugins> {
        let configuration = match &self.admission_control_config_file {
            Some(file) => PluginConfiguration::read(file)?,
            None => PluginConfiguration::default(),
        };
        Ok(Plugins::new(&self.enable_admission_plugins, &self.disable_admission_plugins, configuration)?)
    }

    /// The same, for a process that runs somewhere else.
    pub(crate) fn words(&self) -> anyhow::Result<Vec<OsString>> {
        let mut words: Vec<OsString> = Vec::new();
        let names = [
            ("--enable-admission-plugins", &self.enable_admission_plugins),
            ("--disable-admission-plugins", &self.disable_admission_plugins),
        ];
        for (option, names) in names.into_iter().filter(|(_, names)| !names.is_empty()) {
            words.extend([option.into(), names.to_string().into()]);
        }
        if let Some(file) = &self.admission_control_config_file {
            words.extend(["--admission-control-config-file".into(), absolute(file)?.into()]);
        }
        Ok(words)
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.enable_admission_plugins.is_empty()
            && self.disable_admission_plugins.is_empty()
            && self.admission_control_config_file.is_none()
    }
}

/// Which requests are written down, and where, as options of kube-apiserver say it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct AuditArgs {
    /// Policy (audit.k8s.io/v1) that says which requests are written down, and how much of them; read whenever the server starts
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_policy_file: Option<PathBuf>,
    /// File that requests are written to, as a line of JSON for each event; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// After so many days a full file is removed; 0: never
    #[arg(long, default_value_t = 0, value_name = "DAYS")]
    pub(crate) audit_log_maxage: u32,
    /// So many full files are kept; 0: all
    #[arg(long, default_value_t = 0, value_name = "FILES")]
    pub(crate) audit_log_maxbackup: u32,
    /// At so many megabytes a file is full
    #[arg(long, default_value_t = 100, value_name = "MEGABYTES")]
    pub(crate) audit_log_maxsize: u32,
    /// Kubeconfig of a server that events are sent to
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_webhook_config_file: Option<PathBuf>,
    /// How many seconds events are gathered for it
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) audit_webhook_batch_max_wait: u32,
}

impl AuditArgs {
    /// What they ask for.
    pub(crate) fn read(&self) -> anyhow::Result<Option<AuditConfig>> {
        let options = AuditOptions {
            policy: self.audit_policy_file.clone(),
            log: self.audit_log_path.clone(),
            days: self.audit_log_maxage,
            backups: self.audit_log_maxbackup,
            megabytes: self.audit_log_maxsize,
            webhook: self.audit_webhook_config_file.clone(),
            wait: Duration::from_secs(self.audit_webhook_batch_max_wait.into()),
        };
        Ok(options.read()?)
    }

    /// The same, for a process that runs somewhere else.
    pub(crate) fn words(&self) -> anyhow::Result<Vec<OsString>> {
        let mut words: Vec<OsString> = Vec::new();
        let files = [
            ("--audit-policy-file", &self.audit_policy_file),
            ("--audit-log-path", &self.audit_log_path),
            ("--audit-webhook-config-file", &self.audit_webhook_config_file),
        ];
        for (option, file) in files.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?))) {
            words.extend([option.into(), absolute(file)?.into()]);
        }
        let numbers = [
            ("--audit-log-maxage", self.audit_log_maxage, 0),
            ("--audit-log-maxbackup", self.audit_log_maxbackup, 0),
            ("--audit-log-maxsize", self.audit_log_maxsize, 100),
            ("--audit-webhook-batch-max-wait", self.audit_webhook_batch_max_wait, 30),
        ];
        for (option, number, _) in numbers.into_iter().filter(|(_, number, usual)| number != usual) {
            words.extend([option.into(), number.to_string().into()]);
        }
        Ok(words)
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        let files = [&self.audit_policy_file, &self.audit_log_path, &self.audit_webhook_config_file];
        files.into_iter().all(Option::is_none)
    }
}

/// How what is stored is encrypted, as options of kube-apiserver say it.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct EncryptionArgs {
    /// EncryptionConfiguration (apiserver.config.k8s.io/v1) that says which resources are encrypted on disk, and with which keys
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_provider_config: Option<PathBuf>,
    /// Read that file again whenever it changes
    #[arg(long)]
    pub(crate) encryption_provider_config_automatic_reload: bool,
}

impl EncryptionArgs {
    /// The same, for a process that runs somewhere else.
    pub(crate) fn words(&self) -> anyhow::Result<Vec<OsString>> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(file) = &self.encryption_provider_config {
            words.extend(["--encryption-provider-config".into(), absolute(file)?.into()]);
        }
        if self.encryption_provider_config_automatic_reload {
            words.push("--encryption-provider-config-automatic-reload".into());
        }
        Ok(words)
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.encryption_provider_config.is_none() && !self.encryption_provider_config_automatic_reload
    }
}

/// A file, wherever a process is started; standard output stays that.
pub(crate) fn absolute(file: &Path) -> anyhow::Result<PathBuf> {
    if file == Path::new("-") {
        return Ok(file.to_owned());
    }
    path::absolute(file).with_context(|| format!("find {}", file.display()))
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Install a systemd service and let it start the cluster, now and whenever the machine starts
    ///
    /// Without it, a small keeper process starts the server again when it ends by itself.
    #[arg(long)]
    pub(crate) service: bool,
    /// Which options were given, by their names in [`ServerArgs`].
    #[arg(skip)]
    pub(crate) given: Vec<String>,
}

impl UpArgs {
    /// What the options that were given ask for otherwise than the command line of a server that runs, after the program's
    /// name: each as `--option VALUE, and not OTHER`.
    pub(crate) fn differences(&self, running: &[OsString]) -> Result<Vec<String>, clap::Error> {
        let words = std::iter::once(OsString::from("skiff")).chain(running.iter().cloned());
        let (Command::Server(running) | Command::Agent(running)) = Cli::try_parse_from(words)?.command else {
            return Ok(Vec::new());
        };
        let wanted = &self.server;
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let names = |names: &PluginNames| or_none(Some(names.to_string()).filter(|names| !names.is_empty()));
        let file = |file: &PathBuf| absolute(file).unwrap_or(file.clone()).display().to_string();
        let text = |args: &ServerArgs| {
            let admission = &args.admission;
            let mut text: Vec<(&str, String)> = vec![
                ("image_limit", args.layout.image_limit.to_string()),
                ("node_name", or_none(args.node_name.clone())),
                ("node_ip", or_none(args.node_ip.map(|ip| ip.to_string()))),
                ("api_port", args.api_port.to_string()),
                ("kubelet_port", args.kubelet_port.to_string()),
                ("eviction_hard", or_none(args.eviction_hard.map(|thresholds| thresholds.to_string()))),
                ("event_ttl", args.event_ttl.to_string()),
                ("enable_admission_plugins", names(&admission.enable_admission_plugins)),
                ("disable_admission_plugins", names(&admission.disable_admission_plugins)),
                (
                    "admission_control_config_file",
                    or_none(admission.admission_control_config_file.as_ref().map(file)),
                ),
                ("scheduler_config", or_none(args.scheduler.scheduler_config.as_ref().map(file))),
                ("audit_policy_file", or_none(args.audit.audit_policy_file.as_ref().map(file))),
                ("audit_log_path", or_none(args.audit.audit_log_path.as_ref().map(file))),
                ("audit_log_maxage", args.audit.audit_log_maxage.to_string()),
                ("audit_log_maxbackup", args.audit.audit_log_maxbackup.to_string()),
                ("audit_log_maxsize", args.audit.audit_log_maxsize.to_string()),
                (
                    "audit_webhook_config_file",
                    or_none(args.audit.audit_webhook_config_file.as_ref().map(file)),
                ),
                ("audit_webhook_batch_max_wait", args.audit.audit_webhook_batch_max_wait.to_string()),
                (
                    "encryption_provider_config",
                    or_none(args.encryption.encryption_provider_config.as_ref().map(file)),
                ),
                (
                    "encryption_provider_config_automatic_reload",
                    args.encryption.encryption_provider_config_automatic_reload.to_string(),
                ),
                ("context", args.context.clone()),
                ("enable_bootstrap_token_auth", args.access.enable_bootstrap_token_auth.to_string()),
            ];
            let shown = |value: Option<OsString>| or_none(value.map(|value| value.display().to_string()));
            let access = args.access.said().unwrap_or_default();
            text.extend(access.into_iter().map(|(name, value)| (name, shown(value))));
            text
        };
        let pairs = text(&running).into_iter().zip(text(wanted));
        let differ =
            pairs.filter(|((id, is), (_, asked))| is != asked && self.given.iter().any(|name| name == id));
        Ok(differ
            .map(|((id, is), (_, asked))| format!("--{} {asked}, and not {is}", id.replace('_', "-")))
            .collect())
    }
}

#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// Also delete all objects, images, keys and the kubeconfig context
    #[arg(long)]
    pub(crate) purge: bool,
    /// Name of the context that `--purge` removes from the kubeconfig
    #[arg(long, default_value = "skiff", value_name = "NAME")]
    pub(crate) context: String,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Archive of the image luksa/kubia; pulled from its registry when not given
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Leave the cluster running at the end and say how to reach it
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Load a docker or OCI archive (plain or gzipped)
    ///
    /// A loaded image is the answer for its names, whatever the pull policy, until it is removed.
    Load {
        /// Archives; `-` reads standard input
        #[arg(required = true, value_name = "FILE")]
        archives: Vec<PathBuf>,
    },
    /// Pull an image from its registry
    Pull {
        /// E.g. luksa/kubia or registry.example:5000/app:v1
        reference: String,
    },
    /// List the images of this machine
    #[command(alias = "ls")]
    List,
    /// Remove a name, and the image when it was its last name
    #[command(alias = "rm")]
    Remove {
        /// E.g. luksa/kubia
        #[arg(required = true)]
        references: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    #[command(subcommand)]
    pub(crate) command: RotateCommand,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum RotateCommand {
    /// Sign tokens of ServiceAccounts with a new key from now on
    ///
    /// Tokens that earlier keys have signed are believed until they end, and both are in the key set that others verify tokens by.
    /// Pods get newer tokens in time; those in Secrets have no end.
    ServiceAccountKey {
        /// Believe no token that an earlier key has signed, not even those of pods that run
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    /// DNS zone of the cluster
    #[arg(long, default_value = "cluster.local")]
    pub(crate) zone: String,
    /// Port to serve on, UDP and TCP
    #[arg(long, default_value_t = 53)]
    pub(crate) port: u16,
    /// File that names the resolvers for all other names
    #[arg(long, default_value = "/etc/resolv.conf")]
    pub(crate) upstream: PathBuf,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_admission_reaches_the_server() {
        let words = ["skiff", "up", "--admission-control-config-file", "a.yaml"];
        let words = words.into_iter().chain(["--disable-admission-plugins", "Priority,LimitRanger"]);
        let Command::Up(args) = Cli::of(&Cli::command().get_matches_from(words)).unwrap().command else {
            panic!("not up")
        };
        let here = path::absolute("a.yaml").unwrap();
        let words = args.server.admission.words().unwrap();
        let expected: [OsString; 4] = [
            "--disable-admission-plugins".into(),
            "LimitRanger,Priority".into(),
            "--admission-control-config-file".into(),
            here.into(),
        ];
        assert_eq!(words, expected);
        let error = args.server.admission.plugins().unwrap_err();
        assert_eq!(error.to_string(), "cannot read the admission control configuration a.yaml");
    }

    #[test]
    fn what_is_asked_of_auditing_reaches_the_server() {
        let words = "skiff up --audit-policy-file p.yaml --audit-log-path - --audit-log-maxsize 5";
        let Command::Up(args) = Cli::of(&Cli::command().get_matches_from(words.split(' '))).unwrap().command
        else {
            panic!("not up")
        };
        let here = path::absolute("p.yaml").unwrap();
        let expected: [OsString; 6] = [
            "--audit-policy-file".into(),
            here.into(),
            "--audit-log-path".into(),
            "-".into(),
            "--audit-log-maxsize".into(),
            "5".into(),
        ];
        assert_eq!(args.server.audit.words().unwrap(), expected);
        assert_eq!(args.server.audit.read().unwrap_err().to_string(), "cannot read the audit policy p.yaml");
    }

    #[test]
    fn what_is_asked_of_encryption_reaches_the_server() {
        let words =
            "skiff up --encryption-provider-config e.yaml --encryption-provider-config-automatic-reload";
        let Command::Up(args) = Cli::of(&Cli::command().get_matches_from(words.split(' '))).unwrap().command
        else {
            panic!("not up")
        };
        let here = path::absolute("e.yaml").unwrap();
        let expected: [OsString; 3] = [
            "--encryption-provider-config".into(),
            here.into(),
            "--encryption-provider-config-automatic-reload".into(),
        ];
        assert_eq!(args.server.encryption.words().unwrap(), expected);
        let error = args.server.encryption.read().unwrap_err().to_string();
        assert_eq!(error, "error opening encryption provider configuration file \"e.yaml\"");
    }

    #[test]
    fn options_that_a_running_server_does_not_have_are_told() {
        let check = |asked: &str, running: &str, expected: &[&str]| {
            let words = asked.split_whitespace();
            let cli =
                Cli::of(&Cli::command().get_matches_from(["skiff", "up"].into_iter().chain(words))).unwrap();
            let Command::Up(args) = cli.command else { panic!("not up: {:?}", cli.command) };
            let running: Vec<OsString> = running.split_whitespace().map(OsString::from).collect();
            assert_eq!(args.differences(&running).unwrap(), expected, "{asked}");
        };
        let plain = "server --data-dir /d --run-dir /r --detached";
        check("", plain, &[]);
        check("--data-dir /other --service", plain, &[]);
        check("--api-port 6443 --context skiff", plain, &[]);
        check("--api-port 7000", plain, &["--api-port 7000, and not 6443"]);
        check("--event-ttl 1h", plain, &[]);
        check("--event-ttl 2m", plain, &["--event-ttl 120s, and not 3600s"]);
        check("--node-name a", plain, &["--node-name a, and not none"]);
        let plugin = "--enable-admission-plugins DenyServiceExternalIPs";
        check(plugin, plain, &[&format!("{plugin}, and not none")]);
        check(plugin, &format!("{plain} {plugin}"), &[]);
        let off = "--disable-admission-plugins Priority";
        check(off, plain, &[&format!("{off}, and not none")]);
        let file = "--admission-control-config-file /a.yaml";
        check(file, plain, &[&format!("{file}, and not none")]);
        check(file, &format!("{plain} {file}"), &[]);
        let file = "--scheduler-config /s.yaml";
        check(file, plain, &[&format!("{file}, and not none")]);
        check(file, &format!("{plain} {file}"), &[]);
        let other =
            "server --api-port 7000 --node-name a --node-ip 192.0.2.1 --eviction-hard nodefs.available<5%";
        check("", other, &[]);
        check("--api-port 7000 --node-name a --node-ip 192.0.2.1", other, &[]);
        check("--eviction-hard nodefs.available<5%", other, &[]);
        check(
            "--api-port 6443 --eviction-hard nodefs.available<1Gi --image-limit entries=5",
            other,
            &[
                &format!(
                    "--image-limit {}, and not {}",
                    "entries=5".parse::<ImageLimits>().unwrap(),
                    ImageLimits::default()
                ),
                "--api-port 6443, and not 7000",
                "--eviction-hard nodefs.available<1073741824, and not nodefs.available<5%",
            ],
        );
    }
}
