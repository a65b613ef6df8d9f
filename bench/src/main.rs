//! The promises of skiff, measured: `./dev bench`.
//!
//! Every number comes from a whole cluster in namespaces of its own on this machine. Where two things are compared,
//! both are measured in the same run, in turns, because machines are noisy.

mod against;
mod inside;
mod measure;
mod probe;
mod report;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use inside::creates::Created;
use inside::crowd::Crowd;

/// Measures what skiff promises and prints a table.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Only these measurements (start, idle, story, pods, creates, reads, watches, services, size, store,
    /// schedule)
    only: Vec<String>,
    /// Services to load for the measurements at scale
    #[arg(long, default_value_t = 10_000)]
    services: u32,
    /// Pods to load for the measurements of size
    #[arg(long, default_value_t = 20_000)]
    pods: u32,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Measures the API server and kube-apiserver with etcd, in turns, and prints a table
    Against {
        /// Where the programs kube-apiserver and etcd are
        #[arg(long)]
        kubernetes: PathBuf,
        /// Only these measurements (watches, creates, reads, watchers, custom, webhook)
        only: Vec<String>,
    },
    /// The part that runs on a cluster's host
    #[command(hide = true)]
    Inside {
        #[command(subcommand)]
        command: Inside,
    },
}

/// What this program does when it runs on a cluster's host; prints one JSON value.
#[derive(Debug, Subcommand)]
enum Inside {
    /// Wait until the API server answers and has the namespace `default`
    Ready,
    /// Create objects with many clients for some seconds
    Creates { clients: usize, seconds: u64, what: Created },
    /// Make the definition of the custom resources that `creates` creates
    Define,
    /// How long it takes from a write until so many watchers, of which some share each connection, have been told
    Watchers { watchers: usize, of_connection: usize, rounds: u32 },
    /// Serve a mutating webhook; how long a create takes with and without it, and the webhook alone, in turns
    Webhook { rounds: u32 },
    /// Create the ConfigMaps that `reads` reads
    Prepare,
    /// Read one object, and a page of 500, with many clients, as JSON and as protobuf, for some seconds each
    Reads { clients: usize, seconds: f64 },
    /// How long one client waits for a create, a read, and the disk, in turns
    Single { rounds: u32 },
    /// Open watches that match nothing, say so, and hold them until the input ends
    Watches { watches: usize, of_connection: usize },
    /// Create Services with five endpoints each, without pods
    Fill { services: u32 },
    /// Create pods that no node runs
    Load { pods: u32 },
    /// How long reads of them take
    Read,
    /// Delete them
    Clear,
    /// Time from an endpoint's creation to the first connection through the Service
    Changes { rounds: u32, target: String },
    /// Ask an HTTP server until it answers
    Answer { address: String },
    /// Connections and bytes per second to two addresses, in turns
    Compare { direct: String, service: String },
    /// Decide about pods for nodes that nobody runs, without an API
    Decide { nodes: u32, pods: u32, crowd: Crowd },
    /// Bind such pods through an API server in this process
    Bind { nodes: u32, pods: u32, crowd: Crowd },
    /// Serve connections for `compare` and `changes`
    Serve { ports: Vec<u16> },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.part {
        Some(Part::Inside { command }) => inside::run(command),
        Some(Part::Against { kubernetes, only }) => against::run(&kubernetes, &only),
        None => measure::run(&cli.only, cli.services, cli.pods),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skiff-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
