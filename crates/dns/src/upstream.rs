//! Questions about other names: asked of the node's resolvers, with failover, and remembered for a short while.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, warn};

use crate::wire::Transport;

/// How long one server may take before the next one is asked.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Questions under way at once; more are answered SERVFAIL.
const CONCURRENT: usize = 256;
/// Answers remembered, and for how long at most.
const REMEMBERED: usize = 256;
const LONGEST: Duration = Duration::from_secs(30);
/// Longer answers are not remembered.
const MEMORABLE: usize = 1400;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("no upstream name server")]
    NoServer,
    #[error("questions to upstream servers come back to this server")]
    Loop,
    #[error("too many questions under way")]
    Busy,
    #[error("no upstream server answered, the last one asked was {server}")]
    Failed { server: SocketAddr, source: io::Error },
}

/// The upstream servers.
pub(crate) struct Upstream {
    servers: Vec<SocketAddr>,
    /// The server that answered last.
    preferred: AtomicUsize,
    permits: Semaphore,
    cache: Mutex<Memory>,
    /// A name that only this server asks for; seeing it come in means a loop.
    probe: Name,
    looping: AtomicBool,
}

/// Servers that are asked, as many as the C library's resolver takes.
const SERVERS: usize = 3;

/// The first servers of a resolv.conf; port 53.
pub(crate) fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        let without_scope = address.split('%').next()?;
        Some(SocketAddr::new(without_scope.parse().ok()?, 53))
    };
    text.lines().filter_map(server).take(SERVERS).collect()
}

impl Upstream {
    /// Forwards to `servers`, except those that are this machine itself: with a listener on every address of a pod
    /// they would ask us.
    pub(crate) fn new(servers: Vec<SocketAddr>, listen: SocketAddr) -> Self {
        let (own, servers): (Vec<_>, Vec<_>) =
            servers.into_iter().partition(|server| is_own(*server, listen));
        if !own.is_empty() {
            warn!(?own, "ignoring upstream name servers that are this server itself");
        }
        let probe = format!("{:016x}.loop-probe.invalid.", rand::random::<u64>());
        Self {
            servers,
            preferred: AtomicUsize::new(0),
            permits: Semaphore::new(CONCURRENT),
            cache: Mutex::new(Memory::default()),
            probe: Name::from_ascii(&probe).unwrap_or_default(),
            looping: AtomicBool::new(false),
        }
    }

    /// Asks upstream for a name that nobody else asks for; see [`Upstream::notice`].
    pub(crate) async fn probe_for_loop(&self) {
        if self.servers.is_empty() {
            return;
        }
        if let Err(error) = self.resolve(&self.probe, RecordType::TXT).await {
            debug!(%error, "loop probe got no answer");
        }
    }

    /// Whether `name` is our own probe coming back: forwarding stops then, for good.
    pub(crate) fn notice(&self, name: &Name) -> bool {
        let ours = *name == self.probe;
        if ours && !self.looping.swap(true, Ordering::Relaxed) {
            error!("upstream name servers send questions back to this server: not forwarding any more");
        }
        ours
    }

    /// Forwards a question as it came; the reply has its id.
    pub(crate) async fn forward(
        &self,
        question: &[u8],
        query: &Query,
        transport: Transport,
    ) -> Result<Vec<u8>, UpstreamError> {
        let key = memory_key(question, query);
        if let Some(known) = key.as_ref().and_then(|key| self.cache.lock().recall(key, Instant::now())) {
            return Ok(with_id(known, question));
        }
        let reply = self.ask(question, transport).await?;
        if let Some(key) = key
            && let Some(lifetime) = lifetime(&reply)
        {
            self.cache.lock().remember(key, reply.clone(), lifetime, Instant::now());
        }
        Ok(with_id(reply, question))
    }

    /// The records of `name`.
    pub(crate) async fn resolve(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, UpstreamError> {
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        let query = Query::query(name.clone(), kind);
        message.add_query(query.clone());
        let Ok(question) = message.to_vec() else { return Ok(Vec::new()) };
        let reply = self.forward(&question, &query, Transport::Tcp).await?;
        Ok(Message::from_vec(&reply).map(|message| message.answers).unwrap_or_default())
    }

    async fn ask(&self, question: &[u8], transport: Transport) -> Result<Vec<u8>, UpstreamError> {
        if self.looping.load(Ordering::Relaxed) {
            return Err(UpstreamError::Loop);
        }
        let _permit = self.permits.try_acquire().map_err(|_| UpstreamError::Busy)?;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure = UpstreamError::NoServer;
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            let server = self.servers[index];
            match timeout(ATTEMPT, exchange(server, question, transport)).await {
                Ok(Ok(reply)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(reply);
                }
                Ok(Err(source)) => failure = UpstreamError::Failed { server, source },
                Err(_) => failure = UpstreamError::Failed { server, source: io::ErrorKind::TimedOut.into() },
            }
        }
        Err(failure)
    }
}

/// Whether a question to `server` would reach a listener at `listen` on this very machine.
fn is_own(server: SocketAddr, listen: SocketAddr) -> bool {
    if server.port() != listen.port() {
        return false;
    }
    if !listen.ip().is_unspecified() {
        return server.ip() == listen.ip();
    }
    // Only addresses of this machine can be bound.
    std::net::UdpSocket::bind((server.ip(), 0)).is_ok()
}

/// One question to one server: over UDP first, over TCP if the reply is cut and the client can take it whole.
async fn exchange(server: SocketAddr, question: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    let id: u16 = rand::random();
    let mut request = question.to_vec();
    request.splice(0..2, id.to_be_bytes());
    let reply = over_udp(server, &request).await?;
    let cut = reply.get(2).is_some_and(|flags| flags & 0x02 != 0);
    if cut && transport == Transport::Tcp { over_tcp(server, &request).await } else { Ok(reply) }
}

async fn over_udp(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(request).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A late or forged datagram is not the reply: wait on, within the caller's time.
        if answers(&buffer[..length], request) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], request].concat()).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; length.into()];
    stream.read_exact(&mut reply).await?;
    if answers(&reply, request) { Ok(reply) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Reads `reply` as upstream's; for fuzzing.
pub(crate) fn decode(reply: &[u8]) -> bool {
    answers(reply, reply) || lifetime(reply).is_some()
}

/// Whether `reply` is a reply to `request`: same id, a response, the same question.
fn answers(reply: &[u8], request: &[u8]) -> bool {
    let same_id = reply.len() >= 12 && reply[..2] == request[..2] && reply[2] & 0x80 != 0;
    let question = |bytes: &[u8]| Message::from_vec(bytes).ok()?.queries.into_iter().next();
    same_id && question(reply) == question(request)
}

fn with_id(mut reply: Vec<u8>, question: &[u8]) -> Vec<u8> {
    if reply.len() >= 2 && question.len() >= 2 {
        reply[..2].copy_from_slice(&question[..2]);
    }
    reply
}

type MemoryKey = (Name, RecordType, bool);

/// Plain questions only are remembered; `true` stands for one with EDNS.
fn memory_key(question: &[u8], query: &Query) -> Option<MemoryKey> {
    let message = Message::from_vec(question).ok()?;
    let plain = !message.metadata.checking_disabled
        && message.metadata.recursion_desired
        && message.edns.as_ref().is_none_or(|edns| !edns.flags().dnssec_ok);
    plain.then(|| (query.name().to_lowercase(), query.query_type(), message.edns.is_some()))
}

/// How long a reply may be remembered; `None` if not at all.
fn lifetime(reply: &[u8]) -> Option<Duration> {
    let message = Message::from_vec(reply).ok()?;
    let final_answer =
        matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    if !final_answer || message.metadata.truncation || reply.len() > MEMORABLE {
        return None;
    }
    let shortest = message.answers.iter().chain(&message.authorities).map(|record| record.ttl).min()?;
    Some(Duration::from_secs(shortest.into()).min(LONGEST)).filter(|lifetime| !lifetime.is_zero())
}

struct Known {
    reply: Vec<u8>,
    since: Instant,
    until: Instant,
}

/// Replies by question, the oldest forgotten first.
#[derive(Default)]
struct Memory {
    known: HashMap<MemoryKey, Known>,
    order: VecDeque<MemoryKey>,
}

impl Memory {
    /// The reply with its times to live as they are now.
    fn recall(&mut self, key: &MemoryKey, now: Instant) -> Option<Vec<u8>> {
        let known = self.known.get(key).filter(|known| known.until > now)?;
        let age = u32::try_from(now.duration_since(known.since).as_secs()).unwrap_or(u32::MAX);
        let mut message = Message::from_vec(&known.reply).ok()?;
        let Message { answers, authorities, additionals, .. } = &mut message;
        for record in answers.iter_mut().chain(authorities).chain(additionals) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        message.to_vec().ok()
    }

    fn remember(&mut self, key: MemoryKey, reply: Vec<u8>, lifetime: Duration, now: Instant) {
        let known = Known { reply, since: now, until: now + lifetime };
        if self.known.insert(key.clone(), known).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::A;

    #[test]
    fn resolv_conf() {
        let text = "# comment\nsearch a b\nnameserver 192.0.2.1\nnameserver  fe80::1%eth0 \noptions x\nnameserver bad\n";
        let servers = parse_resolv_conf(text);
        assert_eq!(servers, ["192.0.2.1:53".parse().unwrap(), "[fe80::1]:53".parse().unwrap()]);
    }

    #[test]
    fn own_addresses_are_no_upstream() {
        let check = |server: &str, listen: &str| is_own(server.parse().unwrap(), listen.parse().unwrap());
        assert!(check("127.0.0.53:53", "0.0.0.0:53"));
        assert!(!check("127.0.0.53:53", "10.0.0.1:53"));
        assert!(!check("127.0.0.53:53", "0.0.0.0:5353"));
        assert!(!check("192.0.2.1:53", "0.0.0.0:53"));
    }

    fn question(id: u16) -> (Vec<u8>, Query) {
        let query = Query::query(Name::from_ascii("example.org.").unwrap(), RecordType::A);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        (message.to_vec().unwrap(), query)
    }

    /// A server that answers each question with 192.0.2.9, `ttl` seconds; returns its address and a counter.
    async fn server(ttl: u32) -> (SocketAddr, std::sync::Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (socket.local_addr().unwrap(), std::sync::Arc::new(AtomicUsize::new(0)));
        let counter = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                counter.fetch_add(1, Ordering::Relaxed);
                let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
                let name = message.queries[0].name().clone();
                message.add_answer(Record::from_rdata(name, ttl, RData::A(A([192, 0, 2, 9].into()))));
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn answers_are_remembered_and_keep_the_id() {
        let (address, asked) = server(300).await;
        let upstream = Upstream::new(vec![address], "127.0.0.1:53".parse().unwrap());
        for id in [1, 2, 3] {
            let (bytes, query) = question(id);
            let reply = upstream.forward(&bytes, &query, Transport::Udp).await.unwrap();
            let reply = Message::from_vec(&reply).unwrap();
            assert_eq!((reply.metadata.id, reply.answers.len()), (id, 1));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn the_next_server_is_asked_when_one_fails() {
        let (good, asked) = server(0).await;
        // Nobody listens there: refused at once.
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let upstream = Upstream::new(vec![closed, good], "127.0.0.1:53".parse().unwrap());
        let (bytes, query) = question(1);
        for _ in 0..2 {
            upstream.forward(&bytes, &query, Transport::Udp).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "an answer of no lifetime is not remembered");
        assert_eq!(upstream.preferred.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_probe_that_comes_back_stops_forwarding() {
        let (address, _) = server(0).await;
        let upstream = Upstream::new(vec![address], "127.0.0.1:53".parse().unwrap());
        assert!(!upstream.notice(&Name::from_ascii("example.org.").unwrap()));
        assert!(upstream.notice(&upstream.probe.clone()));
        let (bytes, query) = question(1);
        let result = upstream.forward(&bytes, &query, Transport::Udp).await;
        assert!(matches!(result, Err(UpstreamError::Loop)));
    }

    #[test]
    fn memory_is_bounded_and_ages() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let mut message = Message::response(0, OpCode::Query);
        message.add_answer(Record::from_rdata(Name::root(), 30, RData::A(A([1, 1, 1, 1].into()))));
        let reply = message.to_vec().unwrap();
        let key = |n: usize| (Name::from_ascii(format!("n{n}.")).unwrap(), RecordType::A, false);
        for n in 0..=REMEMBERED {
            memory.remember(key(n), reply.clone(), LONGEST, now);
        }
        assert_eq!(memory.known.len(), REMEMBERED);
        assert!(memory.recall(&key(0), now).is_none());
        let later = memory.recall(&key(1), now + Duration::from_secs(10)).unwrap();
        assert_eq!(Message::from_vec(&later).unwrap().answers[0].ttl, 20);
        assert!(memory.recall(&key(1), now + LONGEST).is_none());
    }
}
