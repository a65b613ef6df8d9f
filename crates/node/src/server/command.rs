//! exec and attach: joins a client's streams with those of a process.

use super::Context;
use super::pods::find;
use super::respond::{Body, Refusal};
use super::routes::Query;
use crate::logs::query::is_true;
use http::{Request, Response};
use skiff_listener::RequestBody;
use skiff_runtime::{
    AttachSpec, ContainerId, ExecSpec, PodHandle, SessionInput, SessionOutput, Terminal,
    TerminalSize as RuntimeSize,
};
use skiff_streams::{
    Answer, CommandSession, CommandStreams, CommandUpgrade, Outcome, OutputWriter, StdinReader, TerminalSize,
    accept_command,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// After the command ended, output is still taken as long as it comes without a longer pause: a child that was left
/// behind may hold the stream open for ever.
const LAST_OUTPUT_PAUSE: Duration = Duration::from_millis(500);
/// How long the first size of a terminal is waited for before the command starts.
const FIRST_SIZE_WAIT: Duration = Duration::from_millis(200);
/// Bytes copied at once.
const BUFFER: usize = 32 * 1024;

/// The streams a query asks for; both the names of clients and the short ones of the kubelet are known.
fn streams(query: &Query) -> CommandStreams {
    let asked = |names: [&str; 2]| names.iter().any(|name| query.get(name).is_some_and(is_true));
    CommandStreams {
        stdin: asked(["stdin", "input"]),
        stdout: asked(["stdout", "output"]),
        stderr: asked(["stderr", "error"]),
        tty: query.get("tty").is_some_and(is_true),
    }
}

fn answer(answer: Answer) -> Response<Body> {
    answer.map(|body| {
        use http_body_util::BodyExt;
        body.map_err(|never| match never {}).boxed()
    })
}

/// Runs a command in a container.
pub(super) async fn exec(
    context: &Context,
    (namespace, name, container): (&str, &str, &str),
    query: &Query,
    mut request: Request<RequestBody>,
) -> Result<Response<Body>, Refusal> {
    let found = find(context, namespace, name, query).await?;
    let (handle, id) = found.running(container)?;
    let command = query.all("command");
    if command.is_empty() {
        return Err(Refusal::bad_request("you must specify a command to run"));
    }
    let want = streams(query);
    match accept_command(&mut request, want) {
        Ok((accepted, upgrade)) => {
            tokio::spawn(run_exec(handle, id, command, want, upgrade));
            Ok(answer(accepted))
        }
        Err(refused) => Ok(answer(refused)),
    }
}

/// Attaches to the streams of a container.
pub(super) async fn attach(
    context: &Context,
    (namespace, name, container): (&str, &str, &str),
    query: &Query,
    mut request: Request<RequestBody>,
) -> Result<Response<Body>, Refusal> {
    let found = find(context, namespace, name, query).await?;
    let (handle, id) = found.running(container)?;
    let spec = found.pod.containers.iter().find(|c| c.name.as_str() == container).map(|c| &c.spec);
    // Whether there is a terminal was decided when the container started.
    let tty = spec.is_some_and(|spec| spec.tty == Some(true));
    let want = CommandStreams { tty, ..streams(query) };
    // A container that has one client's input sees its end and may write on; else the client is through with it.
    let ends_with_input = tty || spec.is_some_and(|spec| spec.stdin_once != Some(true));
    match accept_command(&mut request, want) {
        Ok((accepted, upgrade)) => {
            tokio::spawn(run_attach(handle, id, want, ends_with_input, upgrade));
            Ok(answer(accepted))
        }
        Err(refused) => Ok(answer(refused)),
    }
}

async fn run_exec(
    handle: PodHandle,
    id: ContainerId,
    command: Vec<String>,
    want: CommandStreams,
    upgrade: CommandUpgrade,
) {
    let mut session = match upgrade.session().await {
        Ok(session) => session,
        Err(error) => return tracing::debug!(%error, container = %id, "an exec client did not connect"),
    };
    let size =
        if want.tty { timeout(FIRST_SIZE_WAIT, session.resize.recv()).await.ok().flatten() } else { None };
    let spec = ExecSpec {
        args: command,
        env: Vec::new(),
        tty: want.tty,
        stdin: want.stdin,
        size: size.map(runtime_size),
    };
    let exec = match handle.exec(&id, spec).await {
        Ok(exec) => exec,
        Err(error) => {
            let text = format!("error executing command in container: {error}");
            return finish(session, Outcome::Failed(text)).await;
        }
    };
    let mut process = exec.process;
    let ended = CancellationToken::new();
    let joined = join(session, exec.stdin, exec.stdout, exec.stderr, exec.terminal, ended.clone());
    let gone = joined.gone.clone();
    let status = tokio::select! {
        status = process.wait() => status,
        // Dropping the process kills it.
        () = gone.cancelled() => return,
    };
    ended.cancel();
    let outcome = match status {
        Ok(status) => Outcome::Exited(status.code),
        Err(error) => Outcome::Failed(format!("error executing command in container: {error}")),
    };
    joined.finish(outcome).await;
}

async fn run_attach(
    handle: PodHandle,
    id: ContainerId,
    want: CommandStreams,
    ends_with_input: bool,
    upgrade: CommandUpgrade,
) {
    let session = match upgrade.session().await {
        Ok(session) => session,
        Err(error) => return tracing::debug!(%error, container = %id, "an attach client did not connect"),
    };
    let spec = AttachSpec { stdin: want.stdin, stdout: want.stdout, stderr: want.stderr && !want.tty };
    let attached = match handle.attach(&id, spec).await {
        Ok(attached) => attached,
        Err(error) => {
            return finish(session, Outcome::Failed(format!("error attaching to container: {error}"))).await;
        }
    };
    let ended = CancellationToken::new();
    let mut joined =
        join(session, attached.stdin, attached.stdout, attached.stderr, attached.terminal, ended.clone());
    let (gone, input_ended) = (joined.gone.clone(), joined.input_ended.clone());
    let mut state = handle.watch();
    let over = state.wait_for(|state| {
        use skiff_runtime::ContainerStatus::Exited;
        state.container(&id).is_none_or(|container| matches!(container.status, Exited { .. }))
    });
    tokio::select! {
        // The pod's supervisor is gone with its handle.
        result = over => drop(result),
        () = gone.cancelled() => return,
        () = input_ended.cancelled(), if want.stdin && ends_with_input => {}
    }
    if input_ended.is_cancelled() && ends_with_input {
        joined.take_last_output().await;
    }
    ended.cancel();
    joined.finish(Outcome::Exited(0)).await;
}

/// Tells the client the outcome; one that is gone cannot be told.
async fn finish(session: CommandSession, outcome: Outcome) {
    let CommandSession { stdin, stdout, stderr, status, .. } = session;
    drop((stdin, stdout, stderr));
    if let Err(error) = status.finish(outcome).await {
        tracing::debug!(%error, "a client did not take the status of its command");
    }
}

fn runtime_size(size: TerminalSize) -> RuntimeSize {
    RuntimeSize { width: size.width, height: size.height }
}

/// A client and a process whose streams are being copied.
struct Joined {
    outputs: tokio::task::JoinSet<()>,
    input: tokio::task::JoinSet<()>,
    /// The client's input has been handed on to its end.
    input_ended: CancellationToken,
    status: skiff_streams::StatusSender,
    gone: CancellationToken,
}

impl Joined {
    /// Takes what still comes as an answer to the input, for a moment: the process goes on, and so may its output.
    async fn take_last_output(&mut self) {
        let all = async { while self.outputs.join_next().await.is_some() {} };
        if timeout(LAST_OUTPUT_PAUSE, all).await.is_err() {
            self.outputs.abort_all();
        }
    }

    /// Waits for the last output and tells the client the outcome.
    async fn finish(mut self, outcome: Outcome) {
        while self.outputs.join_next().await.is_some() {}
        self.input.abort_all();
        if let Err(error) = self.status.finish(outcome).await {
            tracing::debug!(%error, "a client did not take the status of its command");
        }
    }
}

/// Copies all streams; output ends soon after `ended`.
fn join(
    session: CommandSession,
    stdin: Option<SessionInput>,
    stdout: Option<SessionOutput>,
    stderr: Option<SessionOutput>,
    terminal: Option<Terminal>,
    ended: CancellationToken,
) -> Joined {
    let (mut outputs, mut input) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    let input_ended = CancellationToken::new();
    if let (Some(from), Some(to)) = (session.stdin, stdin) {
        let over = input_ended.clone();
        input.spawn(async move {
            copy_input(from, to).await;
            over.cancel();
        });
    }
    for (from, to) in [(stdout, session.stdout), (stderr, session.stderr)] {
        // Output that the client did not ask for is read all the same, or the command would stand still.
        if let Some(from) = from {
            outputs.spawn(copy_output(from, to, ended.clone()));
        }
    }
    if let Some(terminal) = terminal {
        input.spawn(copy_sizes(session.resize, terminal));
    }
    Joined { outputs, input, input_ended, status: session.status, gone: session.gone }
}

async fn copy_input(mut from: StdinReader, mut to: SessionInput) {
    // Either side may be gone at any time, which ends the copying.
    if let Err(error) = tokio::io::copy(&mut from, &mut to).await {
        tracing::trace!(%error, "input of a command ended");
    }
}

async fn copy_output(mut from: SessionOutput, mut to: Option<OutputWriter>, ended: CancellationToken) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer);
        let read = if ended.is_cancelled() {
            timeout(LAST_OUTPUT_PAUSE, read).await.unwrap_or(Ok(0))
        } else {
            tokio::select! {
                read = read => read,
                () = ended.cancelled() => continue,
            }
        };
        let Ok(read @ 1..) = read else { return };
        if let Some(writer) = &mut to
            && (writer.write_all(&buffer[..read]).await.is_err() || writer.flush().await.is_err())
        {
            to = None;
        }
    }
}

async fn copy_sizes(mut sizes: mpsc::Receiver<TerminalSize>, terminal: Terminal) {
    while let Some(size) = sizes.recv().await {
        if let Err(error) = terminal.resize(runtime_size(size)) {
            tracing::debug!(%error, "resizing a terminal");
        }
    }
}
