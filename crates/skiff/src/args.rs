//! The command line.

mod given;
pub(crate) mod said;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use skiff_apiserver::EventTtl;
use skiff_node::EvictionHard;
use skiff_runtime::ImageLimits;

pub(crate) use given::{AdmissionArgs, AuditArgs, EncryptionArgs};
use said::{Options, Said};

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

impl Options for ServerArgs {
    /// All but the directories, and what is said to this process alone.
    fn said(&self) -> Said {
        let name = self.node_name.as_ref();
        let own = Said::default()
            .text("image_limit", self.layout.image_limit, &ImageLimits::default().to_string())
            .text("context", &self.context, "skiff")
            .text("api_port", self.api_port, "6443")
            .text("kubelet_port", self.kubelet_port, "10250")
            .text("event_ttl", self.event_ttl, &EventTtl::default().to_string())
            .maybe("eviction_hard", self.eviction_hard)
            .maybe("node_name", name)
            .maybe("node_ip", self.node_ip);
        let parts: [&dyn Options; 5] =
            [&self.admission, &self.scheduler, &self.audit, &self.access, &self.encryption];
        parts.into_iter().fold(own, |all, part| all.and(part.said()))
    }
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

/// What a server found out when it was not given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) node_name: Option<String>,
    pub(crate) node_ip: Option<IpAddr>,
}

impl UpArgs {
    /// What the options that were given ask for otherwise than the command line of a server that runs, after the program's
    /// name, and what that server found out: each as `--option VALUE, and not OTHER`.
    pub(crate) fn differences(
        &self,
        running: &[OsString],
        found: &Found,
    ) -> Result<Vec<String>, clap::Error> {
        let words = std::iter::once(OsString::from("skiff")).chain(running.iter().cloned());
        let command = Cli::try_parse_from(words)?.command;
        let (Command::Server(mut running) | Command::Agent(mut running)) = command else {
            return Ok(Vec::new());
        };
        running.node_name = running.node_name.or_else(|| found.node_name.clone());
        running.node_ip = running.node_ip.or(found.node_ip);
        let (is, asked) = (running.said(), self.server.said());
        let pairs = is.pairs(&asked).filter(|(name, ..)| self.given.iter().any(|given| given == name));
        let differ = pairs.filter(|(_, is, asked)| is != asked);
        Ok(differ
            .map(|(name, is, asked)| format!("--{} {asked}, and not {is}", said::option(name)))
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
    fn options_that_a_running_server_does_not_have_are_told() {
        let check = |asked: &str, running: &str, expected: &[&str]| {
            let words = asked.split_whitespace();
            let cli =
                Cli::of(&Cli::command().get_matches_from(["skiff", "up"].into_iter().chain(words))).unwrap();
            let Command::Up(args) = cli.command else { panic!("not up: {:?}", cli.command) };
            let running: Vec<OsString> = running.split_whitespace().map(OsString::from).collect();
            let found = Found { node_name: Some("found".into()), node_ip: None };
            assert_eq!(args.differences(&running, &found).unwrap(), expected, "{asked}");
        };
        let plain = "server --data-dir /d --run-dir /r --detached";
        check("", plain, &[]);
        check("--data-dir /other --service", plain, &[]);
        check("--api-port 6443 --context skiff", plain, &[]);
        check("--api-port 7000", plain, &["--api-port 7000, and not 6443"]);
        check("--event-ttl 1h", plain, &[]);
        check("--event-ttl 2m", plain, &["--event-ttl 120s, and not 3600s"]);
        check("--node-name a", plain, &["--node-name a, and not found"]);
        check("--node-name found", plain, &[]);
        check("--node-name a", &format!("{plain} --node-name=a"), &[]);
        check("--node-ip 192.0.2.1", plain, &["--node-ip 192.0.2.1, and not none"]);
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
