//! Users that a proxy in front vouches for: the headers `X-Remote-…` (Kubernetes' "authenticating proxy"). They are read of
//! whoever shows the front proxy's certificate, and written to API servers that this one passes requests on to.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::header::{InvalidHeaderName, InvalidHeaderValue};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use skiff_identity::{ANONYMOUS, AUTHENTICATED, PeerIdentity, UNAUTHENTICATED, UserInfo};
use skiff_pki::FRONT_PROXY_CLIENT;
use thiserror::Error;

use super::authenticate::CredentialError;

/// The name of the user.
pub const USER: &str = "X-Remote-User";
/// What tells it from others of that name.
pub const UID: &str = "X-Remote-Uid";
/// One of the user's groups.
pub const GROUP: &str = "X-Remote-Group";
/// What else is known of the user: the key follows.
pub const EXTRA: &str = "X-Remote-Extra-";

/// For whom a front proxy vouches.
pub(super) fn user(peer: &PeerIdentity, headers: &HeaderMap) -> Result<UserInfo, CredentialError> {
    if peer.common_name != FRONT_PROXY_CLIENT {
        let text = format!("x509: subject with cn={} is not in the allowed list", peer.common_name);
        return Err(CredentialError(text));
    }
    let all = |name: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let first = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let name = first(USER);
    if name.is_empty() {
        return Err(CredentialError("the front proxy vouches for nobody".to_owned()));
    }
    let mut groups = all(GROUP);
    let decided = [AUTHENTICATED, UNAUTHENTICATED];
    if name != ANONYMOUS && !groups.iter().any(|group| decided.contains(&group.as_str())) {
        groups.push(AUTHENTICATED.to_owned());
    }
    Ok(UserInfo { name, uid: first(UID), groups, extra: extra(headers) })
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let prefix = EXTRA.to_ascii_lowercase();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(&prefix) {
            let key = percent_decode_str(key).decode_utf8_lossy().to_lowercase();
            extra.entry(key).or_default().push(value.to_str().unwrap_or_default().to_owned());
        }
    }
    extra
}

/// A user that cannot be told of in headers.
#[derive(Debug, Error)]
pub enum UntellableUser {
    /// A key of what else is known.
    #[error(transparent)]
    Name(#[from] InvalidHeaderName),
    /// A name, a group or the like.
    #[error(transparent)]
    Value(#[from] InvalidHeaderValue),
}

/// Vouches for a user in the headers of a request, which have no such words as yet.
///
/// # Errors
/// See [`UntellableUser`]; some of the words are there then.
pub fn vouch(headers: &mut HeaderMap, user: &UserInfo) -> Result<(), UntellableUser> {
    let mut put = |name: &str, value: &str| {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value.as_bytes())?);
        Ok::<_, UntellableUser>(())
    };
    put(USER, &user.name)?;
    if !user.uid.is_empty() {
        put(UID, &user.uid)?;
    }
    user.groups.iter().try_for_each(|group| put(GROUP, group))?;
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", escape(key));
        values.iter().try_for_each(|value| put(&name, value))?;
    }
    Ok(())
}

/// A key as a part of a header's name: what cannot be in one is percent-encoded.
pub fn escape(key: &str) -> String {
    let mut out = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing into a String does not fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(name: &str) -> PeerIdentity {
        PeerIdentity {
            common_name: name.to_owned(),
            organizations: Vec::new(),
            credential: String::new(),
            end: i64::MAX,
            is_front_proxy: true,
        }
    }

    #[test]
    fn what_one_server_tells_the_other_reads() {
        let told = UserInfo {
            uid: "7".to_owned(),
            extra: [("example.com/scopes%".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into(),
            ..UserInfo::service_account("ns", "sa")
        };
        let mut headers = HeaderMap::new();
        vouch(&mut headers, &told).unwrap();
        assert!(headers.contains_key("x-remote-extra-example.com%2fscopes%25"), "{headers:?}");
        assert_eq!(user(&proxy("front-proxy-client"), &headers).unwrap(), told);
        assert!(vouch(&mut headers, &UserInfo::authenticated("a\nb", [])).is_err());
    }

    #[test]
    fn only_the_front_proxy_vouches_and_for_somebody() {
        let mut headers = HeaderMap::new();
        assert!(user(&proxy("front-proxy-client"), &headers).is_err());
        headers.insert("x-remote-user", HeaderValue::from_static("bob"));
        assert!(user(&proxy("somebody"), &headers).is_err());
        let bob = user(&proxy("front-proxy-client"), &headers).unwrap();
        assert_eq!((&*bob.name, &bob.groups[..]), ("bob", &["system:authenticated".to_owned()][..]));
    }
}
