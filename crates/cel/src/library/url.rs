//! URLs, as Go reads and writes them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use crate::error::EvalError;
use crate::value::{Key, Map, Value};

use super::{Outcome, Table};

pub(super) const FUNCTIONS: Table = &[
    ("url", &["string_to_url (string) -> URL"], |_, args| match args {
        [Value::String(text)] => Url::parse(text).map(|url| Value::Url(Arc::new(url))).map_err(|problem| {
            EvalError::new(format!("URL parse error during conversion from string: {problem}"))
        }),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("getScheme", &["url_get_scheme URL.() -> string"], |_, args| text(args, |url| url.scheme.clone())),
    ("getHost", &["url_get_host URL.() -> string"], |_, args| text(args, |url| url.host.clone())),
    ("getHostname", &["url_get_hostname URL.() -> string"], |_, args| {
        text(args, |url| url.host_and_port().0.to_owned())
    }),
    ("getPort", &["url_get_port URL.() -> string"], |_, args| {
        text(args, |url| url.host_and_port().1.to_owned())
    }),
    ("getEscapedPath", &["url_get_escaped_path URL.() -> string"], |_, args| text(args, Url::escaped_path)),
    ("getQuery", &["url_get_query URL.() -> map(string, list(string))"], |_, args| match args {
        [Value::Url(url)] => Ok(url.query_map()),
        _ => Err(EvalError::no_such_overload()),
    }),
    ("isURL", &["is_url_string (string) -> bool"], |_, args| match args {
        [Value::String(text)] => Ok(Value::Bool(Url::parse(text).is_ok())),
        _ => Err(EvalError::no_such_overload()),
    }),
];

fn text<'a>(args: &[Value<'a>], get: impl FnOnce(&Url) -> String) -> Outcome<'a> {
    match args {
        [Value::Url(url)] => Ok(Value::text(get(url))),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// An absolute URL, or an absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    /// What follows a scheme without a slash.
    opaque: String,
    user: Option<String>,
    /// With the port.
    host: String,
    has_authority: bool,
    /// As it was written.
    path: String,
    query: Option<String>,
}

impl Url {
    /// Reads a URL; the message of an error is Go's.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|problem| format!("parse {text:?}: {problem}"))
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        if text.is_empty() {
            return Err("empty url".to_owned());
        }
        let (scheme, rest) = split_scheme(text)?;
        // A fragment belongs to the URL of a document, not to one that is requested.
        let (rest, query) =
            rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query.to_owned())));
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            opaque: String::new(),
            user: None,
            host: String::new(),
            has_authority: false,
            path: String::new(),
            query,
        };
        if text == "*" {
            url.path = "*".to_owned();
            return Ok(url);
        }
        if !rest.starts_with('/') {
            if url.scheme.is_empty() {
                return Err("invalid URI for request".to_owned());
            }
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        let mut path = rest;
        if let Some(authority) = rest.strip_prefix("//")
            && !url.scheme.is_empty()
        {
            let (authority, after) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
            url.read_authority(authority)?;
            path = after;
        }
        unescape(path, |_| true)?;
        url.path = path.to_owned();
        Ok(url)
    }

    fn read_authority(&mut self, authority: &str) -> Result<(), String> {
        self.has_authority = true;
        let (user, host) =
            authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        self.host = self.read_host(host)?;
        if let Some(user) = user {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
            if !user.chars().all(allowed) {
                return Err("net/url: invalid userinfo".to_owned());
            }
            unescape(user, |_| true)?;
            self.user = Some(user.to_owned());
        }
        Ok(())
    }

    fn read_host(&self, host: &str) -> Result<String, String> {
        let check_port = |port: &str| {
            let digits =
                port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
            if port.is_empty() || digits { Ok(()) } else { Err(format!("invalid port {port:?} after host")) }
        };
        match host.rfind('[') {
            Some(0) => {
                let end = host.rfind(']').ok_or("missing ']' in host")?;
                check_port(&host[end + 1..])?;
                let name = unescape(&host[1..end], |_| true)?;
                let address = name.split('%').next().unwrap_or_default();
                if address.parse::<Ipv6Addr>().is_err() {
                    return Err(format!("invalid host: ParseAddr({name:?}): unable to parse IP"));
                }
                return Ok(format!("[{name}]{}", &host[end + 1..]));
            }
            Some(_) => return Err("invalid IP-literal".to_owned()),
            None => {}
        }
        let strict = matches!(self.scheme.as_str(), "http" | "https");
        if let Some(colon) = if strict { host.find(':') } else { host.rfind(':') } {
            check_port(&host[colon..])?;
        }
        let plain =
            |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]<>\"".contains(c) || !c.is_ascii();
        if let Some(c) = host.chars().find(|c| *c != '%' && !plain(*c)) {
            return Err(format!("invalid character {:?} in host name", c.to_string()));
        }
        unescape(host, |byte| byte >= 0x80)
    }

    fn host_and_port(&self) -> (&str, &str) {
        let bracket = self.host.rfind(']').map_or(0, |at| at + 1);
        let (name, port) = match self.host[bracket..].rfind(':') {
            Some(colon) => (&self.host[..bracket + colon], &self.host[bracket + colon + 1..]),
            None => (self.host.as_str(), ""),
        };
        (name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name), port)
    }

    /// As it was written, when that is a valid form; else escaped anew.
    fn escaped_path(&self) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/[]%".contains(c);
        if self.path.chars().all(allowed) {
            return self.path.clone();
        }
        let mut escaped = String::new();
        let bytes = unescape_bytes(&self.path).unwrap_or_else(|_| self.path.clone().into_bytes());
        for byte in bytes {
            if byte.is_ascii_alphanumeric() || b"-._~$&+,/:;=@".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
        escaped
    }

    fn query_map<'a>(&self) -> Value<'a> {
        let mut all: BTreeMap<Key, Vec<Value<'a>>> = BTreeMap::new();
        for part in self.query.as_deref().unwrap_or_default().split('&') {
            if part.is_empty() || part.contains(';') {
                continue;
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let decode = |text: &str| unescape(&text.replace('+', " "), |_| true);
            if let (Ok(key), Ok(value)) = (decode(key), decode(value)) {
                all.entry(Key::String(key.into())).or_default().push(Value::text(value));
            }
        }
        Value::Map(Map::of(all.into_iter().map(|(key, values)| (key, Value::list(values))).collect()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            if self.has_authority {
                f.write_str("//")?;
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&self.host)?;
            }
            f.write_str(&self.escaped_path())?;
        } else {
            f.write_str(&self.opaque)?;
        }
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

/// The scheme of a URL, empty where there is none, and what follows it.
///
/// # Errors
/// When the URL begins with a colon; the text is that of Go's library.
pub fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn unescape_bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let hex = digits.filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => {
                let shown = [b"%", after.get(..2).unwrap_or(after)].concat();
                return Err(format!("invalid URL escape {:?}", String::from_utf8_lossy(&shown)));
            }
        }
        rest = &after[2..];
    }
    Ok(bytes)
}

/// The text with its escapes replaced; `allowed` says which bytes may be written as escapes.
fn unescape(text: &str, allowed: fn(u8) -> bool) -> Result<String, String> {
    let bytes = unescape_bytes(text)?;
    if !allowed(b'/')
        && let Some(at) = text.find('%')
        && bytes.get(at).is_some_and(|byte| !allowed(*byte))
    {
        return Err(format!("invalid URL escape {:?}", text.get(at..at + 3).unwrap_or_default()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
