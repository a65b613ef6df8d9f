//! port-forward: connects a client with ports on a pod's loopback interface.

use super::Context;
use super::pods::find;
use super::respond::{Body, Refusal};
use super::routes::Query;
use http::{Request, Response};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use skiff_listener::RequestBody;
use skiff_ports::TargetPort;
use skiff_streams::{Forwarded, PortForwardUpgrade, accept_port_forward};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A pod's network: its namespace, or none for the node's own.
#[derive(Clone, Debug)]
struct PodNet {
    namespace: Option<PathBuf>,
    /// For messages.
    uid: String,
}

/// Forwards ports of a pod.
pub(super) async fn serve(
    context: &Context,
    (namespace, name): (&str, &str),
    query: &Query,
    mut request: Request<RequestBody>,
) -> Result<Response<Body>, Refusal> {
    let found = find(context, namespace, name, query).await?;
    let not_running = || Refusal::bad_request(format!("pod \"{name}\" is not running"));
    let handle = found.view.handle.as_ref().filter(|_| !found.view.ended).ok_or_else(not_running)?;
    let net = PodNet {
        namespace: (!found.pod.host_network()).then(|| handle.netns_path().to_owned()),
        uid: found.pod.uid.to_string(),
    };
    let accepted = accept_port_forward(&mut request);
    let answer = match accepted {
        Ok((answer, upgrade)) => {
            tokio::spawn(forward_all(net, upgrade));
            answer
        }
        Err(refused) => refused,
    };
    Ok(answer.map(|body| {
        use http_body_util::BodyExt;
        body.map_err(|never| match never {}).boxed()
    }))
}

async fn forward_all(net: PodNet, upgrade: PortForwardUpgrade) {
    let mut session = match upgrade.session().await {
        Ok(session) => session,
        Err(error) => return tracing::debug!(%error, pod = net.uid, "a port-forward client did not connect"),
    };
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            forwarded = session.next() => match forwarded {
                Some(forwarded) => drop(connections.spawn(forward_one(net.clone(), forwarded))),
                None => return,
            },
            Some(_) = connections.join_next() => {
                if session.is_exhausted() && connections.is_empty() {
                    break;
                }
            }
        }
    }
    if let Err(error) = session.finish().await {
        tracing::debug!(%error, pod = net.uid, "a port-forward client was not told of the end");
    }
}

async fn forward_one(net: PodNet, forwarded: Forwarded) {
    let Forwarded { port, mut data, error, ends_apart } = forwarded;
    let connected = match TargetPort::of(port) {
        Some(port) => connect(&net, port).await,
        None => Err(format!("invalid port number: {port}")),
    };
    match connected {
        Ok(mut pod) => {
            // Either side may close or break the connection, which is theirs to notice.
            let copied = if ends_apart {
                tokio::io::copy_bidirectional(&mut data, &mut pod).await.map(drop)
            } else {
                copy_until_pod_ends(data, pod).await
            };
            if let Err(cause) = copied {
                tracing::trace!(%cause, pod = net.uid, port, "a forwarded connection broke");
            }
        }
        Err(cause) => {
            let text = format!("error forwarding port {port} to pod {}, uid : {cause}", net.uid);
            if let Err(error) = error.fail(&text).await {
                tracing::debug!(%error, pod = net.uid, port, "a client was not told why its connection failed");
            }
        }
    }
}

/// Copies both ways until the pod has sent all that it will.
async fn copy_until_pod_ends(
    client: impl AsyncRead + AsyncWrite,
    mut pod: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_pod, mut to_pod) = tokio::io::split(&mut pod);
    let inward = async {
        tokio::io::copy(&mut from_client, &mut to_pod).await?;
        to_pod.shutdown().await?;
        std::future::pending().await
    };
    tokio::select! {
        ended = tokio::io::copy(&mut from_pod, &mut to_client) => ended.map(drop),
        broken = inward => broken,
    }
}

/// Connects to `port` on the pod's loopback interface, IPv4 first.
async fn connect(net: &PodNet, port: TargetPort) -> Result<TcpStream, String> {
    let namespace = net.namespace.clone();
    let (sender, connected) = oneshot::channel();
    // A thread of its own: it enters another network namespace and must never serve anything else.
    let spawned = std::thread::Builder::new().name("port-forward".into()).spawn(move || {
        // A client that is gone does not wait for the answer.
        drop(sender.send(connect_inside(namespace, port)));
    });
    spawned.map_err(|error| error.to_string())?;
    let stream = connected.await.map_err(|error| error.to_string())??;
    TcpStream::from_std(stream).map_err(|error| error.to_string())
}

fn connect_inside(namespace: Option<PathBuf>, port: TargetPort) -> Result<std::net::TcpStream, String> {
    let place = match &namespace {
        Some(path) => path.display().to_string(),
        None => "host".into(),
    };
    if let Some(path) = &namespace {
        enter(path).map_err(|error| {
            format!("failed to execute portforward in network namespace \"{place}\": {error}")
        })?;
    }
    let dial = |address: SocketAddr| {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let failed = |network: &str, address: SocketAddr, error: io::Error| {
        format!("dial {network} {address}: {}", crate::probes::perform::connect_error(&error))
    };
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port.number()));
    dial(four).or_else(|first: io::Error| {
        dial(six).map_err(|second: io::Error| {
            let (first, second) = (failed("tcp4", four, first), failed("tcp6", six, second));
            format!(
                "failed to execute portforward in network namespace \"{place}\": failed to connect to localhost:{port} \
                 inside namespace \"{place}\", IPv4: {first} IPv6 {second}"
            )
        })
    })
}

/// Moves the calling thread into a network namespace.
#[allow(clippy::disallowed_methods, reason = "the run directory, which is skiff's own")]
fn enter(path: &std::path::Path) -> io::Result<()> {
    let namespace = File::open(path)?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn without_a_word_for_its_end_a_client_is_done_when_the_pod_is() {
        let (mut client, ours) = tokio::io::duplex(64);
        let (mut pod, theirs) = tokio::io::duplex(64);
        let copied = tokio::spawn(copy_until_pod_ends(ours, theirs));
        client.write_all(b"ping").await.unwrap();
        let mut said = [0; 4];
        pod.read_exact(&mut said).await.unwrap();
        pod.write_all(b"pong").await.unwrap();
        drop(pod);
        // The client's side is still open.
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!((&said, &*heard), (b"ping", "pong"));
        copied.await.unwrap().unwrap();
    }
}
