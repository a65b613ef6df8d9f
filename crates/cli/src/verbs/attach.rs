//! `attach`, and the streams of a remote process on the user's own.

use futures::SinkExt;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use serde_json::Value;
use skiff_print::OutputError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::signal::unix::{SignalKind, signal};

use super::target;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Command, Flag, Given};
use crate::terminal::{Raw, size};

pub(super) const CONTAINER: Flag = Flag::text(
    "container",
    "Container; that of the annotation kubectl.kubernetes.io/default-container, or the first",
)
.short('c');
pub(super) const STDIN: Flag = Flag::switch("stdin", "Pass standard input on").short('i');
pub(super) const TTY: Flag = Flag::switch("tty", "With a terminal").short('t');
pub(super) const QUIET: Flag = Flag::switch("quiet", "Print only what comes from the other side").short('q');

pub(crate) const COMMAND: Command =
    Command::new("attach", "(POD | TYPE/NAME) -c CONTAINER", "Connect to the first process of a container")
        .examples("# See what it writes, and type to it\nkubectl attach -it kubia-2q7v7")
        .flags(&[&[CONTAINER, STDIN, TTY, QUIET]])
        .run(|cx, given| Box::pin(run(cx, given)));

/// Which streams are connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) stdin: bool,
    pub(super) tty: bool,
    /// Whether nothing is said of the connection.
    pub(super) quiet: bool,
}

async fn run(cx: &Context, given: &Given) -> Result<Outcome, Error> {
    let word = match given.words.as_slice() {
        [] => return Err(given.misuse("at least 1 argument is required for attach")),
        [word] => word.clone(),
        [kind, name] => format!("{kind}/{name}"),
        words => {
            return Err(given.misuse(format_args!(
                "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]",
                words.len(),
                words.join(" ")
            )));
        }
    };
    let pod = target::pod(cx, &word).await?;
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        return Err(Error::Usage(format!(
            "cannot attach a container in a completed pod; current phase is {phase}"
        )));
    }
    let streams = Streams { stdin: given.is_on(&STDIN), tty: given.is_on(&TTY), quiet: given.is_on(&QUIET) };
    let container = target::container(&pod, given.some(&CONTAINER), streams.quiet)?;
    let tty = streams.tty && has_terminal(&pod, &container, streams.quiet);
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    connect(cx, name, Some(container), Streams { tty, ..streams }).await
}

/// Whether the container has a terminal; it is said when it has none.
fn has_terminal(pod: &Value, container: &str, quiet: bool) -> bool {
    let mut containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let has = containers.any(|each| each["name"] == container && each["tty"] == true);
    if !has && !quiet {
        skiff_print::note(format_args!(
            "error: Unable to use a TTY - container {container} did not allocate one"
        ));
    }
    has
}

/// Connects to the first process of a pod's container.
pub(super) async fn connect(
    cx: &Context,
    pod: &str,
    container: Option<String>,
    streams: Streams,
) -> Result<Outcome, Error> {
    let params = parameters(streams.stdin, streams.tty, container);
    if !streams.quiet {
        skiff_print::note("If you don't see a command prompt, try pressing enter.");
    }
    let process = pods(cx).await?.attach(pod, &params).await;
    follow(process.map_err(Error::from)?, streams.stdin && streams.tty).await
}

pub(super) async fn pods(cx: &Context) -> Result<kube::Api<Pod>, Error> {
    let api = cx.api().await?;
    Ok(kube::Api::namespaced(api.client.clone(), &api.namespace))
}

pub(super) fn parameters(stdin: bool, tty: bool, container: Option<String>) -> AttachParams {
    // With a terminal, standard error is part of the one stream that it shows.
    AttachParams { stdin, stdout: true, stderr: !tty, tty, container, ..AttachParams::default() }
}

/// Connects the streams and waits for the end of the process.
pub(super) async fn follow(mut process: AttachedProcess, terminal: bool) -> Result<Outcome, Error> {
    let raw = if terminal { Raw::enter() } else { None };
    let resizing =
        process.terminal_size().filter(|_| raw.is_some()).map(|sender| tokio::spawn(follow_size(sender)));
    let typing = process.stdin().map(|remote| tokio::spawn(send_stdin(remote)));
    let output = process.stdout().map(|remote| tokio::spawn(show(remote)));
    let errors = process.stderr().map(|remote| tokio::spawn(forward(remote, tokio::io::stderr())));
    let status = process.take_status();
    if let Some(output) = output {
        output.await.map_err(std::io::Error::other)??;
    }
    if let Some(errors) = errors {
        errors.await.map_err(std::io::Error::other)??;
    }
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    for task in [typing, resizing].into_iter().flatten() {
        task.abort();
    }
    drop(raw);
    outcome(status)
}

/// Copies what the process prints to standard output.
async fn show(mut from: impl AsyncRead + Unpin) -> Result<(), Error> {
    let (mut to, mut chunk) = (tokio::io::stdout(), vec![0; 16 * 1024]);
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..length]).await.map_err(OutputError::from)?;
        to.flush().await.map_err(OutputError::from)?;
    }
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.flush().await
}

/// Sends what is typed until its end, then closes the remote side.
async fn send_stdin(mut remote: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    copy(&mut tokio::io::stdin(), &mut remote).await?;
    remote.shutdown().await
}

/// Sends the window's size now and whenever it changes.
async fn follow_size(mut remote: mpsc::Sender<TerminalSize>) -> std::io::Result<()> {
    let mut changes = signal(SignalKind::window_change())?;
    loop {
        if let Some(size) = size()
            && remote.send(size).await.is_err()
        {
            return Ok(());
        }
        changes.recv().await;
    }
}

fn outcome(status: Option<Status>) -> Result<Outcome, Error> {
    let Some(status) = status else {
        return Err(Error::Connection("the connection ended before the command did".to_owned()));
    };
    if status.reason.as_deref() == Some("NonZeroExitCode") {
        let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
        let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
        let code: u8 = code.and_then(|cause| cause.message.as_deref()?.parse().ok()).unwrap_or(1);
        skiff_print::note(format_args!("command terminated with exit code {code}"));
        return Ok(Outcome::Exited(code));
    }
    match status.status.as_deref() {
        Some("Failure") => Err(Error::Usage(status.message.unwrap_or_default())),
        _ => Ok(Outcome::Done),
    }
}
