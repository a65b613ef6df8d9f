//! Who is connected, and who has to go when one more comes. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// A connection, in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(u64);

/// Where connections are counted: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Origin(IpAddr);

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(mapped) => Self(mapped.into()),
                None => Self(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)).into()),
            },
        }
    }
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody has proved anything.
    Stranger,
    /// A certificate or a request has told who it is.
    Known,
    /// It carries a stream that is not HTTP any more and ends by itself.
    Stream,
}

/// How many may be connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) connections: usize,
    pub(crate) strangers: usize,
    pub(crate) strangers_per_address: usize,
}

/// All open connections.
#[derive(Debug)]
pub(crate) struct Book {
    places: Places,
    next: u64,
    all: BTreeMap<Id, (Origin, Standing)>,
    by_origin: HashMap<Origin, Open>,
    strangers: usize,
}

/// Connections of one origin that can be ended.
#[derive(Debug, Default)]
struct Open {
    strangers: BTreeSet<Id>,
    known: BTreeSet<Id>,
}

/// What to do about a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has this place.
    Enter(Id),
    /// It has this place, and the other one has to go.
    Replace(Id, Id),
    /// There is no place, and nobody who could go.
    Full,
}

impl Book {
    pub(crate) fn new(places: Places) -> Self {
        Self { places, next: 0, all: BTreeMap::new(), by_origin: HashMap::new(), strangers: 0 }
    }

    /// Takes in a new connection. Whoever is replaced has left the book already.
    pub(crate) fn enter(&mut self, address: IpAddr) -> Verdict {
        let origin = Origin::of(address);
        let victim = self.victim(origin);
        if victim.is_none() && self.all.len() >= self.places.connections {
            return Verdict::Full;
        }
        if let Some(victim) = victim {
            self.leave(victim);
        }
        let id = Id(self.next);
        self.next += 1;
        self.all.insert(id, (origin, Standing::Stranger));
        self.by_origin.entry(origin).or_default().strangers.insert(id);
        self.strangers += 1;
        victim.map_or(Verdict::Enter(id), |victim| Verdict::Replace(id, victim))
    }

    /// Who has to go for a stranger from `origin`: the oldest stranger of the same origin when that has too many, else the
    /// oldest of the origin that has most.
    fn victim(&self, origin: Origin) -> Option<Id> {
        let own = self.by_origin.get(&origin).map_or(0, |open| open.strangers.len());
        if own >= self.places.strangers_per_address {
            return self.by_origin.get(&origin).and_then(|open| open.strangers.first().copied());
        }
        let full = self.all.len() >= self.places.connections;
        if self.strangers >= self.places.strangers || (full && self.strangers > 0) {
            return self.oldest_of_most(|open| &open.strangers);
        }
        if full { self.oldest_of_most(|open| &open.known) } else { None }
    }

    /// Some connection that can be ended, a stranger's if there is one; it leaves the book.
    pub(crate) fn give_up_one(&mut self) -> Option<Id> {
        let victim = self.oldest_of_most(|open| &open.strangers)?;
        self.leave(victim);
        Some(victim)
    }

    fn oldest_of_most(&self, of: impl Fn(&Open) -> &BTreeSet<Id>) -> Option<Id> {
        self.by_origin.values().map(&of).max_by_key(|ids| ids.len()).and_then(|ids| ids.first().copied())
    }

    /// The client has told who it is.
    pub(crate) fn know(&mut self, id: Id) {
        self.change(id, Standing::Known);
    }

    /// The connection is a stream from now on.
    pub(crate) fn stream(&mut self, id: Id) {
        self.change(id, Standing::Stream);
    }

    fn change(&mut self, id: Id, to: Standing) {
        let Some((origin, standing)) = self.all.get_mut(&id) else { return };
        let (origin, from) = (*origin, std::mem::replace(standing, to));
        self.unlist(id, origin, from);
        match to {
            Standing::Stranger => {}
            Standing::Known => drop(self.by_origin.entry(origin).or_default().known.insert(id)),
            Standing::Stream => {}
        }
    }

    /// The connection has ended.
    pub(crate) fn leave(&mut self, id: Id) {
        if let Some((origin, standing)) = self.all.remove(&id) {
            self.unlist(id, origin, standing);
        }
    }

    fn unlist(&mut self, id: Id, origin: Origin, standing: Standing) {
        let Some(open) = self.by_origin.get_mut(&origin) else { return };
        match standing {
            Standing::Stranger => {
                if open.strangers.remove(&id) {
                    self.strangers -= 1;
                }
            }
            Standing::Known => drop(open.known.remove(&id)),
            Standing::Stream => {}
        }
        if open.strangers.is_empty() && open.known.is_empty() {
            self.by_origin.remove(&origin);
        }
    }

    /// Whether a connection still has its place as a stranger.
    pub(crate) fn is_stranger(&self, id: Id) -> bool {
        self.all.get(&id).is_some_and(|(_, standing)| *standing == Standing::Stranger)
    }

    /// Whether a connection has become a stream.
    pub(crate) fn is_stream(&self, id: Id) -> bool {
        self.all.get(&id).is_some_and(|(_, standing)| *standing == Standing::Stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(connections: usize, strangers: usize, strangers_per_address: usize) -> Book {
        Book::new(Places { connections, strangers, strangers_per_address })
    }

    fn enter(book: &mut Book, address: &str) -> Verdict {
        book.enter(address.parse().unwrap())
    }

    #[test]
    fn the_oldest_stranger_of_an_address_makes_room() {
        let mut book = book(10, 8, 2);
        assert_eq!(enter(&mut book, "10.0.0.1"), Verdict::Enter(Id(0)));
        assert_eq!(enter(&mut book, "10.0.0.1"), Verdict::Enter(Id(1)));
        assert_eq!(enter(&mut book, "10.0.0.1"), Verdict::Replace(Id(2), Id(0)));
        assert_eq!(enter(&mut book, "10.0.0.2"), Verdict::Enter(Id(3)));
        book.know(Id(1));
        assert_eq!(enter(&mut book, "10.0.0.1"), Verdict::Enter(Id(4)), "who is known does not count");
    }

    #[test]
    fn strangers_in_all_are_few_and_the_greediest_address_pays() {
        let mut book = book(10, 3, 2);
        for (address, id) in [("10.0.0.1", 0), ("10.0.0.2", 1), ("10.0.0.2", 2)] {
            assert_eq!(enter(&mut book, address), Verdict::Enter(Id(id)));
        }
        assert_eq!(enter(&mut book, "10.0.0.3"), Verdict::Replace(Id(3), Id(1)));
    }

    #[test]
    fn a_full_book_ends_known_clients_of_the_greediest_address_but_no_streams() {
        let mut book = book(3, 3, 3);
        for (id, address) in ["10.0.0.1", "10.0.0.2", "10.0.0.2"].into_iter().enumerate() {
            assert_eq!(enter(&mut book, address), Verdict::Enter(Id(id as u64)));
            book.know(Id(id as u64));
        }
        assert_eq!(enter(&mut book, "10.0.0.3"), Verdict::Replace(Id(3), Id(1)));
        for id in [0, 2, 3] {
            book.stream(Id(id));
        }
        assert_eq!(enter(&mut book, "10.0.0.3"), Verdict::Full);
        book.leave(Id(2));
        assert_eq!(enter(&mut book, "10.0.0.3"), Verdict::Enter(Id(4)));
        assert_eq!(book.len(), 3);
    }

    #[test]
    fn one_network_is_one_ipv6_origin() {
        let mut book = book(10, 8, 2);
        enter(&mut book, "2001:db8::1");
        enter(&mut book, "2001:db8::2");
        assert_eq!(enter(&mut book, "2001:db8::3"), Verdict::Replace(Id(2), Id(0)));
        enter(&mut book, "::ffff:10.0.0.1");
        enter(&mut book, "10.0.0.1");
        assert_eq!(enter(&mut book, "::ffff:10.0.0.1"), Verdict::Replace(Id(5), Id(3)));
    }

    #[test]
    fn nothing_is_left_of_who_has_gone() {
        let mut book = book(10, 8, 8);
        for _ in 0..8 {
            enter(&mut book, "10.0.0.1");
        }
        (0..8).map(Id).for_each(|id| if id.0 % 2 == 0 { book.know(id) } else { book.stream(id) });
        (0..8).map(Id).for_each(|id| book.leave(id));
        assert!(book.by_origin.is_empty() && book.strangers == 0 && book.len() == 0);
        assert_eq!(book.give_up_one(), None);
    }
}
