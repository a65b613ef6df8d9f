//! `exec` and `attach`: the streams of a remote process on the user's own.

use futures::SinkExt;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess, TerminalSize};
use skiff_print::OutputError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::Api;
use crate::args::{AttachArgs, ExecArgs};
use crate::error::{Error, Outcome};
use crate::terminal::{Raw, size};

pub(crate) async fn run(api: &Api, args: &ExecArgs) -> Result<Outcome, Error> {
    let params = parameters(args.stdin, args.tty, args.container.clone());
    let process = pods(api).exec(pod_name(&args.pod), &args.command, &params).await?;
    follow(process, args.stdin && args.tty).await
}

pub(crate) async fn attach(api: &Api, args: &AttachArgs) -> Result<Outcome, Error> {
    let params = parameters(args.stdin, args.tty, args.container.clone());
    skiff_print::note("If you don't see a command prompt, try pressing enter.");
    let process = pods(api).attach(pod_name(&args.pod), &params).await?;
    follow(process, args.stdin && args.tty).await
}

fn pods(api: &Api) -> kube::Api<Pod> {
    kube::Api::namespaced(api.client.clone(), &api.namespace)
}

fn pod_name(word: &str) -> &str {
    word.strip_prefix("pod/").or_else(|| word.strip_prefix("pods/")).unwrap_or(word)
}

fn parameters(stdin: bool, tty: bool, container: Option<String>) -> AttachParams {
    // With a terminal, standard error is part of the one stream that it shows.
    AttachParams { stdin, stdout: true, stderr: !tty, tty, container, ..AttachParams::default() }
}

/// Connects the streams and waits for the end of the process.
async fn follow(mut process: AttachedProcess, terminal: bool) -> Result<Outcome, Error> {
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
