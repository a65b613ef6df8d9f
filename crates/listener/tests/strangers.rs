//! Clients that cost more than they should, and the others beside them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use skiff_listener::{Exchange, Limits, Listener, NoFiles, Peer, RequestBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Nothing here takes this long.
const SOON: Duration = Duration::from_secs(30);

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what} in time"))
}

fn limits() -> Limits {
    Limits {
        strangers: 8,
        strangers_per_address: 4,
        stranger_idle: SOON * 10,
        ..Limits::of(NoFiles(1024), 1.0)
    }
}

/// A server and what its clients need.
struct Server {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    _stop: tokio_util::sync::DropGuard,
}

async fn start(limits: Limits) -> Server {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let (server_tls, tls) = tls();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone().drop_guard();
    let listener = Listener::new(tcp, limits);
    tokio::spawn(listener.serve(move || server_tls.clone(), connected, shutdown));
    Server { address, tls, _stop: stop }
}

fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

type Answering = std::pin::Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

fn connected(peer: Peer) -> impl Fn(Request<RequestBody>) -> Answering + Clone {
    move |request| Box::pin(handle(peer.clone(), request))
}

async fn handle(peer: Peer, request: Request<RequestBody>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("hello"));
    match request.uri().path() {
        "/known" => peer.known(),
        "/panic" => panic!("a bug"),
        "/refuse" => *response.status_mut() = StatusCode::FORBIDDEN,
        "/large" => response = Response::new(Full::from(vec![b'x'; 64 << 20])),
        "/hang" => std::future::pending().await,
        "/last" => {
            request.extensions().get::<Exchange>().unwrap().lasts();
            std::future::pending().await
        }
        _ => {}
    }
    response
}

/// Without the closing alert a client cannot tell this end from a connection that somebody cut.
#[tokio::test]
async fn who_never_asks_is_told_of_the_end() {
    let short = Duration::from_millis(10);
    let server = start(Limits { stranger_idle: short, drain: short, ..limits() }).await;
    for head in ["", "GET / HT"] {
        let mut client = server.connect(b"http/1.1").await;
        client.write_all(head.as_bytes()).await.unwrap();
        client.flush().await.unwrap();
        let mut rest = Vec::new();
        soon("the end", client.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty(), "{head:?}");
    }
}

impl Server {
    async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut config = (*self.tls).clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
    }

    async fn http1(&self) -> http1::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect(b"http/1.1").await);
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect(b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::builder().uri(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

fn post(path: &str, size: usize) -> Request<Full<Bytes>> {
    let body = Full::from(vec![b'x'; size]);
    Request::builder().method("POST").uri(path).header("host", "localhost").body(body).unwrap()
}

async fn until_closed(client: &mut http2::SendRequest<Empty<Bytes>>) {
    while client.ready().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for the end of a connection, in order or not.
async fn ended(stream: &mut TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    let end = soon("the connection's end", stream.read_to_end(&mut rest)).await;
    drop(end);
}

#[tokio::test]
async fn idle_strangers_make_room_and_known_clients_stay() {
    let server = start(limits()).await;
    let mut known = server.http2().await;
    soon("an answer", known.send_request(get("/known"))).await.unwrap();
    let mut idle = Vec::new();
    for i in 0..40 {
        idle.push(server.connect(if i % 2 == 0 { b"h2" } else { b"http/1.1" }).await);
    }
    let mut fresh = server.http2().await;
    assert_eq!(soon("an answer", fresh.send_request(get("/"))).await.unwrap().status(), 200);
    assert_eq!(soon("an answer", known.send_request(get("/"))).await.unwrap().status(), 200);
    // All but the last few are gone.
    for stream in &mut idle[..36] {
        ended(stream).await;
    }
}

#[tokio::test]
async fn silent_and_slow_connections_end() {
    let quick = Duration::from_millis(200);
    let server = start(Limits { stranger_idle: quick, idle: quick, exchange: quick, ..limits() }).await;
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let mut silent = server.connect(protocol).await;
        ended(&mut silent).await;
    }
    let mut polite = server.http2().await;
    soon("an answer", polite.send_request(get("/known"))).await.unwrap();
    // hyper's client answers pings, and is idle all the same.
    soon("the end", until_closed(&mut polite)).await;
    let mut slow = server.http2().await;
    assert!(soon("the end", slow.send_request(get("/hang"))).await.is_err());
}

#[tokio::test]
async fn who_takes_no_answer_is_ended_and_who_waits_for_one_is_not() {
    let quick = Duration::from_millis(300);
    let server = start(Limits { stall: quick, exchange: SOON * 10, ..limits() }).await;
    let mut lasting = server.http2().await;
    let waiting = tokio::spawn(lasting.send_request(get("/last")));
    let mut lazy = server.http2().await;
    let answer = soon("an answer", lazy.send_request(get("/large"))).await.unwrap();
    // Nothing is read from the body, so its window fills up; the connection's pings go on.
    soon("the end", until_closed(&mut lazy)).await;
    drop(answer);
    assert!(!waiting.is_finished(), "an exchange that lasts goes on");
    waiting.abort();
}

#[tokio::test]
async fn a_panic_stays_in_its_request() {
    let server = start(limits()).await;
    let mut client = server.http2().await;
    let broken = soon("an answer", client.send_request(get("/panic"))).await.unwrap();
    assert_eq!(broken.status(), 500);
    let id = broken.headers()["audit-id"].to_str().unwrap().to_owned();
    let told = broken.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&told).contains(&id), "the answer names what the log has: {told:?}");
    assert_eq!(soon("an answer", client.send_request(get("/"))).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_refused_write_leaves_the_connection_or_says_that_it_does_not() {
    let server = start(limits()).await;
    let mut client = server.http1().await;
    for _ in 0..3 {
        let refused = soon("an answer", client.send_request(post("/refuse", 100_000))).await.unwrap();
        assert_eq!(refused.status(), 403);
        assert!(!refused.headers().contains_key(CONNECTION));
        refused.into_body().collect().await.unwrap();
        soon("the connection", client.ready()).await.unwrap();
    }
    let refused = soon("an answer", client.send_request(post("/refuse", 8 << 20))).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()[CONNECTION]), (403, &"close".parse().unwrap()));
    assert_eq!(refused.into_body().collect().await.unwrap().to_bytes(), "hello");
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target().starts_with("skiff")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Each test is a process of its own, so that the limit is this test's.
#[tokio::test]
async fn accepting_waits_for_a_free_descriptor_and_says_so_once() {
    let warnings = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::set_global_default(Warnings(warnings.clone())).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let waiting = TcpStream::connect(address).await.unwrap();
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    let (server_tls, client_tls) = tls();
    let listener = Listener::new(tcp, limits());
    tokio::spawn(listener.serve(move || server_tls.clone(), connected, CancellationToken::new()));
    while warnings.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Several attempts long.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(warnings.load(Ordering::SeqCst), 1);
    taken.truncate(taken.len() - 8);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = soon("a handshake", TlsConnector::from(client_tls).connect(name, waiting)).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(soon("an answer", sender.send_request(get("/"))).await.unwrap().status(), 200);
}
