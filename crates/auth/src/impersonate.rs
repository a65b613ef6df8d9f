//! Acting as someone else: the `Impersonate-…` headers.

use std::collections::BTreeMap;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use skiff_identity::UserInfo;

use super::authenticate::AuthnError;
use super::{Attributes, Auth, Decision, Refusal};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom the headers name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// One permission that acting as someone needs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Need {
    group: &'static str,
    resource: &'static str,
    subresource: String,
    namespace: String,
    name: String,
}

impl Auth {
    /// The user that the headers name, if `caller` may act as it; without such headers the caller.
    pub(super) async fn impersonate(
        &self,
        headers: &HeaderMap,
        caller: UserInfo,
    ) -> Result<UserInfo, AuthnError> {
        let Some(wanted) = wanted(headers)? else { return Ok(caller) };
        for need in wanted.needs() {
            let attributes = Attributes {
                subresource: &need.subresource,
                namespace: &need.namespace,
                name: &need.name,
                ..Attributes::resource(&caller, "impersonate", need.group, need.resource)
            };
            if let Decision::Deny(reason) = self.authorize(&attributes).await {
                return Err(Refusal::Forbidden(attributes.forbidden_message(&reason)).into());
            }
        }
        Ok(wanted.into_user())
    }
}

fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, Refusal> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or("").to_owned();
    let first = |name: &str| headers.get(name).map(text).unwrap_or_default();
    let mut wanted = Wanted {
        user: first(USER),
        uid: first(UID),
        groups: headers.get_all(GROUP).into_iter().map(text).collect(),
        extra: BTreeMap::new(),
    };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = percent_decode_str(key).decode_utf8_lossy().to_lowercase();
            wanted.extra.entry(key).or_default().push(text(value));
        }
    }
    if wanted == Wanted::default() {
        return Ok(None);
    }
    if wanted.user.is_empty() {
        return Err(Refusal::BadRequest("impersonation headers need Impersonate-User".to_owned()));
    }
    Ok(Some(wanted))
}

impl Wanted {
    fn service_account(&self) -> Option<(&str, &str)> {
        self.user.strip_prefix(skiff_identity::SERVICE_ACCOUNT_PREFIX)?.split_once(':')
    }

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![match self.service_account() {
            Some((namespace, name)) => Need {
                resource: "serviceaccounts",
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                ..Need::default()
            },
            None => Need { resource: "users", name: self.user.clone(), ..Need::default() },
        }];
        if !self.uid.is_empty() {
            let name = self.uid.clone();
            needs.push(Need { group: AUTHENTICATION, resource: "uids", name, ..Need::default() });
        }
        let groups = self.groups.iter().cloned();
        needs.extend(groups.map(|name| Need { resource: "groups", name, ..Need::default() }));
        for (key, values) in &self.extra {
            needs.extend(values.iter().cloned().map(|name| Need {
                group: AUTHENTICATION,
                resource: "userextras",
                subresource: key.clone(),
                name,
                ..Need::default()
            }));
        }
        needs
    }

    /// Everybody but `system:anonymous` is in `system:authenticated`, unless told to be unauthenticated.
    fn into_user(self) -> UserInfo {
        let mut groups = match self.service_account() {
            Some((namespace, name)) if self.groups.is_empty() => {
                UserInfo::service_account(namespace, name).groups
            }
            _ => self.groups,
        };
        let implied = if self.user == skiff_identity::ANONYMOUS {
            skiff_identity::UNAUTHENTICATED
        } else {
            skiff_identity::AUTHENTICATED
        };
        let decided = [skiff_identity::AUTHENTICATED, skiff_identity::UNAUTHENTICATED];
        if !groups.iter().any(|group| decided.contains(&group.as_str())) {
            groups.push(implied.to_owned());
        }
        UserInfo { name: self.user, uid: self.uid, groups, extra: self.extra }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn parse(lines: &[(&str, &str)]) -> Result<Option<Wanted>, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        wanted(&headers)
    }

    #[test]
    fn headers_name_a_user() {
        assert_eq!(parse(&[("accept", "x")]).unwrap(), None);
        assert!(parse(&[("Impersonate-Group", "g")]).is_err());
        let wanted = parse(&[
            ("Impersonate-User", "bob"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-example.com%2Fscopes", "view"),
        ]);
        let wanted = wanted.unwrap().unwrap();
        let needs: Vec<String> = wanted
            .needs()
            .iter()
            .map(|need| format!("{}/{}/{} {}", need.group, need.resource, need.subresource, need.name))
            .collect();
        assert_eq!(
            needs,
            [
                "/users/ bob",
                "/groups/ a",
                "/groups/ b",
                "authentication.k8s.io/userextras/example.com/scopes view"
            ]
        );
        let user = wanted.into_user();
        assert_eq!(user.groups, ["a", "b", "system:authenticated"]);
        assert_eq!(user.extra["example.com/scopes"], ["view"]);
    }

    #[test]
    fn groups_are_completed() {
        let check = |name: &str, expected: &[&str]| {
            let user = parse(&[("Impersonate-User", name)]).unwrap().unwrap().into_user();
            assert_eq!(user.groups, expected, "{name}");
        };
        check("bob", &["system:authenticated"]);
        check("system:anonymous", &["system:unauthenticated"]);
        check(
            "system:serviceaccount:ns:sa",
            &["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
        );
    }
}
