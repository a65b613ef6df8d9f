//! Every bound on connections, in one place.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What connections may cost. The defaults suit the API server; see [`Limits::of`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections in all. Beyond it the address with the most loses the one that has been open longest.
    pub connections: usize,
    /// Connections whose client has proved nothing yet, in all.
    pub strangers: usize,
    /// Connections whose client has proved nothing yet, from one address (IPv6: from one /64).
    pub strangers_per_address: usize,
    /// From accepting a connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// Size of a request's head, in bytes.
    pub head_bytes: u32,
    /// Number of fields in a request's head (HTTP/1).
    pub head_fields: usize,
    /// How long a connection of a known client may be without a request whose head has arrived.
    pub idle: Duration,
    /// The same for a stranger.
    pub stranger_idle: Duration,
    /// From the head of a request to the end of its answer, but for what is meant to last (see
    /// [`crate::Exchange::lasts`]). As Kubernetes' `--request-timeout`, and a little for the way of the answer.
    pub exchange: Duration,
    /// How long a client may leave bytes of an answer untaken. It ends slow watches.
    pub stall: Duration,
    /// How often a quiet HTTP/2 connection is asked whether anybody is there, and how long the answer may take.
    pub ping: (Duration, Duration),
    /// Silence after which TCP asks, for what is no longer HTTP (exec, port-forward).
    pub tcp_keepalive: Duration,
    /// Requests at the same time on one HTTP/2 connection. As Kubernetes.
    pub streams: u32,
    /// HTTP/2 streams that a client reset before we looked at them; more end the connection (rapid reset).
    pub resets: usize,
    /// Bytes of an answer that wait in an HTTP/2 stream's buffer.
    pub send_buffer: usize,
    /// How much of a request's body that nobody read is taken from an HTTP/1 connection, so that it can be used again.
    /// As Go's server.
    pub unread_body: usize,
    /// How long requests under way may go on after a shutdown began.
    pub drain: Duration,
}

/// Descriptors that the rest of the process needs: store, supervisors, logs, netlink, connections to nodes.
const RESERVED: u64 = 256;

/// However many descriptors there are, more connections than this are nobody's honest use.
const MOST: u64 = 8192;

/// Below this a listener is of no use; the rest of the process has to live with the remainder.
const LEAST: u64 = 32;

impl Limits {
    /// The bounds of a listener that may use `share` (at most 1) of a process with so many descriptors.
    pub fn of(NoFiles(files): NoFiles, share: f64) -> Self {
        // A connection that is passed on to a node or a pod takes a second descriptor.
        let free = files.saturating_sub(RESERVED) / 2;
        let connections = usize::try_from(free.clamp(LEAST, MOST)).unwrap_or(usize::MAX);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let connections = ((connections as f64) * share) as usize;
        let connections = connections.max(16);
        Self {
            connections,
            strangers: (connections / 4).clamp(8, 512),
            strangers_per_address: (connections / 8).clamp(8, 128),
            handshake: Duration::from_secs(10),
            head_bytes: 64 * 1024,
            head_fields: 100,
            idle: Duration::from_secs(90),
            stranger_idle: Duration::from_secs(15),
            exchange: Duration::from_secs(75),
            stall: Duration::from_secs(30),
            ping: (Duration::from_secs(30), Duration::from_secs(15)),
            tcp_keepalive: Duration::from_secs(60),
            streams: 250,
            resets: 20,
            send_buffer: 64 * 1024,
            unread_body: 256 * 1024,
            drain: Duration::from_secs(5),
        }
    }
}

impl Default for Limits {
    /// For a process with the descriptors that it has now.
    fn default() -> Self {
        Self::of(NoFiles::now(), 1.0)
    }
}

/// How many descriptors the process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFiles(pub u64);

impl NoFiles {
    /// The limit as it is.
    pub fn now() -> Self {
        Self(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }
}

/// Raises the process's own limit of descriptors to what it may raise it to, and returns what it was and is.
///
/// # Errors
/// When the kernel refuses; the limit is then as it was.
pub fn raise_descriptors() -> Result<(NoFiles, NoFiles), std::io::Error> {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })?;
    Ok((NoFiles(before.current.unwrap_or(u64::MAX)), NoFiles::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_follow_from_the_descriptors() {
        let check = |files: u64, share: f64, connections: usize, strangers: usize, per_address: usize| {
            let limits = Limits::of(NoFiles(files), share);
            let found = (limits.connections, limits.strangers, limits.strangers_per_address);
            assert_eq!(found, (connections, strangers, per_address), "{files}");
        };
        check(1_048_576, 1.0, 8192, 512, 128);
        check(1024, 1.0, 384, 96, 48);
        check(1024, 0.25, 96, 24, 12);
        check(64, 1.0, 32, 8, 8);
        check(u64::MAX, 1.0, 8192, 512, 128);
    }
}
