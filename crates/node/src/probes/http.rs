//! HTTP and HTTPS requests of probes and hooks.

use super::action::{HttpRequest, host_port};
use super::perform::{OUTPUT_LIMIT, Outcome, connect, connect_error};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// Gets `request`; any status from 200 to 399 is a success, a redirect that is not followed (to another host, say) one
/// with a warning.
/// A refused connection is tried again for `patience`.
pub(crate) async fn get(request: &HttpRequest, patience: Duration) -> Outcome {
    let mut request = request.clone();
    for _ in 0..=MAX_REDIRECTS {
        match get_once(&request, patience).await {
            Ok(Answer::Done(outcome)) => return outcome,
            Ok(Answer::Redirect(path)) => request.path = path,
            Err(cause) => return Outcome::Failure(format!("Get \"{}\": {cause}", request.url())),
        }
    }
    Outcome::Failure(format!("Get \"{}\": stopped after {MAX_REDIRECTS} redirects", request.url()))
}

enum Answer {
    Done(Outcome),
    /// To this path on the same host.
    Redirect(String),
}

async fn get_once(request: &HttpRequest, patience: Duration) -> Result<Answer, String> {
    let address = host_port(&request.host, request.port);
    let tcp = connect(&address, patience).await;
    let tcp = tcp.map_err(|error| format!("dial tcp {address}: {}", connect_error(&error)))?;
    if request.https {
        let name = ServerName::try_from(request.host.clone()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(ANY_SERVER.clone());
        let tls = connector.connect(name, tcp).await.map_err(|error| tls_error(&error))?;
        exchange(request, tls).await
    } else {
        exchange(request, tcp).await
    }
}

/// A failed handshake. What is no record of TLS is nearly always the answer of a server that speaks HTTP only, in which case
/// other Kubernetes nodes say just that.
fn tls_error(error: &std::io::Error) -> String {
    use rustls::{Error::InvalidMessage, InvalidMessage::InvalidContentType};
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(InvalidMessage(InvalidContentType)) => "http: server gave HTTP response to HTTPS client".into(),
        _ => error.to_string(),
    }
}

/// A failed request in the words of other Kubernetes nodes.
fn request_error(error: &hyper::Error) -> String {
    if error.is_incomplete_message() { "EOF".into() } else { error.to_string() }
}

async fn exchange(
    request: &HttpRequest,
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Answer, String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(build(request)?).await.map_err(|error| request_error(&error))?;
        let status = response.status();
        if status.is_redirection()
            && let Some(path) = redirect(request, response.headers())
        {
            return Ok(Answer::Redirect(path));
        }
        let body = read_body(response.into_body()).await?;
        Ok(Answer::Done(match status.as_u16() {
            200..300 => Outcome::Success,
            300..400 => Outcome::Warning(format!("Probe terminated redirects, Response body: {body}")),
            code => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
        }))
    };
    let answer = answer.await;
    connection.abort();
    answer
}

/// The beginning of a body; the rest is not waited for.
async fn read_body(mut body: hyper::body::Incoming) -> Result<String, String> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(|error| error.to_string())?.data_ref() {
            read.extend_from_slice(data);
        }
        if read.len() >= OUTPUT_LIMIT {
            read.truncate(OUTPUT_LIMIT);
            break;
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// The path a redirect leads to, if it stays on the host.
fn redirect(request: &HttpRequest, headers: &http::HeaderMap) -> Option<String> {
    let location = headers.get(http::header::LOCATION)?.to_str().ok()?;
    let target: http::Uri = location.parse().ok()?;
    let same_host = target.host().is_none_or(|host| host == request.host);
    let path = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    same_host.then(|| path.to_owned())
}

fn build(request: &HttpRequest) -> Result<http::Request<Empty<Bytes>>, String> {
    let given = |name: &str| request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    let mut builder = http::Request::get(&request.path);
    if given("host").is_none() {
        builder = builder.header("Host", host_port(&request.host, request.port));
    }
    if given("user-agent").is_none() {
        builder = builder.header("User-Agent", "kube-probe/1.36");
    }
    if given("accept").is_none() {
        builder = builder.header("Accept", "*/*");
    }
    builder = builder.header("Connection", "close");
    // An empty value takes a default header away.
    for (name, value) in request.headers.iter().filter(|(_, value)| !value.is_empty()) {
        builder = builder.header(name, value);
    }
    builder.body(Empty::new()).map_err(|error| error.to_string())
}

/// Probes accept whatever certificate a server has.
static ANY_SERVER: LazyLock<Arc<rustls::ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    Arc::new(
        builder
            .dangerous()
            .with_custom_certificate_verifier(skiff_listener::verifier(skiff_listener::Anybody))
            .with_no_client_auth(),
    )
});

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Serves each of `answers` to one connection and returns what probing gives.
    async fn check(answers: &'static [&'static str], expected: Outcome) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = socket.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /"));
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let request = HttpRequest {
            https: false,
            host: "127.0.0.1".into(),
            port: skiff_ports::TargetPort::of(port).unwrap(),
            path: "/".into(),
            headers: Vec::new(),
        };
        assert_eq!(get(&request, Duration::ZERO).await, expected);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn statuses_decide() {
        check(&["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], Outcome::Success).await;
        let warning =
            |body: &str| Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"));
        check(&["HTTP/1.1 304 Not Modified\r\n\r\n"], warning("")).await;
        let failed = Outcome::Failure("HTTP probe failed with statuscode: 500".into());
        check(&["HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"], failed).await;
        check(
            &[
                "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            ],
            Outcome::Success,
        )
        .await;
        check(
            &["HTTP/1.1 302 Found\r\nlocation: http://example.com/\r\ncontent-length: 3\r\n\r\nbye"],
            warning("bye"),
        )
        .await;
    }

    #[tokio::test]
    async fn a_refused_connection_reads_as_elsewhere() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let request = HttpRequest {
            https: false,
            host: "127.0.0.1".into(),
            port: skiff_ports::TargetPort::of(port).unwrap(),
            path: "/z".into(),
            headers: Vec::new(),
        };
        let text = format!(
            "Get \"http://127.0.0.1:{port}/z\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        );
        assert_eq!(get(&request, Duration::ZERO).await, Outcome::Failure(text));
    }

    #[tokio::test]
    async fn servers_that_answer_nothing_or_without_tls_read_as_elsewhere() {
        let check = async |https: bool, answer: &'static [u8], expected: &str| {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(async move {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                assert!(socket.read(&mut request).await.unwrap() > 0);
                socket.write_all(answer).await.unwrap();
            });
            let port = skiff_ports::TargetPort::of(port).unwrap();
            let (host, path) = ("127.0.0.1".into(), "/".into());
            let request = HttpRequest { https, host, port, path, headers: Vec::new() };
            let outcome = get(&request, Duration::ZERO).await;
            let text = format!("Get \"{}\": {expected}", request.url());
            assert_eq!(outcome, Outcome::Failure(text));
            server.await.unwrap();
        };
        let plain = &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..];
        check(true, plain, "http: server gave HTTP response to HTTPS client").await;
        check(false, &b""[..], "EOF").await;
    }
}
