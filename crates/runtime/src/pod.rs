//! The agent's handle on one pod: requests to its supervisor and the state it reports.

use crate::client::Connection;
use crate::error::RuntimeError;
use crate::ids::{ContainerId, PodUid};
use crate::runtime::{self, Shared};
use crate::session::{
    self, AttachSession, Captured, ExecProcess, ExecSession, SessionInput, SessionOutput, Terminal,
};
use crate::spec::{AttachSpec, ContainerSpec, ExecSpec, PodSandbox};
use crate::state::{ContainerStatus, PodState, PodStats};
use crate::wire::{Failure, Reply, Request, Stage, StartRequest, SupervisorConfig};
use futures::Stream;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A pod under supervision. Clones share one connection; dropping the last leaves the pod running.
#[derive(Clone, Debug)]
pub struct PodHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SupervisorConfig,
    shared: Arc<Shared>,
    pod_dir: PathBuf,
    netns: PathBuf,
    state: watch::Receiver<PodState>,
    stopping: Arc<AtomicBool>,
    terminals: Terminals,
    watcher: AbortHandle,
}

/// Masters of the containers' terminals: kept so that a terminal does not hang up when the supervisor dies.
type Terminals = Arc<parking_lot::Mutex<HashMap<ContainerId, OwnedFd>>>;

impl Drop for Inner {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl PodHandle {
    /// Connects to a supervisor that serves; a later death of it is answered with a successor.
    pub(crate) async fn connect(shared: Arc<Shared>, config: SupervisorConfig) -> Result<Self, RuntimeError> {
        let paths = shared.pod_paths(&config.sandbox.uid);
        let uid = config.sandbox.uid.clone();
        let gone = |source| RuntimeError::SupervisorGone { pod: uid.clone(), source };
        let first = async { subscribe(Connection::open(&paths.dir).await?).await };
        let (connection, first) = first.await.map_err(gone)?;
        let (sender, state) = watch::channel(first);
        let stopping = Arc::new(AtomicBool::new(false));
        let terminals = Terminals::default();
        // Taken out first: the state's lock must not be held while waiting.
        let with_terminal =
            state.borrow().containers.iter().filter(|c| c.tty).map(|c| c.id.clone()).collect::<Vec<_>>();
        for id in &with_terminal {
            keep_terminal(&paths.dir, id, &terminals).await;
        }
        let pod = Followed {
            shared: shared.clone(),
            uid,
            terminals: terminals.clone(),
            stopping: stopping.clone(),
        };
        let watcher = tokio::spawn(follow(pod, connection, sender)).abort_handle();
        let netns = if config.sandbox.host_network { PathBuf::from("/proc/1/ns/net") } else { paths.netns };
        let inner = Inner { config, shared, pod_dir: paths.dir, netns, state, stopping, terminals, watcher };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Identity of the pod.
    pub fn uid(&self) -> &PodUid {
        &self.inner.config.sandbox.uid
    }

    /// What the pod was started as.
    pub fn sandbox(&self) -> &PodSandbox {
        &self.inner.config.sandbox
    }

    /// The pod's network namespace as a file (`/proc/1/ns/net` with host network).
    pub fn netns_path(&self) -> &Path {
        &self.inner.netns
    }

    /// Makes and starts one container; returns once its program runs.
    pub async fn start_container(&self, spec: ContainerSpec) -> Result<ContainerId, RuntimeError> {
        let images = self.inner.shared.images();
        let _in_use = images.hold().await;
        let rootfs = images.rootfs(&spec.image).await?;
        let start = || StartRequest { id: ContainerId::random(), spec: spec.clone(), rootfs: rootfs.clone() };
        match self.start(start()).await {
            // What happened to the supervisor is no fault of the container's: its successor is asked, once.
            Err(RuntimeError::SupervisorGone { .. } | RuntimeError::NoAnswer { .. }) => {
                self.start(start()).await
            }
            result => result,
        }
    }

    async fn start(&self, request: StartRequest) -> Result<ContainerId, RuntimeError> {
        let (pod, id, name) = (self.uid().clone(), request.id.clone(), request.spec.name.clone());
        let (reply, fds) = match self.exchange(&Request::Start(Box::new(request))).await {
            Ok(answer) => answer,
            Err(gone) => return self.interrupted(id, gone).await,
        };
        self.inner.terminals.lock().extend(fds.into_iter().map(|master| (id.clone(), master)));
        match reply {
            Reply::Failed(Failure { stage: Stage::Start, reason }) => {
                self.discard_data(&id).await?;
                Err(RuntimeError::Start { pod, container: name, reason })
            }
            Reply::Failed(Failure { reason, .. }) => {
                self.discard_data(&id).await?;
                Err(RuntimeError::Create { pod, container: name, reason })
            }
            _ => Ok(id),
        }
    }

    /// What became of a container whose start was not answered: it runs, or nothing is left of it.
    async fn interrupted(&self, id: ContainerId, gone: RuntimeError) -> Result<ContainerId, RuntimeError> {
        if let Ok((Reply::State(state), _)) = self.exchange(&Request::Watch).await
            && state.container(&id).is_some_and(|c| c.status != ContainerStatus::Created)
        {
            return Ok(id);
        }
        self.discard_data(&id).await?;
        Err(gone)
    }

    /// Sends a signal (by name, `SIGTERM` or `TERM`, or number) to the container's first process. `SIGKILL` ends every
    /// process of the container. Ended containers are a success. A supervisor that does not answer is replaced: nothing that
    /// happens to it keeps a container running.
    pub async fn signal(&self, container: &ContainerId, signal: &str) -> Result<(), RuntimeError> {
        let request = Request::Signal { id: container.clone(), signal: parse_signal(signal)? };
        let reply = self.insist(|| self.ask(&request)).await?;
        self.done(reply, container)
    }

    /// Asks the container to stop with `signal`, kills it after `grace`, and returns when it has ended.
    pub async fn stop_container(
        &self,
        container: &ContainerId,
        signal: &str,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        if !grace.is_zero() {
            self.signal(container, signal).await?;
            if tokio::time::timeout(grace, self.ended(container)).await.is_ok() {
                return Ok(());
            }
        }
        self.signal(container, "SIGKILL").await?;
        self.ended(container).await;
        Ok(())
    }

    /// Waits until the container has ended, was removed, or is lost with its pod. A supervisor's death is not the
    /// container's.
    async fn ended(&self, container: &ContainerId) {
        let mut state = self.inner.state.clone();
        let over = |state: &PodState| {
            let status = state.container(container).map(|c| &c.status);
            matches!(status, None | Some(ContainerStatus::Exited { .. }))
        };
        // The sender goes away when nobody follows the pod any more.
        let _closed = state.wait_for(over).await;
    }

    /// Kills the container if need be and removes what is left of it, except its log.
    pub async fn remove_container(&self, container: &ContainerId) -> Result<(), RuntimeError> {
        let request = Request::Remove { id: container.clone() };
        let reply = self.insist(|| self.ask(&request)).await?;
        self.done(reply, container)?;
        self.discard_data(container).await
    }

    /// Runs a command inside a container. Dropping the session kills the command. It is not run again when the supervisor
    /// does not answer, because it may have begun: that is [`RuntimeError::NoAnswer`].
    pub async fn exec(&self, container: &ContainerId, spec: ExecSpec) -> Result<ExecSession, RuntimeError> {
        let gone = |source| self.gone(source);
        let tty = spec.tty;
        let with_stdin = spec.stdin && !tty;
        let pipe = |wanted: bool| wanted.then(io::pipe).transpose().map_err(gone);
        let (stdin, stdout, stderr) = (pipe(with_stdin)?, pipe(!tty)?, pipe(!tty)?);
        let wants_stdin = spec.stdin;
        let request = Request::Exec { id: container.clone(), spec };
        let theirs = [
            stdin.as_ref().map(|p| p.0.as_fd()),
            stdout.as_ref().map(|p| p.1.as_fd()),
            stderr.as_ref().map(|p| p.1.as_fd()),
        ];
        let theirs: Vec<_> = theirs.into_iter().flatten().collect();
        let (connection, reply, mut fds) = self.begin(&request, &theirs).await?;
        drop(theirs);
        if let Reply::Failed(failure) = reply {
            return Err(self.exec_refused(container, failure));
        }
        let process = ExecProcess { pod: self.uid().clone(), connection, status: None };
        let open = || -> io::Result<ExecSession> {
            if let Some(master) = fds.pop() {
                return terminal_session(master, wants_stdin, process);
            }
            Ok(ExecSession {
                stdin: stdin.map(|p| SessionInput::new(p.1.into())).transpose()?,
                stdout: stdout.map(|p| SessionOutput::new(p.0.into())).transpose()?,
                stderr: stderr.map(|p| SessionOutput::new(p.0.into())).transpose()?,
                terminal: None,
                process,
            })
        };
        open().map_err(gone)
    }

    /// Runs a command to its end, without input, and keeps the first `output_limit` bytes of its output (both streams).
    /// After `timeout` it is killed.
    pub async fn exec_captured(
        &self,
        container: &ContainerId,
        args: Vec<String>,
        timeout: Duration,
        output_limit: usize,
    ) -> Result<Captured, RuntimeError> {
        let command = args.join(" ");
        let run = async {
            let session = self.exec(container, ExecSpec { args, ..ExecSpec::default() }).await?;
            session::capture(session, output_limit).await
        };
        match tokio::time::timeout(timeout, run).await {
            Ok(result) => result,
            Err(_elapsed) => Err(RuntimeError::Timeout { command, limit: timeout }),
        }
    }

    /// Connects to the streams of a running container. Dropping the session leaves the container alone.
    pub async fn attach(
        &self,
        container: &ContainerId,
        spec: AttachSpec,
    ) -> Result<AttachSession, RuntimeError> {
        let gone = |source| self.gone(source);
        let request = Request::Attach { id: container.clone(), spec };
        let (connection, reply, fds) = self.insist(|| self.begin(&request, &[])).await?;
        let Reply::Attached { tty, stdin, stdout, stderr } = reply else {
            let Reply::Failed(failure) = reply else { return Err(gone(io::ErrorKind::InvalidData.into())) };
            return Err(self.refused(container, failure));
        };
        let open = || -> io::Result<AttachSession> {
            let mut fds = fds.into_iter();
            let mut next = |wanted: bool| -> io::Result<Option<OwnedFd>> {
                wanted.then(|| fds.next().ok_or(io::ErrorKind::UnexpectedEof.into())).transpose()
            };
            let terminal = next(tty)?;
            let input = match &terminal {
                Some(master) if stdin => Some(master.try_clone()?),
                Some(_) => None,
                None => next(stdin)?,
            };
            Ok(AttachSession {
                stdin: input.map(SessionInput::new).transpose()?,
                stdout: next(stdout)?.map(SessionOutput::new).transpose()?,
                stderr: next(stderr)?.map(SessionOutput::new).transpose()?,
                terminal: terminal.map(Terminal::new),
                _connection: connection,
            })
        };
        open().map_err(gone)
    }

    /// The state now, asked of the supervisor or its successor; the last known one if there is none.
    pub async fn state(&self) -> PodState {
        let ask = || self.answered(async { subscribe(self.open().await?).await });
        match self.insist(ask).await {
            Ok((_, state)) => state,
            Err(_gone) => PodState { supervised: false, ..self.inner.state.borrow().clone() },
        }
    }

    /// Waits until no container is being started: the supervisor completes a start also when the agent that asked for
    /// it has died.
    pub async fn settled(&self) {
        let starts = |state: &PodState| state.containers.iter().any(|c| c.status == ContainerStatus::Created);
        let mut state = self.inner.state.clone();
        // The sender only goes away with this handle's last clone, or with the pod.
        let _closed = state.wait_for(|state| !state.supervised || !starts(state)).await;
    }

    /// The state now and after every change (the latest one if several happened in between). While the supervisor is
    /// gone, `supervised` is false. Ends when the pod was stopped or is lost.
    pub fn events(&self) -> impl Stream<Item = PodState> + Send + Unpin + use<> {
        let mut receiver = self.inner.state.clone();
        receiver.mark_changed();
        Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.changed().await.ok()?;
            let state = receiver.borrow_and_update().clone();
            Some((state, receiver))
        }))
    }

    /// Like [`PodHandle::events`], as a channel.
    pub fn watch(&self) -> watch::Receiver<PodState> {
        self.inner.state.clone()
    }

    /// Kills every container, ends the supervisor and removes everything of the pod from the kernel. Safe to repeat.
    pub async fn stop(self) -> Result<(), RuntimeError> {
        self.inner.stopping.store(true, Ordering::Release);
        runtime::remove_pod(&self.inner.shared, self.uid()).await
    }

    /// What the pod and its running containers use now. Reads files of the kernel, which may take milliseconds.
    pub fn stats(&self) -> Result<PodStats, RuntimeError> {
        let cgroups = self.inner.shared.cgroups()?;
        let pod = crate::supervisor::pod_groups(&self.inner.config).pod;
        let state = self.inner.state.borrow().clone();
        let running =
            state.containers.into_iter().filter(|c| matches!(c.status, ContainerStatus::Running { .. }));
        let containers = running.map(|c| (c.id.clone(), cgroups.usage(&format!("{pod}/{}", c.id)))).collect();
        let (usage, processes) = (cgroups.usage(&pod), cgroups.count_processes(&pod));
        Ok(PodStats { group: pod, pod: usage, processes, containers })
    }

    /// Sends one request and waits for its answer.
    async fn ask(&self, request: &Request) -> Result<Reply, RuntimeError> {
        self.exchange(request).await.map(|(reply, _)| reply)
    }

    async fn exchange(&self, request: &Request) -> Result<(Reply, Vec<OwnedFd>), RuntimeError> {
        self.answered(async { exchange(self.open().await?, request, &[]).await }).await
    }

    /// Sends one request and waits for its first answer, over a connection that others follow on.
    async fn begin(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Connection, Reply, Vec<OwnedFd>), RuntimeError> {
        let answer = async {
            let mut connection = self.open().await?;
            connection.send(request, fds).await?;
            let (reply, fds) = connection.receive().await?;
            Ok((connection, reply, fds))
        };
        self.answered(answer).await
    }

    /// Asks for what does no harm if it is done twice, until a supervisor answers.
    async fn insist<T, F>(&self, ask: impl Fn() -> F) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, RuntimeError>>,
    {
        for _ in 0..runtime::SUCCESSORS {
            match ask().await {
                Err(RuntimeError::NoAnswer { .. }) => {}
                // It died, or was ended by another who waited for it.
                Err(RuntimeError::SupervisorGone { .. }) if self.inner.pod_dir.exists() => {}
                outcome => return outcome,
            }
        }
        ask().await
    }

    /// The answer to a request, however long the work takes, as long as the supervisor lives. One that hangs is ended, and
    /// another takes its place: nothing that happens to it holds up a container or whoever asks.
    async fn answered<T>(&self, answer: impl Future<Output = io::Result<T>>) -> Result<T, RuntimeError> {
        tokio::select! {
            biased;
            outcome = answer => outcome.map_err(|source| self.gone(source)),
            () = self.hangs() => {
                tracing::warn!(pod = %self.uid(), "the supervisor does not answer; another takes its place");
                runtime::end_supervisor(&self.inner.shared, self.uid()).await?;
                Err(RuntimeError::NoAnswer { pod: self.uid().clone(), limit: runtime::ANSWER })
            }
        }
    }

    /// Ends when the supervisor does not even tell the state, which it has in memory. Nobody else tells of a process that
    /// hangs, so it is asked again and again.
    async fn hangs(&self) {
        let mut pause = AT_ONCE;
        loop {
            tokio::time::sleep(pause).await;
            let state = async { subscribe(Connection::open(&self.inner.pod_dir).await?).await };
            if tokio::time::timeout(runtime::ANSWER, state).await.is_err() {
                return;
            }
            pause = runtime::ANSWER;
        }
    }

    /// Connects to the supervisor or, when it has just died, to its successor.
    async fn open(&self) -> io::Result<Connection> {
        let mut state = self.inner.state.clone();
        state.mark_unchanged();
        let connect = async {
            loop {
                match Connection::open(&self.inner.pod_dir).await {
                    // Its death and its successor are changes of the state; that there will be none, an error.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        state.changed().await.map_err(|_| error)?;
                    }
                    result => return result,
                }
            }
        };
        tokio::time::timeout(SUCCESSION, connect).await?
    }

    fn gone(&self, source: io::Error) -> RuntimeError {
        RuntimeError::SupervisorGone { pod: self.uid().clone(), source }
    }

    fn done(&self, reply: Reply, container: &ContainerId) -> Result<(), RuntimeError> {
        match reply {
            Reply::Failed(failure) => Err(self.refused(container, failure)),
            _ => Ok(()),
        }
    }

    fn refused(&self, container: &ContainerId, failure: Failure) -> RuntimeError {
        let (pod, container) = (self.uid().clone(), container.clone());
        match failure.stage {
            Stage::Unknown => RuntimeError::NoContainer { pod, container },
            Stage::NotRunning => RuntimeError::NotRunning { container },
            Stage::Create | Stage::Start | Stage::Other => {
                RuntimeError::Refused { pod, reason: failure.reason }
            }
        }
    }

    fn exec_refused(&self, container: &ContainerId, failure: Failure) -> RuntimeError {
        match failure.stage {
            Stage::Create | Stage::Start => {
                RuntimeError::Exec { container: container.clone(), reason: failure.reason }
            }
            Stage::Unknown | Stage::NotRunning | Stage::Other => self.refused(container, failure),
        }
    }

    /// Removes a container's writable layer, which may take a while, off the supervisor's loop.
    async fn discard_data(&self, container: &ContainerId) -> Result<(), RuntimeError> {
        let paths = self.inner.shared.pod_paths(self.uid()).container(container);
        runtime::remove_directory(paths.data).await
    }
}

fn terminal_session(master: OwnedFd, stdin: bool, process: ExecProcess) -> io::Result<ExecSession> {
    let input = if stdin { Some(SessionInput::new(master.try_clone()?)?) } else { None };
    let output = SessionOutput::new(master.try_clone()?)?;
    let terminal = Some(Terminal::new(master));
    Ok(ExecSession { stdin: input, stdout: Some(output), stderr: None, terminal, process })
}

/// How long an answer may take before it is asked whether the supervisor hangs.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a supervisor's successor may take to serve.
const SUCCESSION: Duration = Duration::from_secs(5);

/// One request and its answer, over a connection of their own.
async fn exchange(
    mut connection: Connection,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> io::Result<(Reply, Vec<OwnedFd>)> {
    connection.send(request, fds).await?;
    connection.receive().await
}

/// Asks for a copy of a terminal's master. Without it the terminal lives as long as the supervisor.
async fn keep_terminal(pod_dir: &Path, id: &ContainerId, terminals: &Terminals) {
    let request = Request::Attach { id: id.clone(), spec: AttachSpec::default() };
    let answer = async { exchange(Connection::open(pod_dir).await?, &request, &[]).await };
    if let Ok((Reply::Attached { tty: true, .. }, mut fds)) = answer.await
        && let Some(master) = fds.pop()
    {
        terminals.lock().insert(id.clone(), master);
    }
}

/// Gives the terminals that were kept to a new supervisor.
async fn return_terminals(pod_dir: &Path, terminals: &Terminals) {
    let copies: Vec<_> =
        terminals.lock().iter().filter_map(|(id, fd)| Some((id.clone(), fd.try_clone().ok()?))).collect();
    for (id, master) in copies {
        let request = Request::Terminal { id: id.clone() };
        let returned =
            async { exchange(Connection::open(pod_dir).await?, &request, &[master.as_fd()]).await };
        if let Err(error) = returned.await {
            tracing::warn!(container = %id, %error, "its terminal is lost");
        }
    }
}

/// What the task that follows a pod's state needs.
struct Followed {
    shared: Arc<Shared>,
    uid: PodUid,
    terminals: Terminals,
    stopping: Arc<AtomicBool>,
}

/// Asks for the state and its changes.
async fn subscribe(mut connection: Connection) -> io::Result<(Connection, PodState)> {
    connection.send(&Request::Watch, &[]).await?;
    match connection.receive().await? {
        (Reply::State(state), _) => Ok((connection, state)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Keeps the state current; gives a dead supervisor a successor.
async fn follow(pod: Followed, mut connection: Connection, sender: watch::Sender<PodState>) {
    let Followed { shared, uid, terminals, stopping } = pod;
    let pod_dir = shared.pod_paths(&uid).dir;
    let runs = |state: &PodState, id: &ContainerId| {
        state.container(id).is_some_and(|c| !matches!(c.status, ContainerStatus::Exited { .. }))
    };
    loop {
        while let Ok((reply, _)) = connection.receive().await {
            if let Reply::State(state) = reply {
                terminals.lock().retain(|id, _| runs(&state, id));
                sender.send_replace(state);
            }
        }
        sender.send_modify(|state| state.supervised = false);
        if stopping.load(Ordering::Acquire) || !pod_dir.exists() {
            return;
        }
        tracing::warn!(pod = %uid, "supervisor died; starting its successor");
        match revive(&shared, &uid, &pod_dir).await {
            Ok((next, state)) => {
                return_terminals(&pod_dir, &terminals).await;
                connection = next;
                sender.send_replace(state);
            }
            Err(reason) => {
                tracing::error!(pod = %uid, reason, "no successor for the supervisor; the pod is lost");
                return;
            }
        }
    }
}

/// Starts a successor of a dead supervisor, and the next one when that dies before it is spoken to.
async fn revive(shared: &Shared, uid: &PodUid, pod_dir: &Path) -> Result<(Connection, PodState), String> {
    let mut reason = String::new();
    for _ in 0..runtime::SUCCESSORS {
        runtime::launch(shared, uid, true).await?;
        let state = async { subscribe(Connection::open(pod_dir).await?).await };
        match state.await {
            Ok(revived) => return Ok(revived),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// Understands `SIGTERM`, `TERM`, `15` and `SIGRTMIN+3`; empty means `SIGTERM`.
fn parse_signal(name: &str) -> Result<i32, RuntimeError> {
    /// First real-time signal programs see (glibc keeps two).
    const SIGRTMIN: i32 = 34;
    let unknown = || RuntimeError::UnknownSignal { name: name.into() };
    let upper = name.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if bare.is_empty() {
        return Ok(libc::SIGTERM);
    }
    if let Ok(number) = bare.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        let offset: i32 = if offset.is_empty() { 0 } else { offset.parse().map_err(|_| unknown())? };
        return if (0..=30).contains(&offset) { Ok(SIGRTMIN + offset) } else { Err(unknown()) };
    }
    let signal: nix::sys::signal::Signal = format!("SIG{bare}").parse().map_err(|_| unknown())?;
    Ok(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_spawned() {
        fn sendable<T: Send>(_: &T) {}
        fn check(runtime: &crate::Runtime, pod: &PodHandle, spec: ContainerSpec, id: &ContainerId) {
            sendable(&runtime.start_pod(pod.sandbox().clone()));
            sendable(&runtime.existing());
            sendable(&runtime.adopt(pod.uid()));
            sendable(&runtime.cleanup_all());
            sendable(&runtime.images().resolve("x", crate::PullPolicy::Always, &[]));
            sendable(&runtime.images().load(Path::new("x")));
            sendable(&runtime.images().remove("x"));
            sendable(&pod.start_container(spec));
            sendable(&pod.exec(id, ExecSpec::default()));
            sendable(&pod.exec_captured(id, Vec::new(), Duration::ZERO, 0));
            sendable(&pod.attach(id, AttachSpec::default()));
            sendable(&pod.remove_container(id));
            sendable(&pod.state());
            sendable(&pod.clone().stop());
        }
        // Compiling is the test.
        let _compiled: fn(&crate::Runtime, &PodHandle, ContainerSpec, &ContainerId) = check;
    }

    #[test]
    fn signals_have_names_and_numbers() {
        let number = |name: &str| parse_signal(name).ok();
        assert_eq!(number("SIGQUIT"), Some(3));
        assert_eq!(number("term"), Some(15));
        assert_eq!(number(""), Some(15));
        assert_eq!(number("9"), Some(9));
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("SIGNOPE"), None);
        assert_eq!(number("65"), None);
    }
}
