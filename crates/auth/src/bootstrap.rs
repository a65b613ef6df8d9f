//! Tokens with which nodes join: Secrets of the type `bootstrap.kubernetes.io/token` in `kube-system`.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use skiff_identity::{AUTHENTICATED, UserInfo};
use skiff_machinery::Namespace;
use skiff_store::Store;

use super::Refusal;
use super::live::{self, Live};

/// The type of the Secrets.
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// Everybody who comes with such a token is in it.
const GROUP: &str = "system:bootstrappers";

/// The user of a token; none if it is no such token, or not one that holds.
pub(super) async fn user(store: &dyn Store, token: &str) -> Result<Option<UserInfo>, Refusal> {
    let Some((id, secret)) = parts(token) else { return Ok(None) };
    let name = format!("bootstrap-token-{id}");
    let Some(live) = live::read(store, "secrets", Namespace::new("kube-system"), &name).await? else {
        return Ok(None);
    };
    Ok(match told(&live, id, secret, Timestamp::now()) {
        Ok(user) => Some(user),
        Err(why) => {
            tracing::debug!(secret = name, why, "a bootstrap token is not taken");
            None
        }
    })
}

/// ID and secret of a text that has the form of a token: six and sixteen small letters or digits.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    (fits(id, 6) && fits(secret, 16)).then_some((id, secret))
}

/// The user that a Secret makes of its token, or why it makes none.
fn told(live: &Live, id: &str, secret: &str, now: Timestamp) -> Result<UserInfo, String> {
    let text = |key: &str| live.text(key).unwrap_or_default();
    if live.is_deleted() {
        return Err("is deleted and awaiting removal".to_owned());
    }
    if live.kind != TYPE {
        return Err(format!("has invalid type, expected {TYPE}"));
    }
    // Of digests it tells nothing how far they agree.
    if Sha256::digest(text("token-secret")) != Sha256::digest(secret) {
        return Err("has invalid value for key token-secret".to_owned());
    }
    if text("token-id") != id {
        return Err(format!("has invalid value for key token-id, expected {id}"));
    }
    if has_expired(&text("expiration"), now) {
        return Err("has expired".to_owned());
    }
    if text("usage-bootstrap-authentication") != "true" {
        return Err("not marked usage-bootstrap-authentication=true".to_owned());
    }
    let groups = groups(&text("auth-extra-groups"))?;
    Ok(UserInfo { groups, ..UserInfo::authenticated(format!("system:bootstrap:{id}"), []) })
}

/// What is no time has passed, too.
fn has_expired(expiration: &str, now: Timestamp) -> bool {
    !expiration.is_empty() && !expiration.parse::<Timestamp>().is_ok_and(|end| end > now)
}

/// The groups in order of names, and last what everybody is in.
fn groups(more: &str) -> Result<Vec<String>, String> {
    let mut groups = vec![GROUP.to_owned()];
    for group in more.split(',').filter(|_| !more.is_empty()) {
        if !is_group(group) {
            return Err(format!(
                "has invalid value for key auth-extra-groups: bootstrap group {group:?} is invalid (must match \
                 \\Asystem:bootstrappers:[a-z0-9:-]{{0,255}}[a-z0-9]\\z)"
            ));
        }
        groups.push(group.to_owned());
    }
    groups.sort();
    groups.dedup();
    groups.push(AUTHENTICATED.to_owned());
    Ok(groups)
}

fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    (1..=256).contains(&rest.len())
        && rest.bytes().all(|byte| plain(byte) || byte == b':' || byte == b'-')
        && rest.bytes().last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;

    fn secret(change: impl FnOnce(&mut Value)) -> Live {
        let mut texts = json!({
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": "2026-01-02T00:00:00Z",
            "usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:b,system:bootstrappers:a",
        });
        change(&mut texts);
        let data: serde_json::Map<String, Value> = texts
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), STANDARD.encode(value.as_str().unwrap()).into()))
            .collect();
        serde_json::from_value(
            json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": TYPE, "data": data}),
        )
        .unwrap()
    }

    #[test]
    fn tokens_have_two_parts() {
        assert_eq!(parts("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for wrong in
            ["abcdef.0123456789abcde", "Abcdef.0123456789abcdef", "abcdef", "abcdef.0123456789abcdef.", ""]
        {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_makes_a_user_of_its_token() {
        let check = |key: &str, value: &str, expected: Result<(), &str>| {
            let live = secret(|texts| texts[key] = value.into());
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let told = told(&live, "abcdef", "0123456789abcdef", now).map(drop);
            assert_eq!(told, expected.map_err(str::to_owned), "{key}: {value}");
        };
        check("description", "of no meaning", Ok(()));
        check("expiration", "", Ok(()));
        check("expiration", "2025-12-31T23:59:59Z", Err("has expired"));
        check("expiration", "soon", Err("has expired"));
        check("token-secret", "0123456789abcdeg", Err("has invalid value for key token-secret"));
        check("token-id", "abcdeg", Err("has invalid value for key token-id, expected abcdef"));
        check(
            "usage-bootstrap-authentication",
            "false",
            Err("not marked usage-bootstrap-authentication=true"),
        );
        let groups =
            told(&secret(|_| {}), "abcdef", "0123456789abcdef", "2026-01-01T00:00:00Z".parse().unwrap());
        let expected = [
            "system:bootstrappers",
            "system:bootstrappers:a",
            "system:bootstrappers:b",
            "system:authenticated",
        ];
        assert_eq!(groups.unwrap().groups, expected);
        let wrong = secret(|texts| texts["auth-extra-groups"] = "system:masters".into());
        let why = told(&wrong, "abcdef", "0123456789abcdef", "2026-01-01T00:00:00Z".parse().unwrap());
        assert!(why.unwrap_err().contains(r#"bootstrap group "system:masters" is invalid"#));
    }
}
