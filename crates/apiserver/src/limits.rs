//! Every bound on what clients may ask of the server at the same time, in one place.

use std::time::Duration;

/// What requests may cost. Bounds on sizes of single things are where they are read: a request's body
/// (`http/body.rs`), annotations (`pipeline/metadata.rs`).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections: how many, for how long, how large the heads of requests.
    pub connections: skiff_listener::Limits,
    /// With the next the seats that priority levels share (`skiff_fairness`). As Kubernetes' `--max-requests-inflight`.
    pub reads: usize,
    /// As Kubernetes' `--max-mutating-requests-inflight`.
    pub writes: usize,
    /// From a request's head to the end of what it asks for, but for what lasts. As Kubernetes' `--request-timeout`; a client may
    /// ask for less.
    pub request: Duration,
    /// How long a request waits for a seat: a quarter of that.
    pub queue_wait: Duration,
    /// Requests without credentials, however few seats they take.
    pub strangers: usize,
    /// Requests that last (watches, followed logs, streams into pods, proxied requests), of ordinary users.
    pub lasting: usize,
    /// Those that last, of one ordinary user: nobody's watches take the places of all others.
    pub lasting_per_user: usize,
    /// Requests that last, of nodes and of the cluster's own parts.
    pub system_lasting: usize,
    /// Requests with large bodies that are computed at the same time, over all users: each takes a thread. More wait.
    pub large: usize,
    /// Bytes of lists that are being made or sent, over all requests. A single list may be larger, alone.
    pub list_bytes: usize,
}

impl Limits {
    /// The usual bounds, with these for connections.
    pub fn new(connections: skiff_listener::Limits) -> Self {
        Self {
            connections,
            reads: 400,
            writes: 200,
            request: Duration::from_secs(60),
            queue_wait: Duration::from_secs(15),
            strangers: 50,
            lasting: 4096,
            lasting_per_user: 1024,
            system_lasting: 1024,
            large: 2,
            list_bytes: 256 * 1024 * 1024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(skiff_listener::Limits::default())
    }
}
