//! A server that has no place for more requests of a sort: 429, and what goes on meanwhile.

use http::HeaderMap;
use skiff_apiserver::{Limits, UserInfo};

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// One connection of a client with a token.
struct Client {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    token: String,
}

impl Client {
    async fn connect(api: &Api, address: SocketAddr, token: &str) -> Self {
        let stream = dial(stranger(api), address).await;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, token: token.to_owned() }
    }

    async fn open(&mut self, method: &str, path: &str) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let body = if method == "POST" { common::config_map("x").to_string() } else { String::new() };
        self.sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap()
    }

    async fn ask(&mut self, method: &str, path: &str) -> (u16, HeaderMap, serde_json::Value) {
        let (head, body) = self.open(method, path).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// A write whose body never comes, from when the server waits for it.
async fn unfinished_write(api: &Api, address: SocketAddr, token: &str) -> TlsStream<TcpStream> {
    let mut stream = dial(stranger(api), address).await;
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    stream
}

#[tokio::test]
async fn writes_without_a_place_are_told_when_to_come_back() {
    let api = Api::with_limits(Limits { reads: 10, writes: 0, ..Limits::default() }).await;
    let (address, _shutdown) = serve(&api).await;
    let token = api.editor_token().await;
    api.make_level("one", json!({"type": "Reject"})).await;
    api.lead("one", "system:serviceaccount:default:default", &["create"]).await;
    let unfinished = unfinished_write(&api, address, &token).await;
    let mut client = Client::connect(&api, address, &token).await;
    let (code, headers, status) = client.ask("POST", MAPS).await;
    assert_eq!((code, headers["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!((&status["reason"], &status["code"]), (&json!("TooManyRequests"), &json!(429)));
    assert_eq!(status["message"], "Too many requests, please try again later.");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    // Other requests, questions after the server's health, and what the cluster itself does have places of their own.
    assert_eq!(client.ask("GET", MAPS).await.0, 200);
    assert_eq!(Client::connect(&api, address, "").await.ask("GET", "/livez").await.0, 200);
    let own = Request::post(MAPS).header("content-type", "application/json");
    let own = own.body(Full::from(common::config_map("own").to_string())).unwrap();
    let controller = UserInfo { name: "system:kube-controller-manager".to_owned(), ..UserInfo::default() };
    assert_eq!(api.open(controller, own).await.status(), 403, "without rights here, but not turned away");
    drop(unfinished);
}

#[tokio::test]
async fn what_lasts_takes_no_place_of_reads_and_is_bounded_for_each_user() {
    let limits = Limits { reads: 1, writes: 0, lasting: 10, lasting_per_user: 2, ..Limits::default() };
    let api = Api::with_limits(limits).await;
    let (address, _shutdown) = serve(&api).await;
    let token = api.editor_token().await;
    let watch = format!("{MAPS}?watch=1");
    let mut watches = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(&api, address, &token).await;
        let response = client.open("GET", &watch).await;
        assert_eq!(response.status(), 200);
        watches.push((client, response));
    }
    let mut client = Client::connect(&api, address, &token).await;
    let (code, headers, status) = client.ask("GET", &watch).await;
    assert_eq!((code, headers["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(
        status["message"],
        "Too many requests, please try again later: you have 2 watches and streams open, as many as one user may."
    );
    assert_eq!(client.ask("GET", MAPS).await.0, 200);
    let other = api.open(UserInfo::service_account("kube-public", "other"), get(&watch)).await;
    assert_eq!(other.status(), 403, "another user is judged by its rights");
    drop(watches);
}

/// An answer of which only the head is taken: nothing of its body can be sent.
async fn untaken(api: &Api, address: SocketAddr, token: Option<&str>) -> Response<Incoming> {
    let mut config = (*stranger(api)).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let io = TokioIo::new(dial(Arc::new(config), address).await);
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(0);
    let (mut sender, connection) = builder.handshake::<_, Full<Bytes>>(io).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get("https://localhost/version");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    sender.send_request(request.body(Full::default()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn strangers_who_take_nothing_of_their_answers_keep_no_seats() {
    let api = Api::with_limits(Limits { reads: 10, writes: 0, strangers: 2, ..Limits::default() }).await;
    let (address, _shutdown) = serve(&api).await;
    let token = api.editor_token().await;
    for (level, user) in [("one", "system:anonymous"), ("two", "system:serviceaccount:default:default")] {
        api.make_level(level, json!({"type": "Reject"})).await;
        api.lead(level, user, &["*"]).await;
    }
    let users = untaken(&api, address, Some(&token)).await;
    assert_eq!(users.status(), 200);
    assert_eq!(Client::connect(&api, address, &token).await.ask("GET", "/version").await.0, 429);
    let strangers = [untaken(&api, address, None).await, untaken(&api, address, None).await];
    assert!(strangers.iter().all(|answer| answer.status() == 200), "their level has one seat");
    assert_eq!(untaken(&api, address, None).await.status(), 429, "they have two places");
    drop((users, strangers));
}
