//! Requests to the API server.

use std::sync::Mutex;

use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use kube::Client;
use kube::core::Status;
use serde_json::Value;

use crate::error::Error;

/// A connection to one cluster, and the namespace to act in.
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// The server's address, for messages.
    pub(crate) server: http::Uri,
    /// Warnings that have been shown; each is shown once.
    warned: Mutex<Vec<String>>,
}

/// The body of a change, by how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Patch {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

const JSON: &str = "application/json";

/// Server-side printing, as kubectl asks for it.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

impl Api {
    pub(crate) fn new(config: kube::Config) -> Result<Self, Error> {
        let (namespace, server) = (config.default_namespace.clone(), config.cluster_url.clone());
        let client = Client::try_from(config)?;
        Ok(Self { client, namespace, server, warned: Mutex::default() })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Error> {
        self.send(Method::GET, path, JSON, JSON, None).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Result<Value, Error> {
        self.send(Method::GET, path, accept, JSON, None).await
    }

    pub(crate) async fn get_table(&self, path: &str) -> Result<Value, Error> {
        self.get_as(path, TABLE).await
    }

    /// The lines of a watch of tables.
    pub(crate) async fn watch_table(&self, path: &str) -> Result<impl futures::AsyncBufRead + use<>, Error> {
        self.stream(path, TABLE).await
    }

    /// An answer, piece by piece as it comes.
    pub(crate) async fn stream(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<impl futures::AsyncBufRead + use<>, Error> {
        let stream = self.client.request_stream(request(Method::GET, path, accept, JSON, None)?).await;
        stream.map_err(|error| self.failed(error))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(Method::POST, path, JSON, JSON, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.send(Method::PUT, path, JSON, JSON, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<Value, Error> {
        self.send(Method::DELETE, path, JSON, JSON, Some(options)).await
    }

    pub(crate) async fn patch(&self, path: &str, kind: Patch, patch: &Value) -> Result<Value, Error> {
        self.send(Method::PATCH, path, JSON, kind.content_type(), Some(patch)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        content: &'static str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let body = body.map(serde_json::to_vec).transpose()?;
        let request = request(method, path, accept, content, body)?.map(kube::client::Body::from);
        let answer = self.client.send(request).await.map_err(|error| self.failed(error))?;
        let (head, body) = answer.into_parts();
        self.warn(&head.headers);
        let bytes = body.collect().await.map_err(|error| self.failed(error))?.to_bytes();
        if head.status.is_success() {
            return Ok(serde_json::from_slice(&bytes)?);
        }
        let status = serde_json::from_slice::<Status>(&bytes).ok().filter(|status| status.code != 0);
        Err(Error::Server(Box::new(status.unwrap_or_else(|| plain_status(head.status, &bytes)))))
    }

    /// Shows what the server warns of.
    fn warn(&self, headers: &HeaderMap) {
        for header in headers.get_all(http::header::WARNING) {
            let Some(text) = header.to_str().ok().and_then(warning) else { continue };
            let mut warned = self.warned.lock().expect("nothing panics while it holds the lock");
            if !warned.contains(&text) {
                skiff_print::note(format_args!("Warning: {text}"));
                warned.push(text);
            }
        }
    }

    pub(crate) fn failed(&self, error: kube::Error) -> Error {
        if let kube::Error::Api(_) | kube::Error::SerdeError(_) = error {
            return Error::from(error);
        }
        let refused = skiff_errors::error_text(&error).contains("Connection refused");
        let host = self.server.authority().map_or_else(String::new, ToString::to_string);
        if refused { Error::Refused(host) } else { Error::from(error) }
    }
}

/// An answer that is no Status, such as that to a path that nothing serves.
fn plain_status(code: http::StatusCode, body: &[u8]) -> Status {
    let (reason, message) = match code.as_u16() {
        404 => ("NotFound", "the server could not find the requested resource".to_owned()),
        401 => ("Unauthorized", "Unauthorized".to_owned()),
        403 => ("Forbidden", String::from_utf8_lossy(body).trim().to_owned()),
        _ => ("", String::from_utf8_lossy(body).trim().to_owned()),
    };
    Status { code: code.as_u16(), reason: reason.to_owned(), message, ..Status::default() }
}

/// The text of `299 - "text"`.
fn warning(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once('"')?.1;
    let (mut text, mut escaped) = (String::new(), false);
    for c in quoted.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some(text),
            c => {
                escaped = false;
                text.push(c);
            }
        }
    }
    None
}

fn request(
    method: Method,
    path: &str,
    accept: &str,
    content: &'static str,
    body: Option<Vec<u8>>,
) -> Result<Request<Vec<u8>>, Error> {
    let mut builder = Request::builder().method(method).uri(path).header(http::header::ACCEPT, accept);
    if body.is_some() {
        builder = builder.header(http::header::CONTENT_TYPE, content);
    }
    builder.body(body.unwrap_or_default()).map_err(|error| Error::Usage(format!("{path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::warning;

    #[test]
    fn reads_warnings() {
        let check =
            |header: &str, text: Option<&str>| assert_eq!(warning(header).as_deref(), text, "{header}");
        check(r#"299 - "plain""#, Some("plain"));
        check(r#"299 skiff "a \"b\" \\c" "Tue, 01 Dec 2026 00:00:00 GMT""#, Some(r#"a "b" \c"#));
        check("110 - \"stale\"", None);
        check("299 - open", None);
    }
}
