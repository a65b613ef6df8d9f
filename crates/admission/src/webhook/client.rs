//! How webhooks are reached, and what is said when they are not.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;

use crate::refusal::Refusal;
use crate::surroundings::text;

/// Where a webhook listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An address outside or inside the cluster.
    Url(String),
    /// A Service; its certificate must be for `NAME.NAMESPACE.svc`.
    Service {
        /// Of the Service.
        namespace: String,
        /// Of the Service.
        name: String,
        /// Empty, or with a `/` at its start.
        path: String,
        /// Of the Service.
        port: u16,
    },
}

/// How a webhook is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Where it listens.
    pub target: Target,
    /// Certificates in PEM by which its certificate is checked; those of the system when there are none.
    pub ca_bundle: Vec<u8>,
}

/// Outgoing calls.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Sends `body` as a POST of `application/json` to [`ClientConfig::url`], over HTTP/1.1, and gives the body of the answer. After
    /// `timeout` the call is given up as [`CallError::Failed`] with `context deadline exceeded`.
    async fn call(&self, client: &ClientConfig, body: Bytes, timeout: Duration) -> Result<Bytes, CallError>;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// There was no HTTP answer, for this reason: `service "x" not found`, `connection refused` …
    Failed(String),
    /// The answer was not one of success.
    Status {
        /// The HTTP status code.
        code: u16,
        /// The body.
        body: Bytes,
        /// Whether the body is said to be text, or nothing is said of it.
        is_text: bool,
    },
}

/// So much of the text of an answer is shown.
const SHOWN: usize = 2048;

impl ClientConfig {
    /// Reads a `WebhookClientConfig`.
    pub fn of(config: &Value) -> Self {
        let target = match config.get("service").filter(|service| service.is_object()) {
            Some(service) => {
                let port = service.get("port").and_then(Value::as_u64).filter(|port| *port != 0);
                Target::Service {
                    namespace: text(service, "namespace").to_owned(),
                    name: text(service, "name").to_owned(),
                    path: text(service, "path").to_owned(),
                    port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
                }
            }
            None => Target::Url(text(config, "url").to_owned()),
        };
        let ca_bundle = base64::engine::general_purpose::STANDARD.decode(text(config, "caBundle"));
        Self { target, ca_bundle: ca_bundle.unwrap_or_default() }
    }

    /// The address with the time that the call may take, which the webhook is told.
    pub fn url(&self, timeout: Duration) -> String {
        let address = match &self.target {
            Target::Url(url) => url.clone(),
            Target::Service { namespace, name, path, port } => {
                let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
                format!("https://{name}.{namespace}.svc:{port}{slash}{path}")
            }
        };
        format!("{address}?timeout={}", whole_seconds(timeout))
    }
}

/// A duration, rounded up to seconds, as Go prints it.
fn whole_seconds(timeout: Duration) -> String {
    let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

impl CallError {
    /// As messages say it.
    pub fn text(&self, client: &ClientConfig, timeout: Duration) -> String {
        match self {
            Self::Failed(why) => format!("Post {:?}: {why}", client.url(timeout)),
            Self::Status { code, body, is_text } => {
                // A Status in the body says it better.
                if let Ok(status) = serde_json::from_slice::<Value>(body)
                    && status["kind"] == "Status"
                    && status["apiVersion"] == "v1"
                    && status["status"] != "Success"
                    && let Ok(refusal) = serde_json::from_value::<Refusal>(status)
                {
                    return refusal.message;
                }
                let shown = body.get(..SHOWN).unwrap_or(body);
                let said = String::from_utf8_lossy(shown);
                http_text(*code, if *is_text { said.trim() } else { "unknown" })
            }
        }
    }
}

/// What an HTTP status means, with what the server said.
fn http_text(code: u16, said: &str) -> String {
    let text = match code {
        400 => "the server rejected our request for an unknown reason",
        401 => "the server has asked for the client to provide credentials",
        404 => "the server could not find the requested resource",
        405 => "the server does not allow this method on the requested resource",
        406 if said.is_empty() || said == "unknown" => {
            "the server was unable to respond with a content type that the client supports"
        }
        403 | 406 | 415 => said,
        409 => "the server reported a conflict",
        422 => "the server rejected our request due to an error in our request",
        429 => "the server has received too many requests and has asked us to try again later",
        503 => "the server is currently unable to handle the request",
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
        }
        500.. => {
            return format!("an error on the server ({said:?}) has prevented the request from succeeding");
        }
        _ => {
            return format!(
                "the server responded with the status code {code} but did not return more information"
            );
        }
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_those_that_messages_show() {
        let check = |config: Value, seconds: f64, expected: &str| {
            let url = ClientConfig::of(&config).url(Duration::from_secs_f64(seconds));
            assert_eq!(url, expected, "{config}");
        };
        let service = |more: Value| {
            let mut service = json!({"name": "hook", "namespace": "web"});
            more.as_object().unwrap().iter().for_each(|(name, value)| service[name] = value.clone());
            json!({"service": service})
        };
        check(service(json!({})), 10.0, "https://hook.web.svc:443?timeout=10s");
        check(service(json!({"path": "/a", "port": 8443})), 1.5, "https://hook.web.svc:8443/a?timeout=2s");
        check(service(json!({"path": "a"})), 61.0, "https://hook.web.svc:443/a?timeout=1m1s");
        check(json!({"url": "https://example.com/a"}), 30.0, "https://example.com/a?timeout=30s");
    }

    #[test]
    fn answers_without_success_are_explained() {
        let client = ClientConfig::of(&json!({"url": "https://example.com"}));
        let check = |error: CallError, expected: &str| {
            assert_eq!(error.text(&client, Duration::from_secs(10)), expected);
        };
        let status =
            |code, body: &str, is_text| CallError::Status { code, body: body.to_owned().into(), is_text };
        check(
            CallError::Failed("context deadline exceeded".to_owned()),
            "Post \"https://example.com?timeout=10s\": context deadline exceeded",
        );
        check(status(404, "", true), "the server could not find the requested resource");
        check(
            status(500, "oh \"no\"\n", true),
            "an error on the server (\"oh \\\"no\\\"\") has prevented the request from succeeding",
        );
        check(
            status(502, "<html>", false),
            "an error on the server (\"unknown\") has prevented the request from succeeding",
        );
        check(status(403, "go away", true), "go away");
        check(
            status(418, "", true),
            "the server responded with the status code 418 but did not return more information",
        );
        let said = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"mine","code":500}"#;
        check(status(500, said, false), "mine");
    }
}
