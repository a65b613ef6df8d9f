//! The part of a registry that pulls need (OCI distribution specification 1.1), with every answer bounded in size and
//! time, and everything that is named by a digest checked against it.

use super::PullCredentials;
use super::challenge::Challenge;
use super::digest::{Digest, Hasher};
use super::documents::Descriptor;
use super::limits::{Bound, ImageLimits};
use super::reference::Reference;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use skiff_errors::error_text;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Longest silence of a registry.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest time for a document or a token, in all.
const DOCUMENT_TIME: Duration = Duration::from_secs(120);

/// Bytes that have to come in each span of [`SILENCE`].
const SLOWEST: u64 = 16 << 10;

/// Longest answer of a token server.
const TOKEN: u64 = 1 << 20;

/// What we call ourselves at token servers.
const CLIENT: &str = "skiff";

/// Longest error message that is read, in bytes.
const MESSAGE: u64 = 4 << 10;

/// Most redirects in a row.
const REDIRECTS: usize = 5;

/// Kinds of manifests that are understood.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// One repository of a registry, asked with one set of credentials.
pub(super) struct Registry<'a> {
    client: Client,
    reference: &'a Reference,
    credentials: Option<&'a PullCredentials>,
    /// What the registry asked for the last time.
    authorization: Mutex<Option<HeaderValue>>,
    limits: &'a ImageLimits,
}

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    #[error("{0}: not found")]
    NotFound(String),
    #[error("pull access denied, repository does not exist or may require authorization: {0}")]
    Denied(String),
    #[error("unexpected status from GET request to {url}: {status}{message}")]
    Status { url: String, status: StatusCode, message: String },
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("{0}: no answer within {seconds} s", seconds = DOCUMENT_TIME.as_secs())]
    Late(String),
    #[error("less than {SLOWEST} bytes within {seconds} s", seconds = SILENCE.as_secs())]
    Slow,
    #[error("the registry {0}")]
    Nonsense(String),
    #[error("the answer is not what its digest and size say: {0}")]
    Digest(Digest),
    #[error(transparent)]
    Exceeded(#[from] super::limits::Exceeded),
    #[error("keep what was downloaded: {0}")]
    File(#[from] std::io::Error),
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        reference: &'a Reference,
        credentials: Option<&'a PullCredentials>,
        limits: &'a ImageLimits,
    ) -> Result<Self, RegistryError> {
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let before = attempt.previous().last().map(Url::scheme);
            if attempt.previous().len() > REDIRECTS {
                attempt.error("it redirects in circles")
            } else if before == Some("https") && attempt.url().scheme() != "https" {
                attempt.error("it redirects to an address without TLS")
            } else {
                attempt.follow()
            }
        });
        let client = Client::builder()
            .redirect(redirects)
            .connect_timeout(SILENCE)
            .read_timeout(SILENCE)
            .user_agent(concat!("skiff/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, reference, credentials, authorization: Mutex::default(), limits })
    }

    /// A manifest or index by tag or digest, and its own digest.
    pub(super) async fn manifest(&self, version: &str) -> Result<(Vec<u8>, Digest), RegistryError> {
        let path = format!("manifests/{version}");
        let bytes = self.document(&path, MANIFESTS).await?;
        let digest = Digest::of(&bytes);
        match Digest::parse(version) {
            Ok(wanted) if wanted != digest => Err(RegistryError::Digest(wanted)),
            _ => Ok((bytes, digest)),
        }
    }

    /// A small blob, such as a configuration.
    pub(super) async fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        self.limits.check(Bound::DocumentBytes, descriptor.size)?;
        let bytes = self.document(&format!("blobs/{}", descriptor.digest), "*/*").await?;
        if bytes.len() as u64 == descriptor.size && Digest::of(&bytes) == descriptor.digest {
            Ok(bytes)
        } else {
            Err(RegistryError::Digest(descriptor.digest))
        }
    }

    /// Writes a blob into a file, which is at its start afterwards.
    pub(super) async fn download(
        &self,
        descriptor: &Descriptor,
        mut file: File,
    ) -> Result<File, RegistryError> {
        self.limits.check(Bound::ImageBytes, descriptor.size)?;
        let mut response = self.get(&format!("blobs/{}", descriptor.digest), "*/*").await?;
        let mut pace = Pace { until: Instant::now() + SILENCE, bytes: 0 };
        let (mut hash, mut length) = (Hasher::default(), 0u64);
        while let Some(bytes) = response.chunk().await? {
            length += bytes.len() as u64;
            pace.keep(bytes.len() as u64)?;
            if length > descriptor.size {
                break;
            }
            hash.update(&bytes);
            file.write_all(&bytes)?;
        }
        if length != descriptor.size || hash.finish() != descriptor.digest {
            return Err(RegistryError::Digest(descriptor.digest));
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    async fn document(&self, path: &str, accept: &'static str) -> Result<Vec<u8>, RegistryError> {
        let most = self.limits.get(Bound::DocumentBytes);
        let read = async {
            let mut response = self.get(path, accept).await?;
            match body(&mut response, most).await? {
                Some(bytes) => Ok(bytes),
                None => Err(self.limits.exceeded(Bound::DocumentBytes).into()),
            }
        };
        timeout(DOCUMENT_TIME, read).await.unwrap_or_else(|_| Err(RegistryError::Late(path.to_owned())))
    }

    /// Asks, and once more when the registry wants to know who asks.
    async fn get(&self, path: &str, accept: &'static str) -> Result<Response, RegistryError> {
        let scheme = if self.reference.is_local() { "http" } else { "https" };
        let Reference { repository, .. } = self.reference;
        let url = format!("{scheme}://{}/v2/{repository}/{path}", self.reference.host());
        let response = self.send(&url, accept).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.check(response).await;
        }
        let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let texts: Vec<&str> = headers.filter_map(|value| value.to_str().ok()).collect();
        let challenge = Challenge::parse(&texts.join(", "));
        let denied = || RegistryError::Denied("it asks for no credentials that can be given".into());
        let authorization = self.authorize(challenge.ok_or_else(denied)?).await?;
        *self.authorization.lock() = Some(authorization);
        self.check(self.send(&url, accept).await?).await
    }

    async fn send(&self, url: &str, accept: &'static str) -> Result<Response, RegistryError> {
        let mut request = self.client.get(url).header(ACCEPT, accept);
        if let Some(authorization) = self.authorization.lock().clone() {
            request = request.header(AUTHORIZATION, authorization);
        }
        Ok(request.send().await?)
    }

    async fn check(&self, mut response: Response) -> Result<Response, RegistryError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let url = response.url().to_string();
        let message = message(&body(&mut response, MESSAGE).await?.unwrap_or_default());
        Err(match status {
            StatusCode::NOT_FOUND => RegistryError::NotFound(self.reference.to_string()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Denied(message.unwrap_or_else(|| status.to_string()))
            }
            _ => {
                let message = message.map(|message| format!(": {message}")).unwrap_or_default();
                RegistryError::Status { url, status, message }
            }
        })
    }

    /// What to send with requests, as the registry asked for it.
    async fn authorize(&self, challenge: Challenge) -> Result<HeaderValue, RegistryError> {
        match challenge {
            Challenge::Basic => {
                let basic = self.credentials.and_then(PullCredentials::basic);
                basic.ok_or_else(|| RegistryError::Denied("no basic auth credentials".into()))
            }
            Challenge::Bearer { realm, service, scope } => {
                let request = self.token_request(&realm, service, scope)?;
                let late = || RegistryError::Late(realm.chars().take(200).collect());
                timeout(DOCUMENT_TIME, self.token(request)).await.unwrap_or_else(|_| Err(late()))
            }
        }
    }

    /// What asks for a token: never without TLS, unless the registry is on this machine and the token server, too. An identity
    /// token is spent by OAuth 2 (distribution specification, "Docker Registry v2 authentication using OAuth2"), everything
    /// else by the older way.
    fn token_request(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<RequestBuilder, RegistryError> {
        let shown: String = realm.chars().take(200).collect();
        let nonsense =
            || RegistryError::Nonsense(format!("asks for a token of {shown:?}, which cannot be asked"));
        let mut url = Url::parse(realm).map_err(|_| nonsense())?;
        let local = self.reference.is_local() && url.host_str().is_some_and(super::reference::is_local_host);
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            return Err(nonsense());
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository));
        let service = service.map(|service| ("service", service));
        let asked = service.into_iter().chain([("scope", scope)]);
        Ok(match self.credentials {
            Some(PullCredentials::IdentityToken(token)) => {
                let fixed =
                    [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)];
                let fixed = fixed.map(|(key, value)| (key, value.to_owned()));
                let body = encoded(fixed.into_iter().chain(asked));
                self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
            credentials => {
                url.query_pairs_mut().extend_pairs(asked);
                let request = self.client.get(url);
                match credentials.and_then(PullCredentials::basic) {
                    Some(basic) => request.header(AUTHORIZATION, basic),
                    None => request,
                }
            }
        })
    }

    async fn token(&self, request: RequestBuilder) -> Result<HeaderValue, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let mut response = self.check(request.send().await?).await?;
        let nonsense = || RegistryError::Nonsense("has a token server whose answer is no token".into());
        let bytes = body(&mut response, TOKEN).await?.ok_or_else(nonsense)?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| nonsense())?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.ok_or_else(nonsense)?));
        if let Ok(value) = &mut value {
            value.set_sensitive(true);
        }
        value.map_err(|_| nonsense())
    }
}

/// Pairs as the body of a form.
fn encoded<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut form = reqwest::Url::parse("form:").unwrap_or_else(|_| unreachable!("it is a URL"));
    form.query_pairs_mut().extend_pairs(pairs);
    form.query().unwrap_or_default().to_owned()
}

/// Sees that bytes keep coming.
struct Pace {
    until: Instant,
    bytes: u64,
}

impl Pace {
    fn keep(&mut self, bytes: u64) -> Result<(), RegistryError> {
        self.bytes += bytes;
        if Instant::now() < self.until {
            return Ok(());
        }
        if self.bytes < SLOWEST {
            return Err(RegistryError::Slow);
        }
        *self = Self { until: Instant::now() + SILENCE, bytes: 0 };
        Ok(())
    }
}

/// The body of an answer; `None` when it is longer than `most` bytes.
async fn body(response: &mut Response, most: u64) -> Result<Option<Vec<u8>>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if (bytes.len() + piece.len()) as u64 > most {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
}

/// What an error's document says (distribution specification, "Error Codes").
fn message(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Document {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        message: Option<String>,
        code: Option<String>,
    }
    let document: Document = serde_json::from_slice(body).ok()?;
    let first = document.errors.into_iter().next()?;
    let message = first.message.or(first.code)?;
    Some(message.chars().filter(|c| !c.is_control()).take(256).collect())
}

/// The error and its causes; the address of a request is no secret, but what is behind a `?` of it may be.
pub(super) fn reason(error: RegistryError) -> String {
    match error {
        RegistryError::Http(error) => {
            let address =
                error.url().map(|url| format!("{}{}", url.origin().ascii_serialization(), url.path()));
            let text = error_text(&error.without_url());
            address.map_or_else(|| text.clone(), |address| format!("GET {address}: {text}"))
        }
        other => error_text(&other),
    }
}
