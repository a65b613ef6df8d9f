//! The sockets: UDP and TCP in front of the zone and the upstream servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use crate::answer::{Answer, answer, soa};
use crate::listen::Listener;
use crate::upstream::Upstream;
use crate::wire::{Question, Rejected, Reply, Transport};
use crate::zone::Zone;

/// Aliases followed within the zone.
const ALIASES: usize = 8;
/// How long a TCP connection may be idle, and take for a question or for taking an answer.
const IDLE: Duration = Duration::from_secs(10);
/// The same while more than half of the connections are taken.
const IDLE_IN_A_CROWD: Duration = Duration::from_secs(2);
/// TCP connections open at once, in all and from one address.
const CONNECTIONS: usize = 128;
const CONNECTIONS_OF_ONE: usize = 16;
/// Bytes of a question at most; a longer one is none.
const LARGEST_QUESTION: usize = 4096;
/// Questions over UDP that wait for upstream servers at once; more are answered SERVFAIL.
const WAITING: usize = 512;
/// How long one question may take altogether; stub resolvers have given up or asked again by then.
const LONGEST_QUERY: Duration = Duration::from_secs(5);
/// The time after which receiving is tried again when the socket itself failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers questions, whatever socket they came through.
pub(crate) struct Responder {
    pub(crate) zone: Arc<RwLock<Zone>>,
    pub(crate) upstream: Upstream,
    /// Where the next answer's list of addresses starts.
    rotation: AtomicUsize,
}

/// What can be said at once.
enum Immediate {
    Reply(Vec<u8>),
    Silence,
    /// The upstream servers must be asked.
    Wait(Question, Pending),
}

enum Pending {
    Forward,
    /// Records so far and the name they lead to.
    Chase(Vec<Record>, Name),
}

impl Responder {
    pub(crate) fn new(zone: Arc<RwLock<Zone>>, upstream: Upstream) -> Self {
        Self { zone, upstream, rotation: AtomicUsize::new(0) }
    }

    /// The complete reply to `bytes`; `None` for no reply at all.
    async fn respond(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match self.immediate(bytes, transport) {
            Immediate::Reply(reply) => Some(reply),
            Immediate::Silence => None,
            Immediate::Wait(question, pending) => {
                Some(self.finish(bytes, question, pending, transport).await)
            }
        }
    }

    fn immediate(&self, bytes: &[u8], transport: Transport) -> Immediate {
        let question = match Question::read(bytes) {
            Ok(question) => question,
            Err(Rejected::Silently) => return Immediate::Silence,
            Err(Rejected::With(reply)) => return Immediate::Reply(reply),
        };
        if self.upstream.notice(question.query.name()) {
            let reply = Reply { code: ResponseCode::NXDomain, ..Reply::default() };
            return Immediate::Reply(question.reply(reply, transport));
        }
        match self.lookup(question.query.name(), question.kind()) {
            Ok(reply) => Immediate::Reply(question.reply(reply, transport)),
            Err(pending) => Immediate::Wait(question, pending),
        }
    }

    /// The reply from the zone, following aliases within it; `Err` if it leads out of it.
    fn lookup(&self, name: &Name, kind: RecordType) -> Result<Reply, Pending> {
        let zone = self.zone.read();
        let (mut name, mut answers) = (name.clone(), Vec::<Record>::new());
        for _ in 0..=ALIASES {
            let negative = |code, answers| Reply {
                code,
                authoritative: true,
                answers,
                authorities: vec![soa(&zone)],
                ..Reply::default()
            };
            match answer(&zone, &name, kind) {
                Answer::Found(mut found) => {
                    self.rotate(&mut found.answers);
                    answers.extend(found.answers);
                    let additionals = found.additionals;
                    return Ok(Reply { authoritative: true, answers, additionals, ..Reply::default() });
                }
                Answer::Alias { record, target } => {
                    answers.push(*record);
                    name = target;
                }
                Answer::NoData => return Ok(negative(ResponseCode::NoError, answers)),
                Answer::NxDomain => return Ok(negative(ResponseCode::NXDomain, answers)),
                Answer::Refused => return Ok(Reply { code: ResponseCode::Refused, ..Reply::default() }),
                Answer::ServFail => return Ok(Reply { code: ResponseCode::ServFail, ..Reply::default() }),
                Answer::Forward if answers.is_empty() => return Err(Pending::Forward),
                Answer::Forward => return Err(Pending::Chase(answers, name)),
            }
        }
        // A ring of aliases: what was found is all there is.
        Ok(Reply { authoritative: true, answers, ..Reply::default() })
    }

    /// Starts lists of addresses elsewhere each time, so that clients that take the first one spread out.
    fn rotate(&self, answers: &mut [Record]) {
        if answers.len() > 1 {
            let start = self.rotation.fetch_add(1, Ordering::Relaxed) % answers.len();
            answers.rotate_left(start);
        }
    }

    /// Answers with the help of upstream servers, within [`LONGEST_QUERY`].
    async fn finish(
        &self,
        bytes: &[u8],
        question: Question,
        pending: Pending,
        transport: Transport,
    ) -> Vec<u8> {
        match timeout(LONGEST_QUERY, self.ask_upstream(bytes, &question, pending, transport)).await {
            Ok(reply) => reply,
            Err(_) => {
                debug!(name = %question.query.name(), "not resolved in time");
                failed(&question, transport)
            }
        }
    }

    async fn ask_upstream(
        &self,
        bytes: &[u8],
        question: &Question,
        pending: Pending,
        transport: Transport,
    ) -> Vec<u8> {
        match pending {
            Pending::Forward => match self.upstream.forward(bytes, &question.query, transport).await {
                Ok(reply) => reply,
                Err(error) => {
                    debug!(%error, name = %question.query.name(), "not resolved");
                    failed(question, transport)
                }
            },
            Pending::Chase(mut answers, target) => {
                match self.upstream.resolve(&target, question.kind()).await {
                    Ok(records) => answers.extend(records),
                    // The alias alone lets the client go on by itself.
                    Err(error) => debug!(%error, name = %target, "target of an alias not resolved"),
                }
                question.reply(Reply { authoritative: true, answers, ..Reply::default() }, transport)
            }
        }
    }
}

fn failed(question: &Question, transport: Transport) -> Vec<u8> {
    question.reply(Reply { code: ResponseCode::ServFail, ..Reply::default() }, transport)
}

/// Answers datagrams. Only questions for upstream servers take a task of their own, at most [`WAITING`] at once; the
/// kernel queues what comes meanwhile, and drops what is too much.
pub(crate) async fn serve_udp(socket: UdpSocket, responder: Arc<Responder>) {
    let (socket, waiting) = (Arc::new(socket), Arc::new(Semaphore::new(WAITING)));
    let mut buffer = vec![0; LARGEST_QUESTION];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                debug!(%error, "receive failed");
                // An ICMP error about an earlier reply surfaces here, once; other failures would come again at once.
                if error.kind() != std::io::ErrorKind::ConnectionRefused {
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
        };
        match responder.immediate(&buffer[..length], Transport::Udp) {
            Immediate::Silence => {}
            Immediate::Reply(reply) => send(&socket, &reply, client).await,
            Immediate::Wait(question, pending) => match waiting.clone().try_acquire_owned() {
                Err(_) => send(&socket, &failed(&question, Transport::Udp), client).await,
                Ok(permit) => {
                    let (socket, responder) = (socket.clone(), responder.clone());
                    let bytes = buffer[..length].to_vec();
                    tokio::spawn(async move {
                        let reply = responder.finish(&bytes, question, pending, Transport::Udp).await;
                        send(&socket, &reply, client).await;
                        drop(permit);
                    });
                }
            },
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client).await {
        debug!(%error, %client, "reply not sent");
    }
}

/// Answers questions over TCP, one connection per task.
pub(crate) async fn serve_tcp(listener: TcpListener, responder: Arc<Responder>) {
    let listener = Arc::new(Listener::new(listener, CONNECTIONS, CONNECTIONS_OF_ONE));
    loop {
        let (stream, client, place) = listener.accept().await;
        let (responder, listener) = (responder.clone(), listener.clone());
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &responder, &listener).await {
                debug!(%error, %client, "connection ended");
            }
            drop(place);
        });
    }
}

async fn converse(mut stream: TcpStream, responder: &Responder, listener: &Listener) -> std::io::Result<()> {
    loop {
        let patience = if listener.is_crowded() { IDLE_IN_A_CROWD } else { IDLE };
        let Ok(length) = timeout(patience, stream.read_u16()).await else { return Ok(()) };
        let length = usize::from(length?);
        if length > LARGEST_QUESTION {
            return Err(std::io::Error::other(format!("a question of {length} bytes")));
        }
        let mut question = vec![0; length];
        timeout(patience, stream.read_exact(&mut question)).await??;
        let Some(reply) = responder.respond(&question, Transport::Tcp).await else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(std::io::Error::other)?;
        timeout(patience, stream.write_all(&[&length.to_be_bytes()[..], &reply].concat())).await??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ServiceRecord;
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::A;
    use skiff_informer::ObjectKey;

    /// A zone with a Service `web`, an alias `near` to it, an alias `far` to `example.org`, and a ring of two.
    fn zone() -> Zone {
        let mut zone = Zone::new(Name::from_ascii("cluster.local.").unwrap());
        zone.set_namespace("ns", true);
        let mut add =
            |name: &str, record| zone.set_service(&ObjectKey::new("ns", name), Some(Arc::new(record)));
        let addresses = [[10, 96, 0, 7], [10, 96, 0, 8]].map(std::net::IpAddr::from);
        add("web", ServiceRecord::Cluster { addresses: addresses.into(), ports: Box::new([]) });
        let alias = |target: &str| ServiceRecord::External { target: target.into() };
        add("near", alias("web.ns.svc.cluster.local"));
        add("far", alias("example.org"));
        add("ring", alias("ring.ns.svc.cluster.local"));
        zone.set_synced();
        zone
    }

    /// An upstream server that knows every name as 192.0.2.9.
    async fn upstream() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
                let name = message.queries[0].name().clone();
                message.add_answer(Record::from_rdata(name, 60, RData::A(A([192, 0, 2, 9].into()))));
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        address
    }

    fn question(name: &str) -> Vec<u8> {
        let mut message = Message::new(9, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message.to_vec().unwrap()
    }

    fn show(reply: &[u8]) -> String {
        let message = Message::from_vec(reply).unwrap();
        assert_eq!(message.metadata.id, 9);
        let records = message.answers.iter().map(|record| record.data.to_string());
        let aa = if message.metadata.authoritative { " aa" } else { "" };
        format!("{:?}{aa} {}", message.metadata.response_code, records.collect::<Vec<_>>().join(" "))
    }

    async fn responder() -> Arc<Responder> {
        let upstream = Upstream::new(vec![upstream().await], "127.0.0.1:53".parse().unwrap());
        Arc::new(Responder::new(Arc::new(RwLock::new(zone())), upstream))
    }

    #[tokio::test]
    async fn questions_over_udp() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(serve_udp(server, responder().await));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        let check = async |name: &str| {
            client.send(&question(name)).await.unwrap();
            let mut buffer = vec![0; 512];
            let length = client.recv(&mut buffer).await.unwrap();
            show(&buffer[..length])
        };
        assert_eq!(check("web.ns.svc.cluster.local.").await, "NoError aa 10.96.0.7 10.96.0.8");
        assert_eq!(
            check("web.ns.svc.cluster.local.").await,
            "NoError aa 10.96.0.8 10.96.0.7",
            "addresses rotate"
        );
        let near = "NoError aa web.ns.svc.cluster.local. 10.96.0.7 10.96.0.8";
        assert_eq!(check("near.ns.svc.cluster.local.").await, near);
        assert_eq!(check("far.ns.svc.cluster.local.").await, "NoError aa example.org. 192.0.2.9");
        assert_eq!(check("example.com.").await, "NoError 192.0.2.9");
        assert_eq!(check("missing.ns.svc.cluster.local.").await, "NXDomain aa ");
        assert!(check("ring.ns.svc.cluster.local.").await.starts_with("NoError aa ring"), "a ring ends");
    }

    #[tokio::test]
    async fn several_questions_over_one_tcp_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_tcp(listener, responder().await));
        let mut stream = TcpStream::connect(address).await.unwrap();
        for name in ["web.ns.svc.cluster.local.", "example.com."] {
            let question = question(name);
            stream.write_u16(question.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&question).await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut reply = vec![0; length.into()];
            stream.read_exact(&mut reply).await.unwrap();
            assert!(show(&reply).starts_with("NoError"), "{name}");
        }
    }

    async fn tcp_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_tcp(listener, responder().await));
        address
    }

    /// Whether the server closes the connection, before the test's own bound.
    async fn is_closed(stream: &mut TcpStream) -> bool {
        let read = timeout(Duration::from_secs(60), stream.read_u8()).await;
        read.expect("the server closes it in time").is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_and_slow_connections_are_closed() {
        let address = tcp_server().await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(&[0, 40, 1]).await.unwrap();
        let mut greedy = TcpStream::connect(address).await.unwrap();
        greedy.write_u16(u16::MAX).await.unwrap();
        for stream in [&mut idle, &mut slow, &mut greedy] {
            assert!(is_closed(stream).await);
        }
    }

    #[tokio::test]
    async fn one_client_has_no_more_than_its_share_of_connections() {
        let address = tcp_server().await;
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS_OF_ONE {
            streams.push(TcpStream::connect(address).await.unwrap());
        }
        let mut more = TcpStream::connect(address).await.unwrap();
        assert!(is_closed(&mut more).await);
        // Another address of this machine is another client.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = socket.connect(address).await.unwrap();
        let question = question("web.ns.svc.cluster.local.");
        other.write_u16(question.len().try_into().unwrap()).await.unwrap();
        other.write_all(&question).await.unwrap();
        assert!(other.read_u16().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_nobody_answers_ends_in_time() {
        // It takes questions and keeps them.
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = vec![silent.local_addr().unwrap(); 3];
        let upstream = Upstream::new(servers, "127.0.0.1:53".parse().unwrap());
        let responder = Responder::new(Arc::new(RwLock::new(zone())), upstream);
        let begin = tokio::time::Instant::now();
        let reply = responder.respond(&question("example.com."), Transport::Udp).await.unwrap();
        assert_eq!(show(&reply), "ServFail ");
        // In the test's own time.
        assert!(begin.elapsed() < LONGEST_QUERY + Duration::from_secs(1));
    }
}
