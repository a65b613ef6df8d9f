//! The command line, with kubectl's words.

use clap::{Args, Parser, Subcommand};

/// The kubectl verbs that people use most. Everything else: use kubectl, it works unchanged.
#[derive(Debug, Parser)]
#[command(name = "kubectl", bin_name = "kubectl", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Namespace to act in; that of the context when not given
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig; the current one when not given
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Path of the kubeconfig
    #[arg(long, global = true)]
    pub(crate) kubeconfig: Option<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show objects as a table, or whole
    Get(GetArgs),
    /// Show an object with its events
    Describe(SelectArgs),
    /// Create objects from a file, or `create namespace NAME`
    Create(CreateArgs),
    /// Create or change objects to be as in a file
    Apply(FileArgs),
    /// Delete objects
    Delete(DeleteArgs),
    /// Run a command in a container
    Exec(ExecArgs),
    /// Connect to the first process of a container
    Attach(AttachArgs),
    /// Print what a container has written
    Logs(LogsArgs),
    /// Set the number of replicas
    Scale(ScaleArgs),
    /// Make a pod from an image
    Run(RunArgs),
    /// Make a Service for an object's pods
    Expose(ExposeArgs),
    /// Set or remove labels
    Label(LabelArgs),
}

/// `TYPE[,TYPE…] [NAME…]` or `TYPE/NAME…`, narrowed by selectors.
#[derive(Debug, Args)]
pub(crate) struct SelectArgs {
    /// TYPE, TYPE NAME or TYPE/NAME
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    pub(crate) targets: Vec<String>,
    /// Label selector, e.g. app=kubia
    #[arg(short = 'l', long)]
    pub(crate) selector: Option<String>,
    /// Field selector, e.g. status.phase=Running
    #[arg(long)]
    pub(crate) field_selector: Option<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// wide, name, yaml or json
    #[arg(short, long)]
    pub(crate) output: Option<Format>,
    /// Then show changes as they happen
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Leave the header line out
    #[arg(long)]
    pub(crate) no_headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Wide,
    Name,
    Yaml,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// YAML or JSON file; `-` reads standard input
    #[arg(short, long = "filename", required = true)]
    pub(crate) filename: Vec<String>,
    /// Ask the server what would happen, change nothing
    #[arg(long, value_name = "server")]
    pub(crate) dry_run: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// YAML or JSON file; `-` reads standard input
    #[arg(short, long = "filename", required_unless_present = "what")]
    pub(crate) filename: Vec<String>,
    /// Ask the server what would happen, change nothing
    #[arg(long, value_name = "server")]
    pub(crate) dry_run: Option<String>,
    /// `namespace NAME`
    #[arg(value_name = "KIND NAME", num_args = 2, conflicts_with = "filename")]
    pub(crate) what: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// TYPE NAME, TYPE/NAME, or TYPE with -l or --all
    #[arg(value_name = "TYPE[/NAME]", required_unless_present = "filename")]
    pub(crate) targets: Vec<String>,
    /// Delete what a file describes
    #[arg(short, long = "filename", conflicts_with = "targets")]
    pub(crate) filename: Vec<String>,
    /// Label selector
    #[arg(short = 'l', long)]
    pub(crate) selector: Option<String>,
    /// All objects of the type in the namespace
    #[arg(long)]
    pub(crate) all: bool,
    /// Seconds that a pod gets to end by itself
    #[arg(long)]
    pub(crate) grace_period: Option<u32>,
    /// Remove at once, without waiting for the node (with --grace-period=0)
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not fail when an object is not there
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// The pod
    pub(crate) pod: String,
    /// Container; the first one when not given
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Pass standard input to the command
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The pod
    pub(crate) pod: String,
    /// Container; the first one when not given
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Pass standard input to the container
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,
    /// The container has a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The pod
    pub(crate) pod: String,
    /// Container; the only one when not given
    #[arg(short, long)]
    pub(crate) container: Option<String>,
    /// Go on as the container writes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of the container before its last restart
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// With the time of each line
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Only the last lines
    #[arg(long)]
    pub(crate) tail: Option<i64>,
    /// Only what was written in the last seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) since_seconds: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(required = true, value_name = "TYPE/NAME")]
    pub(crate) targets: Vec<String>,
    /// How many
    #[arg(long)]
    pub(crate) replicas: u32,
    /// Only if there are this many now
    #[arg(long)]
    pub(crate) current_replicas: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// TYPE NAME (or TYPE/NAME), then KEY=VALUE to set and KEY- to remove
    #[arg(required = true, num_args = 2.., value_name = "TYPE/NAME KEY=VALUE|KEY-")]
    pub(crate) words: Vec<String>,
    /// Allow other values for labels that are set
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Name of the pod
    pub(crate) name: String,
    /// Its image
    #[arg(long)]
    pub(crate) image: String,
    /// Always, OnFailure or Never
    #[arg(long, default_value = "Always")]
    pub(crate) restart: String,
    /// NAME=VALUE, repeatable
    #[arg(long)]
    pub(crate) env: Vec<String>,
    /// Port that the container serves
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// KEY=VALUE,…; run=NAME when not given
    #[arg(short = 'l', long)]
    pub(crate) labels: Option<String>,
    /// The words after `--` are the command instead of its arguments
    #[arg(long)]
    pub(crate) command: bool,
    /// Arguments
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExposeArgs {
    /// TYPE NAME or TYPE/NAME: a pod, a Service or something with a selector
    #[arg(required = true, value_name = "TYPE/NAME")]
    pub(crate) targets: Vec<String>,
    /// Port of the Service
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Port (or its name) in the pods; that of the Service when not given
    #[arg(long)]
    pub(crate) target_port: Option<String>,
    /// TCP, UDP or SCTP
    #[arg(long, default_value = "TCP")]
    pub(crate) protocol: String,
    /// Name of the Service; that of the object when not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// ClusterIP or NodePort
    #[arg(long = "type", default_value = "ClusterIP")]
    pub(crate) kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn two_dashes_end_the_flags() {
        let cli = Cli::try_parse_from(["kubectl", "exec", "p", "--", "curl", "-s", "x"]);
        let Ok(Cli { verb: Verb::Exec(args), .. }) = cli else { panic!("got {cli:?}") };
        assert_eq!(args.command, ["curl", "-s", "x"]);
        assert!(Cli::try_parse_from(["kubectl", "exec", "p", "curl", "-s"]).is_err());
    }
}
