//! A registry of images for tests: a small HTTP server that asks for what registries ask for.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::Digest;

/// What clients have to bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// `user:password` in base 64, with each request.
    Basic(&'static str),
    /// `user:password` in base 64 for the token server, and the token that it gives for the registry.
    Token(&'static str),
    /// An identity token for the token server (OAuth 2's refresh token), and the token that it gives for the registry.
    Identity(&'static str),
}

/// What a registry answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status line after the version, e.g. `200 OK`.
    pub status: &'static str,
    /// Header lines.
    pub headers: Vec<String>,
    /// What follows.
    pub body: Vec<u8>,
}

impl Answer {
    /// A success with a content type.
    #[must_use]
    pub fn ok(kind: &str, body: Vec<u8>) -> Self {
        Self { status: "200 OK", headers: vec![format!("Content-Type: {kind}")], body }
    }
}

/// A registry on an address of the loopback interface. Its threads end with the test.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// The token that the token server gives.
const TOKEN: &str = "a-token-of-the-registry";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

impl Registry {
    /// Starts an empty registry; port 0 stands for any.
    #[must_use]
    pub fn start(port: u16, access: Access) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, seen) = (Arc::<Mutex<HashMap<String, Answer>>>::default(), Arc::default());
        let registry = Self { address, answers: answers.clone(), seen: Arc::clone(&seen) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (access, answers, seen) = (access.clone(), answers.clone(), seen.clone());
                // A client that goes away is no failure of the test.
                std::thread::spawn(move || drop(serve(&stream, address, &access, &answers, &seen)));
            }
        });
        registry
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the answer for a path such as `/v2/team/app/manifests/1`.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Offers an image of uncompressed layers. Returns its reference.
    pub fn publish(&self, repository: &str, tag: &str, config: &[u8], layers: &[Vec<u8>]) -> String {
        let descriptor = |kind: &str, bytes: &[u8]| {
            let path = format!("/v2/{repository}/blobs/{}", digest(bytes));
            self.answer(&path, Answer::ok("application/octet-stream", bytes.to_vec()));
            serde_json::json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
        };
        let layer = |bytes: &Vec<u8>| descriptor("application/vnd.oci.image.layer.v1.tar", bytes);
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let path = format!("/v2/{repository}/manifests/");
        self.answer(&(path.clone() + &digest(&manifest)), Answer::ok(MANIFEST, manifest.clone()));
        self.answer(&(path + tag), Answer::ok(MANIFEST, manifest));
        format!("{}/{repository}:{tag}", self.host())
    }

    /// The requests so far: path, and the first word of the `Authorization` header or `-`.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// The digest of a blob.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn serve(
    stream: &TcpStream,
    address: SocketAddr,
    access: &Access,
    answers: &Mutex<HashMap<String, Answer>>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.take(64 << 10));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut authorization, mut length) = (None, 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let (name, value) = match line.trim_end().split_once(": ") {
            Some(header) => header,
            None => break,
        };
        if name.eq_ignore_ascii_case("authorization") {
            authorization = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form)?;
    let path = target.split('?').next().unwrap_or_default();
    let scheme = authorization.as_deref().and_then(|text| text.split(' ').next()).unwrap_or("-");
    seen.lock().unwrap().push(format!("{path} {scheme}"));
    let asked =
        Asked { path, authorization: authorization.as_deref(), form: &String::from_utf8_lossy(&form) };
    let answer = match refusal(address, access, &asked) {
        Some(answer) => answer,
        None => answers
            .lock()
            .unwrap()
            .get(path)
            .cloned()
            .unwrap_or_else(|| error("404 Not Found", "MANIFEST_UNKNOWN", "manifest unknown")),
    };
    let Answer { status, headers, body } = answer;
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

struct Asked<'a> {
    path: &'a str,
    authorization: Option<&'a str>,
    form: &'a str,
}

/// What is answered instead of the thing asked for.
fn refusal(address: SocketAddr, access: &Access, asked: &Asked<'_>) -> Option<Answer> {
    let &Asked { path, authorization, form } = asked;
    let (wanted, challenge) = match access {
        Access::Open => return None,
        Access::Basic(credentials) => (format!("Basic {credentials}"), "Basic realm=\"a test\"".to_owned()),
        Access::Token(credentials) if path == "/token" => {
            return Some(token_if(authorization == Some(&format!("Basic {credentials}")), "token"));
        }
        Access::Identity(token) if path == "/token" => {
            let token = token.replace('/', "%2F").replace('+', "%2B");
            let fields: Vec<&str> = form.split('&').collect();
            let wanted = [
                "grant_type=refresh_token",
                "service=a+test",
                "client_id=skiff",
                &format!("refresh_token={token}"),
            ];
            let scoped = fields.iter().any(|field| field.starts_with("scope=repository%3A"));
            return Some(token_if(
                scoped && wanted.iter().all(|field| fields.contains(field)),
                "access_token",
            ));
        }
        Access::Token(_) | Access::Identity(_) => {
            let challenge = format!("Bearer realm=\"http://{address}/token\",service=\"a test\"");
            (format!("Bearer {TOKEN}"), challenge)
        }
    };
    if authorization == Some(wanted.as_str()) {
        return None;
    }
    let mut answer = error("401 Unauthorized", "UNAUTHORIZED", "authentication required");
    answer.headers.push(format!("WWW-Authenticate: {challenge}"));
    Some(answer)
}

/// The token server's answer.
fn token_if(right: bool, field: &str) -> Answer {
    if right {
        let token = serde_json::json!({field: TOKEN}).to_string();
        return Answer::ok("application/json", token.into_bytes());
    }
    error("401 Unauthorized", "UNAUTHORIZED", "incorrect username or password")
}

fn error(status: &'static str, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string();
    Answer { status, headers: vec!["Content-Type: application/json".into()], body: body.into_bytes() }
}
