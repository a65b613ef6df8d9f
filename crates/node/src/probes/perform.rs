//! Carries out one [`Action`] and says how it went.

use super::action::{Action, host_port};
use super::{grpc, http};
use skiff_ports::TargetPort;
use skiff_runtime::{ContainerId, PodHandle, RuntimeError};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Most bytes of a command's output or of an HTTP answer that are kept for messages.
pub(crate) const OUTPUT_LIMIT: usize = 10 * 1024;

/// How an action went; the texts are for the user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Success,
    /// A success that deserves a look.
    Warning(String),
    Failure(String),
    /// It could not be carried out.
    Error(String),
}

impl Outcome {
    /// Whether a probe counts it as passed.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Success | Self::Warning(_))
    }
}

/// The container an action is about.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) handle: PodHandle,
    pub(crate) container: ContainerId,
}

/// How much time an action gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// For all of it.
    pub(crate) limit: Duration,
    /// As long as this, a refused connection is tried again.
    pub(crate) patience: Duration,
}

impl Effort {
    /// A refused connection is the answer.
    pub(crate) fn at_once(limit: Duration) -> Self {
        Self { limit, patience: Duration::ZERO }
    }

    /// For a container that has just started, which listens in a moment. The limit is not reached by waiting, so that
    /// the message of a failure stays that of the refusal.
    pub(crate) fn patient(limit: Duration) -> Self {
        Self { limit, patience: limit / 2 }
    }
}

/// The pause before a refused connection is tried again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Connects to `address`. A refused connection is tried again for `patience`: the kernel tells nobody outside a pod
/// that a program in it begins to listen.
pub(crate) async fn connect(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match TcpStream::connect(address).await {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() + pause <= end =>
            {
                sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
}

/// Does `action`.
pub(crate) async fn perform(action: &Action, target: &Target, effort: Effort) -> Outcome {
    let Effort { limit, patience } = effort;
    match action {
        Action::Exec(command) => exec(command, target, limit).await,
        Action::Http(request) => match timeout(limit, http::get(request, patience)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failure(format!(
                "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                request.url()
            )),
        },
        Action::Tcp { host, port } => tcp(host, *port, effort).await,
        Action::Grpc { host, port, service } => {
            let address = host_port(host, *port);
            match timeout(limit, grpc::check(&address, service, patience)).await {
                Ok(outcome) => outcome,
                Err(_) => Outcome::Failure(format!(
                    "timeout: health rpc did not complete within {}",
                    crate::time::go_duration(limit)
                )),
            }
        }
        Action::Sleep(duration) => match timeout(limit, sleep(*duration)).await {
            Ok(()) => Outcome::Success,
            Err(_) => Outcome::Failure("sleep did not end within the grace period".into()),
        },
    }
}

async fn exec(command: &[String], target: &Target, limit: Duration) -> Outcome {
    let result = target.handle.exec_captured(&target.container, command.to_vec(), limit, OUTPUT_LIMIT).await;
    match result {
        Ok(captured) if captured.status.code == 0 => Outcome::Success,
        Ok(captured) => Outcome::Failure(String::from_utf8_lossy(&captured.output).into_owned()),
        Err(RuntimeError::Timeout { command, limit }) => Outcome::Failure(format!(
            "command timed out: {command:?} timed out after {}",
            crate::time::go_duration(limit)
        )),
        Err(error) => Outcome::Error(error.to_string()),
    }
}

async fn tcp(host: &str, port: TargetPort, effort: Effort) -> Outcome {
    let address = host_port(host, port);
    match timeout(effort.limit, connect(&address, effort.patience)).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error)) => Outcome::Failure(format!("dial tcp {address}: {}", connect_error(&error))),
        Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
    }
}

/// A failed connect in the words of other Kubernetes nodes.
pub(crate) fn connect_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn patience_is_for_those_who_listen_late() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let text = address.to_string();
        let refused = connect(&text, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let late = async {
            sleep(FIRST_PAUSE).await;
            tokio::net::TcpListener::bind(address).await.unwrap()
        };
        let (connected, _listener) = tokio::join!(connect(&text, Duration::from_secs(5)), late);
        connected.unwrap();
    }
}
