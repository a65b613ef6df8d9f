//! The other end of a connection, and its place.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::book::{Book, Id, Places, Verdict};

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The certificate that it showed and TLS has verified.
    pub certificate: Option<CertificateDer<'static>>,
    pub(crate) place: Arc<Place>,
}

impl Peer {
    /// Says that a request has proved who the client is: the connection is no stranger's any more.
    pub fn known(&self) {
        self.place.known();
    }
}

/// All places of a listener.
#[derive(Debug)]
pub(crate) struct Board {
    seated: Mutex<Seated>,
    /// Told when a connection has ended, so that a descriptor is free.
    pub(crate) freed: Notify,
}

#[derive(Debug)]
struct Seated {
    book: Book,
    /// How each connection is told to end.
    ends: HashMap<Id, CancellationToken>,
}

impl Board {
    pub(crate) fn new(places: Places) -> Self {
        let seated = Seated { book: Book::new(places), ends: HashMap::new() };
        Self { seated: Mutex::new(seated), freed: Notify::new() }
    }

    /// A place for a new connection, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Place>> {
        let mut seated = self.seated.lock();
        let id = match seated.book.enter(address) {
            Verdict::Enter(id) => id,
            Verdict::Replace(id, victim) => {
                seated.end(victim);
                id
            }
            Verdict::Full => return None,
        };
        let ended = CancellationToken::new();
        seated.ends.insert(id, ended.clone());
        Some(Arc::new(Place { board: self.clone(), id, ended }))
    }

    /// Ends one stranger's connection, if there is one.
    pub(crate) fn give_up_one(&self) {
        let mut seated = self.seated.lock();
        if let Some(victim) = seated.book.give_up_one() {
            seated.end(victim);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.seated.lock().book.len()
    }
}

impl Seated {
    fn end(&mut self, id: Id) {
        if let Some(ended) = self.ends.remove(&id) {
            ended.cancel();
        }
    }
}

/// A connection's place; free again when the last holder is gone.
#[derive(Debug)]
pub(crate) struct Place {
    board: Arc<Board>,
    id: Id,
    /// Somebody else needs the place.
    pub(crate) ended: CancellationToken,
}

impl Place {
    pub(crate) fn known(&self) {
        let mut seated = self.board.seated.lock();
        if seated.book.is_stranger(self.id) {
            seated.book.know(self.id);
        }
    }

    pub(crate) fn stream(&self) {
        self.board.seated.lock().book.stream(self.id);
    }

    pub(crate) fn is_stranger(&self) -> bool {
        self.board.seated.lock().book.is_stranger(self.id)
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.board.seated.lock().book.is_stream(self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seated = self.board.seated.lock();
        seated.book.leave(self.id);
        seated.ends.remove(&self.id);
        drop(seated);
        self.board.freed.notify_one();
    }
}
