//! Connections, and why there are none, in the words of Kubernetes.

use tokio::net::TcpStream;

/// A connection to the first address of a host that takes one; the error is that of the first.
pub(crate) async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let unknown = || format!("dial tcp: lookup {host}: no such host");
    let addresses = tokio::net::lookup_host((host, port)).await.map_err(|_| unknown())?;
    let mut first = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let why = system_error(&error);
                first.get_or_insert_with(|| format!("dial tcp {address}: connect: {why}"));
            }
        }
    }
    Err(first.unwrap_or_else(unknown))
}

/// An error of the system as messages of Kubernetes have it.
pub(super) fn system_error(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let text = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::HostUnreachable => "no route to host",
        ErrorKind::NetworkUnreachable => "network is unreachable",
        ErrorKind::TimedOut => "connection timed out",
        ErrorKind::ConnectionReset => "connection reset by peer",
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// Why an exchange over an open connection ended without an answer.
pub(crate) fn broken(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() { "EOF".to_owned() } else { error.to_string() }
}
