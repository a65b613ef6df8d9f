//! Who the server says it is to webhooks: the users of a kubeconfig, found by where a webhook listens, as kube-apiserver finds them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use skiff_errors::error_text;
use skiff_pki::kubeconfig::read_config;
use thiserror::Error;

use super::user::{Shown, User};

/// A kubeconfig for webhooks that cannot be used.
#[derive(Debug, Error)]
#[error("the kubeconfig for webhooks {}: {why}", file.display())]
pub struct CredentialsError {
    /// Which.
    file: PathBuf,
    /// What is wrong, by user and field.
    why: String,
}

/// The users of a kubeconfig; none: nobody is told who calls.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    users: BTreeMap<String, User>,
    /// Of the current context.
    current: Option<String>,
}

impl Credentials {
    /// Reads a kubeconfig, and once each file that it names, so that what is wrong with one is told at once.
    pub(crate) fn read(file: &Path) -> Result<Self, CredentialsError> {
        let wrong = |why| CredentialsError { file: file.to_owned(), why };
        let read = read_config(file).map_err(|error| wrong(error_text(&error)))?;
        Self::of(&read).map_err(wrong)
    }

    fn of(read: &Kubeconfig) -> Result<Self, String> {
        let mut users = BTreeMap::new();
        for named in &read.auth_infos {
            let info = serde_json::to_value(&named.auth_info).map_err(|error| error_text(&error))?;
            let at = |why: String| format!("users[{}].user.{why}", named.name);
            let user = User::of(&info).map_err(at)?;
            user.check().map_err(at)?;
            if users.insert(named.name.clone(), user).is_some() {
                return Err(format!("users: Duplicate value: {:?}", named.name));
            }
        }
        let current = current(read)?;
        if let Some(name) = current.as_ref().filter(|name| !users.contains_key(*name)) {
            return Err(format!("the user of the current context is missing: {name:?}"));
        }
        Ok(Self { users, current })
    }

    /// What is shown to who listens at a host.
    pub(super) async fn shown(&self, host: &str, port: u16) -> Result<Shown, String> {
        match self.user(host, port) {
            Some(user) => user.shown().await,
            None => Ok(Shown::default()),
        }
    }

    fn user(&self, host: &str, port: u16) -> Option<&User> {
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        self.matching(&format!("{host}:{port}"))
            .or_else(|| self.matching(plain).filter(|_| port == 443))
            .or_else(|| self.users.get("*"))
            .or_else(|| self.users.get(self.current.as_ref()?))
    }

    /// The user of this name, or else of `*.` and an end of it, the longest first.
    fn matching(&self, target: &str) -> Option<&User> {
        let ends = target.match_indices('.').map(|(dot, _)| format!("*{}", &target[dot..]));
        std::iter::once(target.to_owned()).chain(ends).find_map(|name| self.users.get(&name))
    }
}

/// The name of the user of the current context.
fn current(read: &Kubeconfig) -> Result<Option<String>, String> {
    let Some(current) = read.current_context.as_ref().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let found = read.contexts.iter().find(|context| context.name == *current);
    let found = found.ok_or_else(|| format!("current-context: Not found: {current:?}"))?;
    let user = found.context.as_ref().and_then(|context| context.user.clone());
    Ok(user.filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::webhooks::user::Secret;

    fn read(kubeconfig: Value) -> Result<Credentials, String> {
        Credentials::of(&serde_json::from_value(kubeconfig).unwrap())
    }

    fn users(names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| json!({"name": name, "user": {"token": name}})).collect()
    }

    #[test]
    fn users_are_found_by_where_a_webhook_listens() {
        let check = |names: &[&str], host: &str, port: u16, expected: Option<&str>| {
            let credentials = read(json!({"users": users(names)})).unwrap();
            let found = credentials.user(host, port).and_then(|user| user.bearer.clone());
            let expected = expected.map(|name| Secret::Data(name.into()));
            assert_eq!(found, expected, "{names:?} {host}:{port}");
        };
        let hook = "hook.web.svc";
        check(&[], hook, 443, None);
        check(&["hook.web.svc", "*.web.svc", "*.svc", "*"], hook, 443, Some("hook.web.svc"));
        check(&["*.web.svc", "*.svc", "*"], hook, 443, Some("*.web.svc"));
        check(&["*.svc", "*"], hook, 443, Some("*.svc"));
        check(&["other.web.svc", "*"], hook, 443, Some("*"));
        // Another port than the usual one has to be named.
        check(&["hook.web.svc", "*.svc"], hook, 8443, None);
        check(&["hook.web.svc", "*.web.svc:8443"], hook, 8443, Some("*.web.svc:8443"));
        check(&["hook.web.svc", "*.svc:443"], hook, 443, Some("*.svc:443"));
        check(&["::1"], "[::1]", 443, Some("::1"));
        check(&["[::1]:8443"], "[::1]", 8443, Some("[::1]:8443"));
    }

    #[test]
    fn the_current_context_is_for_all_others() {
        let contexts = json!([{"name": "c", "context": {"user": "*.svc", "cluster": ""}}]);
        let given = json!({"users": users(&["*.svc"]), "contexts": contexts, "current-context": "c"});
        let credentials = read(given.clone()).unwrap();
        assert!(credentials.user("example.com", 443).is_some());
        let check = |field: &str, value: Value, expected: &str| {
            let mut given = given.clone();
            given[field] = value;
            assert_eq!(read(given).unwrap_err(), expected);
        };
        check("current-context", json!("d"), r#"current-context: Not found: "d""#);
        check("users", json!([]), r#"the user of the current context is missing: "*.svc""#);
        check("users", json!(users(&["a", "a"])), r#"users: Duplicate value: "a""#);
    }

    #[test]
    fn what_cannot_be_shown_is_told_at_once() {
        let check = |user: Value, expected: &str| {
            let why = read(json!({"users": [{"name": "a", "user": user}]})).unwrap_err();
            assert!(why.starts_with("users[a].user.") && why.contains(expected), "{why}");
        };
        check(json!({"exec": {"command": "c"}}), "exec: Forbidden");
        check(json!({"as-groups": ["b"]}), "as-groups: Forbidden: without `as`");
        check(json!({"as": "b\n"}), "as: Invalid value: it cannot stand in a header");
        check(
            json!({"token": "t", "username": "u"}),
            "username/password or bearer token may be set, but not",
        );
        check(json!({"token": "a\nb"}), "token: Invalid value");
        check(json!({"tokenFile": "/none"}), "tokenFile: unable to read /none: ");
        check(json!({"client-certificate": "/none", "client-key": "/none"}), "client-certificate: unable to");
        check(json!({"client-certificate": "/none"}), "client-key: Required value");
        check(json!({"client-key-data": "YQ=="}), "client-certificate: Required value");
        check(json!({"client-key-data": "?"}), "client-key-data: Invalid value");
        let pem = json!({"client-certificate-data": "YQ==", "client-key-data": "YQ=="});
        check(pem, "client-certificate: ");
    }
}
