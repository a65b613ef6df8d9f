//! Paging and revision options of lists, and the tokens that continue them.
//!
//! A token is Kubernetes' own, a public format that does not change: `{"v":"meta.k8s.io/v1","rv":…,"start":…}` in base64,
//! with the first key that may follow, relative to the collection; a negative revision stands for the newest.

use std::num::{IntErrorKind, NonZeroUsize, ParseIntError};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use skiff_machinery::{FieldError, go, keys};
use skiff_store::{Key, Page, Revision};

use super::call::Call;

use crate::errors::{ApiError, Subject};

/// The version of tokens.
const VERSION: &str = "meta.k8s.io/v1";

/// Go does not mind what is in the last bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// What a list asks for beside its selectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) limit: Option<NonZeroUsize>,
    pub(crate) after: Option<Key>,
    pub(crate) at: Option<Revision>,
    /// The list must not be older.
    pub(crate) not_older_than: Option<Revision>,
    pub(crate) continued: bool,
}

/// What a continue token holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

/// The token that continues a list after a key, at a revision or (when it is gone) at the newest.
pub(crate) fn token(call: &Call, at: Option<Revision>, after: &Key) -> String {
    encode(&keys::collection(&call.kind, call.namespace()), at, after)
}

fn encode(collection: &str, at: Option<Revision>, after: &Key) -> String {
    let rv = at.map_or(-1, |revision| i64::try_from(revision.get()).unwrap_or(i64::MAX));
    let start = format!("{}\0", after.as_str().strip_prefix(collection).unwrap_or_default());
    let token = Token { v: VERSION.to_owned(), rv, start };
    BASE64.encode(serde_json::to_vec(&token).expect("three plain fields serialise"))
}

/// The key after which a list goes on, and at which revision, in the words of Kubernetes where that fails.
fn decode(collection: &str, text: &str) -> Result<(Key, Option<Revision>), String> {
    const INVALID: &str = "continue key is not valid";
    let bytes = BASE64
        .decode(text)
        .map_err(|_| format!("{INVALID}: illegal base64 data at input byte {}", illegal_byte(text)))?;
    let wrong =
        |error| format!("{INVALID}: {}", go::syntax_error(&bytes).unwrap_or_else(|| format!("{error}")));
    let token: Token = serde_json::from_slice(&bytes).map_err(wrong)?;
    if token.v != VERSION {
        return Err(format!("{INVALID}: server does not recognize this encoded version {}", token.v));
    }
    if token.rv == 0 {
        return Err(format!("{INVALID}: incorrect encoded start resourceVersion (version {VERSION})"));
    }
    if token.start.is_empty() {
        return Err(format!("{INVALID}: encoded start key empty (version {VERSION})"));
    }
    let relative = token.start.strip_prefix('/').unwrap_or(&token.start);
    let is_clean = relative.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let Some(after) = relative.strip_suffix('\0').filter(|_| is_clean) else {
        return Err(format!("{INVALID}: {}", token.start));
    };
    Ok((Key::from(format!("{collection}{after}")), u64::try_from(token.rv).ok().map(Revision::new)))
}

/// Where base64 without padding cannot be read.
fn illegal_byte(text: &str) -> usize {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.as_bytes().iter().position(|byte| !known(byte)).unwrap_or(text.len().saturating_sub(1))
}

impl Request {
    pub(crate) fn read(call: &Call) -> Result<Self, ApiError> {
        let query = &call.query;
        let limit = query.number("limit")?.and_then(|n| usize::try_from(n).ok()).and_then(NonZeroUsize::new);
        let (version, rule) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
        // Kubernetes answers such lists from memory, as a whole.
        let limit = limit.filter(|_| version != "0" || !call.kind.strategy.is_cached());
        let token = query.get("continue");
        let send_initial = query.all("sendInitialEvents").next().is_some();
        refuse(check_options(version, rule, token, send_initial))?;
        if !token.is_empty() {
            let (after, at) = decode(&keys::collection(&call.kind, call.namespace()), token)
                .map_err(|why| ApiError::BadRequest(format!("invalid continue token: {why}")))?;
            if !matches!(version, "" | "0") {
                let text = "specifying resource version is not allowed when using continue";
                return Err(ApiError::BadRequest(text.to_owned()));
            }
            return Ok(Self { limit, after: Some(after), at, not_older_than: None, continued: true });
        }
        let version = parse_revision(version)
            .map_err(|error| ApiError::BadRequest(format!("invalid resource version: {error}")))?;
        let exact = rule == "Exact" || (rule.is_empty() && limit.is_some());
        Ok(match version.filter(|version| *version != Revision::ZERO) {
            Some(version) if exact => Self { limit, at: Some(version), ..Self::default() },
            version => Self { limit, not_older_than: version, ..Self::default() },
        })
    }

    pub(crate) fn page(&self) -> Page {
        Page { after: self.after.clone(), limit: self.limit, at: self.at }
    }
}

/// What Kubernetes refuses of a list's options.
fn check_options(version: &str, rule: &str, token: &str, send_initial: bool) -> Vec<FieldError> {
    const FIELD: &str = "resourceVersionMatch";
    let mut errors = Vec::new();
    if !rule.is_empty() && version.is_empty() {
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        errors.push(FieldError::forbidden(FIELD, why));
    }
    if !rule.is_empty() && !token.is_empty() {
        errors.push(FieldError::forbidden(FIELD, CONTINUED));
    }
    match rule {
        "Exact" if version == "0" => {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(FIELD, why));
        }
        "" | "Exact" | NOT_OLDER => {}
        other => errors.push(FieldError::not_supported(FIELD, other, &["Exact", NOT_OLDER, ""])),
    }
    if send_initial {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    errors
}

/// What Kubernetes refuses of a watch's options. A watch that neither says from when it is, nor of what it is sent first, is
/// sent what there is, and as if that had been asked for.
pub(crate) fn check_watch_options(
    version: &str,
    rule: &str,
    token: &str,
    send_initial: bool,
) -> Vec<FieldError> {
    const FIELD: &str = "resourceVersionMatch";
    let mut errors = Vec::new();
    let is_silent = !send_initial && rule.is_empty() && matches!(version, "" | "0");
    let (rule, send_initial) = if is_silent { (NOT_OLDER, true) } else { (rule, send_initial) };
    if send_initial && rule != NOT_OLDER {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(FIELD, why));
    }
    if rule.is_empty() {
        return errors;
    }
    if !send_initial {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(FieldError::forbidden(FIELD, why));
    }
    if rule != NOT_OLDER {
        errors.push(FieldError::not_supported(FIELD, rule, &[NOT_OLDER]));
    }
    if !token.is_empty() {
        errors.push(FieldError::forbidden(FIELD, CONTINUED));
    }
    errors
}

const NOT_OLDER: &str = "NotOlderThan";

const CONTINUED: &str = "resourceVersionMatch is forbidden when continue is provided";

/// Options with errors are refused.
pub(crate) fn refuse(errors: Vec<FieldError>) -> Result<(), ApiError> {
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(options_subject(), errors)) }
}

/// What errors about list options name.
fn options_subject() -> Subject {
    Subject { group: "meta.k8s.io".into(), kind: "ListOptions".into(), ..Subject::default() }
}

/// A `resourceVersion` parameter; `None` when it is not there.
pub(crate) fn parse_revision(text: &str) -> Result<Option<Revision>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().map_err(|error: ParseIntError| {
        let is_large = *error.kind() == IntErrorKind::PosOverflow;
        let why = if is_large { "value out of range" } else { "invalid syntax" };
        FieldError::invalid("resourceVersion", text, format!("strconv.ParseUint: parsing {text:?}: {why}"))
    })?;
    Ok(Some(Revision::new(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_senseless_options() {
        let told = |errors: Vec<FieldError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let check = |version: &str, rule: &str, token: &str, send: bool, expected: &[&str]| {
            let found = told(check_options(version, rule, token, send));
            assert_eq!(found.len(), expected.len(), "{version} {rule} {token}: {found:?}");
            let fits = |(found, expected): (&String, &&str)| found.contains(*expected);
            assert!(found.iter().zip(expected).all(fits), "{found:?}");
        };
        check("", "", "", false, &[]);
        check("5", "Exact", "", false, &[]);
        check("0", "NotOlderThan", "", false, &[]);
        check("0", "Exact", "", false, &["\"exact\" is forbidden for resourceVersion \"0\""]);
        check("", "Exact", "", false, &["forbidden unless resourceVersion is provided"]);
        check("5", "Newest", "", false, &["Unsupported value: \"Newest\""]);
        check("", "Exact", "abc", true, &["unless resourceVersion", "when continue", "forbidden for list"]);
        let check = |rule: &str, token: &str, send: bool, expected: &[&str]| {
            let found = told(check_watch_options("5", rule, token, send));
            assert_eq!(found.len(), expected.len(), "{rule} {token} {send}: {found:?}");
            let fits = |(found, expected): (&String, &&str)| found.contains(*expected);
            assert!(found.iter().zip(expected).all(fits), "{found:?}");
        };
        check("", "", false, &[]);
        check("NotOlderThan", "", true, &[]);
        check("", "", true, &["requires setting resourceVersionMatch to NotOlderThan"]);
        check("Exact", "", true, &["requires setting", "supported values: \"NotOlderThan\""]);
        check("NotOlderThan", "abc", false, &["forbidden for watch unless", "when continue is provided"]);
        check("", "abc", false, &[]);
        let silent = told(check_watch_options("", "", "abc", false));
        assert_eq!(silent, [format!("resourceVersionMatch: Forbidden: {CONTINUED}")]);
    }

    #[test]
    fn tokens_are_those_of_kubernetes() {
        let text = encode(
            "/registry/core/pods/",
            Some(Revision::new(7)),
            &Key::from("/registry/core/pods/default/a"),
        );
        let bytes = BASE64.decode(&text).unwrap();
        assert_eq!(bytes, br#"{"v":"meta.k8s.io/v1","rv":7,"start":"default/a\u0000"}"#);
        let check = |token: &str, expected: Result<(&str, Option<u64>), &str>| {
            let found = decode("/c/", &BASE64.encode(token));
            let expected = expected.map(|(after, at)| (Key::from(after), at.map(Revision::new)));
            assert_eq!(found, expected.map_err(|why| format!("continue key is not valid: {why}")), "{token}");
        };
        check(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"default/a\u0000"}"#, Ok(("/c/default/a", Some(7))));
        check(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"a\u0000"}"#, Ok(("/c/a", None)));
        let incorrect = "incorrect encoded start resourceVersion (version meta.k8s.io/v1)";
        check(r#"{"v":"meta.k8s.io/v1","start":"a\u0000"}"#, Err(incorrect));
        let empty = "encoded start key empty (version meta.k8s.io/v1)";
        check(r#"{"v":"meta.k8s.io/v1","rv":7}"#, Err(empty));
        check(r#"{"v":"v2","rv":7}"#, Err("server does not recognize this encoded version v2"));
        check(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"../x\u0000"}"#, Err("../x\0"));
        let wrong = decode("/c/", "ab*d").unwrap_err();
        assert_eq!(wrong, "continue key is not valid: illegal base64 data at input byte 2");
        let wrong = decode("/c/", "garbage").unwrap_err();
        assert_eq!(
            wrong,
            "continue key is not valid: invalid character '\\u0081' looking for beginning of value"
        );
    }
}
