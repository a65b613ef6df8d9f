//! Acting as someone else: the `Impersonate-…` headers, and who may.
//!
//! Kubernetes knows several modes of it (KEP-5284, constrained impersonation): in all but the oldest, the caller needs
//! permission to act in that mode *and* to do in it what the request wants. The first mode that allows it decides; where none
//! does, the first one's refusal is told.

use skiff_identity::UserInfo;
use skiff_machinery::{go, names};
use std::collections::BTreeMap;

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::{Attributes, Auth, Refusal};

mod modes;

use modes::Mode;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

/// Whom the headers name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Auth {
    /// The user that the headers name, if `caller` may act as it in a request, whose user does not matter; none without such headers.
    ///
    /// # Errors
    /// When it may not, or the headers make no sense.
    pub async fn impersonate(
        &self,
        headers: &HeaderMap,
        caller: &UserInfo,
        request: &Attributes<'_>,
    ) -> Result<Option<UserInfo>, Refusal> {
        let Some(wanted) = wanted(headers)? else { return Ok(None) };
        let mut first = None;
        for mode in Mode::ALL.into_iter().filter(|mode| mode.applies(&wanted, caller)) {
            match self.may_act(mode, &wanted, caller, request).await {
                Ok(()) => return Ok(Some(wanted.into_user(mode))),
                Err(refusal) => drop(first.get_or_insert(refusal)),
            }
        }
        Err(first.unwrap_or_else(|| Refusal::BadRequest("all impersonation modes failed".to_owned())))
    }

    /// Whether the caller may act as whom it wants in a mode.
    async fn may_act(
        &self,
        mode: Mode,
        wanted: &Wanted,
        caller: &UserInfo,
        request: &Attributes<'_>,
    ) -> Result<(), Refusal> {
        if let Some(verb) = mode.verb_on(request.verb) {
            self.must(&Attributes { user: caller, verb: &verb, ..*request }).await?;
        }
        for (wildcard, needs) in mode.needs(wanted) {
            if let Some(need) = wildcard
                && self.must(&need.attributes(caller)).await.is_ok()
            {
                continue;
            }
            for need in needs {
                if let Some(why) = &need.never {
                    return Err(denied(&need.attributes(caller), why));
                }
                self.must(&need.attributes(caller)).await?;
            }
        }
        Ok(())
    }

    async fn must(&self, attributes: &Attributes<'_>) -> Result<(), Refusal> {
        let decision = self.authorize(attributes).await;
        if decision.is_allowed() { Ok(()) } else { Err(denied(attributes, decision.reason())) }
    }
}

fn denied(attributes: &Attributes<'_>, reason: &str) -> Refusal {
    Refusal::Denied {
        group: attributes.group.to_owned(),
        resource: attributes.resource.to_owned(),
        name: attributes.name.to_owned(),
        message: attributes.forbidden_message(reason),
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
        let text = format!("requested {} without impersonating a user name", wanted.printed());
        return Err(Refusal::BadRequest(text));
    }
    Ok(Some(wanted))
}

impl Wanted {
    fn service_account(&self) -> Option<(&str, &str)> {
        skiff_identity::split_service_account(&self.user)
    }

    fn node(&self) -> Option<&str> {
        self.user.strip_prefix(skiff_identity::NODE_PREFIX).filter(|name| names::subdomain(name).is_none())
    }

    /// Whether it says nothing but a name: the rest of some users is known.
    fn is_name_alone(&self) -> bool {
        self.uid.is_empty() && self.groups.is_empty() && self.extra.is_empty()
    }

    /// Everybody but `system:anonymous` is in `system:authenticated`, unless told to be unauthenticated.
    fn into_user(self, mode: Mode) -> UserInfo {
        let mut groups = match (self.service_account(), self.node()) {
            (Some((namespace, name)), _) if self.groups.is_empty() => {
                UserInfo::service_account(namespace, name).groups
            }
            (_, Some(_)) if mode != Mode::Legacy => vec![skiff_identity::NODES.to_owned()],
            _ => self.groups,
        };
        let is_in = |group: &str, groups: &[String]| groups.iter().any(|other| other == group);
        let missing = match self.user.as_str() {
            skiff_identity::ANONYMOUS => Some(skiff_identity::UNAUTHENTICATED),
            _ if is_in(skiff_identity::UNAUTHENTICATED, &groups) => None,
            _ => Some(skiff_identity::AUTHENTICATED),
        };
        let missing = missing.filter(|group| !is_in(group, &groups));
        groups.extend(missing.map(str::to_owned));
        UserInfo { name: self.user, uid: self.uid, groups, extra: self.extra }
    }

    /// As Go prints it, whose words are passed on to clients.
    fn printed(&self) -> String {
        let list = |texts: &[String]| {
            let quoted: Vec<String> = texts.iter().map(|text| go::quoted(text)).collect();
            format!("[]string{{{}}}", quoted.join(", "))
        };
        let groups = if self.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&self.groups) };
        let extra = if self.extra.is_empty() {
            "map[string][]string(nil)".to_owned()
        } else {
            let pairs = self.extra.iter();
            let pairs: Vec<String> =
                pairs.map(|(key, values)| format!("{}:{}", go::quoted(key), list(values))).collect();
            format!("map[string][]string{{{}}}", pairs.join(", "))
        };
        let (name, uid) = (go::quoted(&self.user), go::quoted(&self.uid));
        format!("&user.DefaultInfo{{Name:{name}, UID:{uid}, Groups:{groups}, Extra:{extra}}}")
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
        let told = |lines: &[(&str, &str)]| parse(lines).unwrap_err().to_string();
        assert_eq!(
            told(&[("Impersonate-Group", "g")]),
            r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)} without impersonating a user name"#
        );
        assert_eq!(
            told(&[("Impersonate-Extra-Scopes", "x")]),
            r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string(nil), Extra:map[string][]string{"scopes":[]string{"x"}}} without impersonating a user name"#
        );
        let wanted = parse(&[
            ("Impersonate-User", "bob"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-example.com%2Fscopes", "view"),
        ]);
        let wanted = wanted.unwrap().unwrap();
        let needs: Vec<String> = Mode::Legacy
            .needs(&wanted)
            .into_iter()
            .flat_map(|(_, needs)| needs)
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
        let user = wanted.into_user(Mode::Legacy);
        assert_eq!(user.groups, ["a", "b", "system:authenticated"]);
        assert_eq!(user.extra["example.com/scopes"], ["view"]);
    }

    #[test]
    fn groups_are_completed() {
        let check = |name: &str, expected: &[&str]| {
            let user = parse(&[("Impersonate-User", name)]).unwrap().unwrap().into_user(Mode::Legacy);
            assert_eq!(user.groups, expected, "{name}");
        };
        check("bob", &["system:authenticated"]);
        check("system:anonymous", &["system:unauthenticated"]);
        check("system:serviceaccount:Bad", &["system:authenticated"]);
        check("system:serviceaccount:ns:Bad_", &["system:authenticated"]);
        check(
            "system:serviceaccount:ns:sa",
            &["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"],
        );
    }
}
