//! A user of a kubeconfig: what a server is shown of who calls it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use skiff_auth::front_proxy;

use super::tls::{self, Identity};

/// What a server is shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(super) headers: HeaderMap,
    pub(super) identity: Option<Identity>,
}

impl Shown {
    /// A bearer token; nothing if that is empty.
    ///
    /// # Errors
    /// When it cannot stand in a header.
    pub(crate) fn bearer(token: &str) -> Result<Self, String> {
        let mut shown = Self::default();
        if !token.is_empty() {
            shown.headers.insert(AUTHORIZATION, bearer_header(token.as_bytes())?);
        }
        Ok(shown)
    }
}

/// Something secret, in the kubeconfig or in a file that it names. Files may change while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    Data(Vec<u8>),
    File(PathBuf),
}

impl Secret {
    pub(super) async fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Data(data) => Ok(data.clone()),
            Self::File(file) => tokio::fs::read(file).await.map_err(|error| unreadable(file, &error)),
        }
    }

    pub(super) fn read_at_start(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Data(data) => Ok(data.clone()),
            Self::File(file) => std::fs::read(file).map_err(|error| unreadable(file, &error)),
        }
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> String {
    format!("unable to read {}: {error}", file.display())
}

/// A user of a kubeconfig.
#[derive(Debug, Default)]
pub(super) struct User {
    pub(super) bearer: Option<Secret>,
    basic: Option<String>,
    /// Whom it asks to be taken for.
    impersonated: HeaderMap,
    /// Certificate and key.
    identity: Option<(Secret, Secret)>,
}

/// Other ways to say who calls, which nobody takes here.
const REFUSED: [&str; 2] = ["exec", "auth-provider"];

impl User {
    /// Reads it as the kubeconfig writes it.
    pub(super) fn of(info: &Value) -> Result<Self, String> {
        if let Some(field) = REFUSED.into_iter().find(|field| !info[*field].is_null()) {
            return Err(format!("{field}: Forbidden: webhooks are shown tokens, passwords and certificates"));
        }
        let text = |field: &str| info[field].as_str().filter(|text| !text.is_empty());
        let token = text("token").map(|token| Secret::Data(token.into()));
        let bearer = text("tokenFile").map(|file| Secret::File(file.into())).or(token);
        let (name, password) = (text("username"), text("password"));
        let basic = (name.is_some() || password.is_some())
            .then(|| format!("{}:{}", name.unwrap_or_default(), password.unwrap_or_default()));
        if bearer.is_some() && basic.is_some() {
            return Err(
                "token: Forbidden: username/password or bearer token may be set, but not both".to_owned()
            );
        }
        let certificate = secret(info, "client-certificate")?;
        let key = secret(info, "client-key")?;
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err("client-key: Required value: of the client certificate".to_owned()),
            (None, Some(_)) => return Err("client-certificate: Required value: of the client key".to_owned()),
        };
        Ok(Self { bearer, basic, impersonated: impersonated(info)?, identity })
    }

    /// Whether it can be shown now.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(bearer) = &self.bearer {
            bearer_header(&bearer.read_at_start().map_err(|why| format!("tokenFile: {why}"))?)?;
        }
        if let Some((certificate, key)) = &self.identity {
            let certificate =
                certificate.read_at_start().map_err(|why| format!("client-certificate: {why}"))?;
            let key = key.read_at_start().map_err(|why| format!("client-key: {why}"))?;
            tls::certified(&Identity { certificate, key })
                .map_err(|why| format!("client-certificate: {why}"))?;
        }
        Ok(())
    }

    pub(super) async fn shown(&self) -> Result<Shown, String> {
        let mut headers = self.impersonated.clone();
        let authorization = match (&self.bearer, &self.basic) {
            (Some(bearer), _) => Some(bearer_header(&bearer.read().await?)?),
            (None, Some(basic)) => Some(header(&format!("Basic {}", STANDARD.encode(basic)))?),
            (None, None) => None,
        };
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let identity = match &self.identity {
            Some((certificate, key)) => {
                Some(Identity { certificate: certificate.read().await?, key: key.read().await? })
            }
            None => None,
        };
        Ok(Shown { headers, identity })
    }
}

/// The headers by which it asks to be taken for another.
fn impersonated(info: &Value) -> Result<HeaderMap, String> {
    let value = |field: &str, text: &str| {
        HeaderValue::from_str(text)
            .map_err(|_| format!("{field}: Invalid value: it cannot stand in a header"))
    };
    let mut headers = HeaderMap::new();
    let text = |field: &str| info[field].as_str().filter(|text| !text.is_empty());
    let Some(name) = text("as") else {
        let more = ["as-uid", "as-groups", "as-user-extra"].into_iter().find(|field| !info[*field].is_null());
        return more.map_or(Ok(headers), |field| Err(format!("{field}: Forbidden: without `as`")));
    };
    headers.append(HeaderName::from_static("impersonate-user"), value("as", name)?);
    if let Some(uid) = text("as-uid") {
        headers.append(HeaderName::from_static("impersonate-uid"), value("as-uid", uid)?);
    }
    for group in info["as-groups"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        headers.append(HeaderName::from_static("impersonate-group"), value("as-groups", group)?);
    }
    for (key, values) in info["as-user-extra"].as_object().into_iter().flatten() {
        let name = format!("impersonate-extra-{}", front_proxy::escape(key));
        let name =
            HeaderName::try_from(name).map_err(|error| format!("as-user-extra: Invalid value: {error}"))?;
        for one in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            headers.append(name.clone(), value("as-user-extra", one)?);
        }
    }
    Ok(headers)
}

/// What stands in a field as base64 or, if there is nothing, in the file of the other field.
pub(super) fn secret(info: &Value, field: &str) -> Result<Option<Secret>, String> {
    let text = |field: &str| info[field].as_str().filter(|text| !text.is_empty());
    let data = format!("{field}-data");
    if let Some(text) = text(&data) {
        let decoded = STANDARD.decode(text).map_err(|error| format!("{data}: Invalid value: {error}"))?;
        return Ok(Some(Secret::Data(decoded)));
    }
    Ok(text(field).map(|file| Secret::File(file.into())))
}

fn bearer_header(token: &[u8]) -> Result<HeaderValue, String> {
    let token = std::str::from_utf8(token).map_err(|error| format!("token: Invalid value: {error}"))?.trim();
    if token.is_empty() {
        return Err("token: Invalid value: it is empty".to_owned());
    }
    header(&format!("Bearer {token}"))
}

fn header(text: &str) -> Result<HeaderValue, String> {
    let made = HeaderValue::from_str(text).map(|mut value| {
        value.set_sensitive(true);
        value
    });
    made.map_err(|_| "token: Invalid value: it cannot stand in a header".to_owned())
}
