//! Carries out one [`Action`] and says how it went.

use super::action::{Action, host_port};
use super::{grpc, http};
use skiff_runtime::{ContainerId, PodHandle, RuntimeError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes of a command's output or of an HTTP answer that are kept for messages.
pub(crate) const OUTPUT_LIMIT: usize = 10 * 1024;

/// How an action went; the texts are for the user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Success,
    Failure(String),
    /// It could not be carried out.
    Error(String),
}

/// The container an action is about.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) handle: PodHandle,
    pub(crate) container: ContainerId,
}

/// Does `action`, for at most `limit`.
pub(crate) async fn perform(action: &Action, target: &Target, limit: Duration) -> Outcome {
    match action {
        Action::Exec(command) => exec(command, target, limit).await,
        Action::Http(request) => match timeout(limit, http::get(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failure(format!(
                "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                request.url()
            )),
        },
        Action::Tcp { host, port } => tcp(host, *port, limit).await,
        Action::Grpc { host, port, service } => {
            let address = host_port(host, *port);
            match timeout(limit, grpc::check(&address, service)).await {
                Ok(outcome) => outcome,
                Err(_) => Outcome::Failure(format!(
                    "timeout: health rpc did not complete within {}",
                    crate::time::go_duration(limit)
                )),
            }
        }
        Action::Sleep(duration) => match timeout(limit, tokio::time::sleep(*duration)).await {
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

async fn tcp(host: &str, port: u16, limit: Duration) -> Outcome {
    let address = host_port(host, port);
    match timeout(limit, TcpStream::connect(&address)).await {
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
