//! Connections that clients make, within bounds: how many there are, in all and of one client.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// The time after which accepting is tried again. The kernel tells nobody when there are descriptors again.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections of one listener. When all are taken, further ones wait in the kernel's queue, which drops what is
/// too much; a client that has its share already is closed at once.
pub(crate) struct Listener {
    listener: TcpListener,
    free: Arc<Semaphore>,
    most: usize,
    most_of_one: usize,
    /// How many each client has; a client without any is not in it.
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place for a connection, given back when dropped.
pub(crate) struct Place {
    client: IpAddr,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// Allows `most` connections at once, and `most_of_one` from one address.
    pub(crate) fn new(listener: TcpListener, most: usize, most_of_one: usize) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(most)), most, most_of_one, clients: Arc::default() }
    }

    /// The next connection within the bounds.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr, Place) {
        let mut told = false;
        loop {
            let Ok(permit) = self.free.clone().acquire_owned().await else {
                unreachable!("the semaphore is never closed")
            };
            match self.listener.accept().await {
                Ok((stream, client)) => {
                    if let Some(place) = self.place(client.ip(), permit) {
                        return (stream, client, place);
                    }
                }
                Err(error) => {
                    // Usually out of file descriptors: connections have to end first.
                    if !std::mem::replace(&mut told, true) {
                        warn!(%error, "no connection can be accepted");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Whether more than half of the places are taken: who is idle should make room sooner.
    pub(crate) fn is_crowded(&self) -> bool {
        self.free.available_permits() < self.most / 2
    }

    fn place(&self, client: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let mut clients = self.clients.lock();
        let count = clients.entry(client).or_default();
        if *count >= self.most_of_one {
            return None;
        }
        *count += 1;
        Some(Place { client, clients: self.clients.clone(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.clients.lock();
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// The limit is the whole process's; nextest gives each test one of its own.
    #[tokio::test(start_paused = true)]
    async fn without_descriptors_accepting_waits_for_one() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let listener = Listener::new(socket, 4, 4);
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: before.maximum }).unwrap();
        // Time passes only while everybody waits: whoever spins is never done.
        let waited = tokio::time::timeout(PAUSE * 10, listener.accept()).await;
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(waited.is_err());
        drop(listener.accept().await);
        assert!(listener.clients.lock().is_empty(), "the place is free again");
    }
}
