//! The modes of acting as someone else, and which permissions each needs. Pure.

use skiff_identity::UserInfo;
use skiff_machinery::{go, names};

use super::super::Attributes;
use super::Wanted;

const AUTHENTICATION: &str = "authentication.k8s.io";

/// For so many groups or values at once, permission for all of them is looked for first.
const MANY: usize = 4;

/// In which way one acts as someone else, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// A ServiceAccount as the node on which its pod runs.
    AssociatedNode,
    /// As any node.
    ArbitraryNode,
    /// As a ServiceAccount.
    ServiceAccount,
    /// As somebody who is neither, with any groups, UID and further values.
    UserInfo,
    /// As anybody, in whatever request: the verb `impersonate`.
    Legacy,
}

/// One permission that acting as someone needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) verb: String,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Why nobody gets it.
    pub(super) never: Option<String>,
}

impl Need {
    pub(super) fn attributes<'a>(&'a self, caller: &'a UserInfo) -> Attributes<'a> {
        Attributes {
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            ..Attributes::resource(caller, &self.verb, self.group, self.resource)
        }
    }

    fn never(self, why: &str) -> Self {
        Self { never: Some(why.to_owned()), ..self }
    }
}

/// Permissions that are needed, or the one that stands for all of them.
type Needs = (Option<Need>, Vec<Need>);

impl Mode {
    pub(super) const ALL: [Self; 5] =
        [Self::AssociatedNode, Self::ArbitraryNode, Self::ServiceAccount, Self::UserInfo, Self::Legacy];

    /// Its name in verbs; none for the oldest.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::AssociatedNode => Some("associated-node"),
            Self::ArbitraryNode => Some("arbitrary-node"),
            Self::ServiceAccount => Some("serviceaccount"),
            Self::UserInfo => Some("user-info"),
            Self::Legacy => None,
        }
    }

    /// Whether it is for such a caller and user at all.
    pub(super) fn applies(self, wanted: &Wanted, caller: &UserInfo) -> bool {
        match self {
            Self::AssociatedNode => {
                let runs_on = caller.extra.get(skiff_identity::NODE_NAME).map(Vec::as_slice);
                let node = wanted.node().filter(|node| runs_on.is_some_and(|names| names == [*node]));
                let is_account = skiff_identity::split_service_account(&caller.name).is_some();
                wanted.is_name_alone() && node.is_some() && is_account
            }
            Self::ArbitraryNode => wanted.is_name_alone() && wanted.node().is_some(),
            Self::ServiceAccount => wanted.is_name_alone() && wanted.service_account().is_some(),
            Self::UserInfo => wanted.node().is_none() && wanted.service_account().is_none(),
            Self::Legacy => true,
        }
    }

    /// The verb that stands for doing something in this mode.
    pub(super) fn verb_on(self, verb: &str) -> Option<String> {
        self.name().map(|mode| format!("impersonate-on:{mode}:{verb}"))
    }

    /// What is needed to be whom one wants to be, in the order in which it is looked at.
    pub(super) fn needs(self, wanted: &Wanted) -> Vec<Needs> {
        let mut needs = vec![(None, vec![self.user(wanted)])];
        if !wanted.uid.is_empty() {
            needs.push((None, vec![self.need(AUTHENTICATION, "uids", &wanted.uid)]));
        }
        needs.push(self.groups(&wanted.groups));
        needs.push(self.extra(wanted));
        needs
    }

    fn need(self, group: &'static str, resource: &'static str, name: &str) -> Need {
        let verb = self.name().map_or_else(|| "impersonate".to_owned(), |mode| format!("impersonate:{mode}"));
        Need { verb, group, resource, name: name.to_owned(), ..Need::default() }
    }

    /// The group in which users and groups are resources.
    fn group(self) -> &'static str {
        if self == Self::Legacy { "" } else { AUTHENTICATION }
    }

    fn user(self, wanted: &Wanted) -> Need {
        if let Some((namespace, name)) = wanted.service_account() {
            let need = self.need(self.group(), "serviceaccounts", name);
            return Need { namespace: namespace.to_owned(), ..need };
        }
        match (self, wanted.node()) {
            // What counts is that it is the caller's own, and not which one it is.
            (Self::AssociatedNode, _) => self.need(self.group(), "nodes", "*"),
            (Self::ArbitraryNode, Some(node)) => self.need(self.group(), "nodes", node),
            _ => self.need(self.group(), "users", &wanted.user),
        }
    }

    fn groups(self, groups: &[String]) -> Needs {
        let need = |name: &str| self.need(self.group(), "groups", name);
        let never = |group: &str, why: &str| (None, vec![need(group).never(why)]);
        let contains = |group: &str| groups.iter().any(|other| other == group);
        if self != Self::Legacy && contains("") {
            return never("", "impersonating the empty string group is not allowed");
        }
        if self != Self::Legacy && contains(skiff_identity::MASTERS) {
            return never(skiff_identity::MASTERS, "impersonating the system:masters group is not allowed");
        }
        let is_many = self != Self::Legacy && groups.len() >= MANY;
        (is_many.then(|| need("*")), groups.iter().map(|group| need(group)).collect())
    }

    fn extra(self, wanted: &Wanted) -> Needs {
        let need = |key: &str, value: &str| Need {
            subresource: key.to_owned(),
            ..self.need(AUTHENTICATION, "userextras", value)
        };
        let wrong = || wanted.extra.iter().find_map(|(key, values)| what_is_wrong(key, values));
        if self != Self::Legacy
            && let Some(why) = wrong()
        {
            return (None, vec![need("", "").never(&why)]);
        }
        let pairs =
            wanted.extra.iter().flat_map(|(key, values)| values.iter().map(move |value| need(key, value)));
        let needs: Vec<Need> = pairs.collect();
        let is_many = self != Self::Legacy && needs.len() >= MANY;
        (is_many.then(|| need("*", "*")), needs)
    }
}

/// Why a further value of a user is not taken in the newer modes.
fn what_is_wrong(key: &str, values: &[String]) -> Option<String> {
    const INVALID: &str = "impersonating an invalid key in extra is not allowed: extra.key: Invalid value";
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    let Some((host, _)) = key.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return Some(format!("{INVALID}: {}: {why}", go::quoted(key)));
    };
    if let Some(error) = names::subdomain(host) {
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: {}",
            error.body()
        ));
    }
    values
        .iter()
        .any(String::is_empty)
        .then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(user: &str, groups: &[&str]) -> Wanted {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Wanted { user: user.to_owned(), groups, ..Wanted::default() }
    }

    #[test]
    fn modes_are_for_some_users() {
        let account = |node: &str| UserInfo {
            extra: [(skiff_identity::NODE_NAME.to_owned(), vec![node.to_owned()])].into(),
            ..UserInfo::service_account("ns", "sa")
        };
        let check = |wanted: Wanted, caller: &UserInfo, expected: &[Mode]| {
            let modes: Vec<Mode> =
                Mode::ALL.into_iter().filter(|mode| mode.applies(&wanted, caller)).collect();
            assert_eq!(modes, expected, "{wanted:?}");
        };
        let alice = UserInfo::authenticated("alice", []);
        check(wanted("bob", &["g"]), &alice, &[Mode::UserInfo, Mode::Legacy]);
        check(wanted("system:serviceaccount:a:b", &[]), &alice, &[Mode::ServiceAccount, Mode::Legacy]);
        check(wanted("system:serviceaccount:a:b", &["g"]), &alice, &[Mode::Legacy]);
        check(wanted("system:node:n", &[]), &alice, &[Mode::ArbitraryNode, Mode::Legacy]);
        let both = [Mode::AssociatedNode, Mode::ArbitraryNode, Mode::Legacy];
        check(wanted("system:node:n", &[]), &account("n"), &both);
        check(wanted("system:node:n", &[]), &account("m"), &[Mode::ArbitraryNode, Mode::Legacy]);
    }

    #[test]
    fn each_mode_has_verbs_of_its_own() {
        assert_eq!(Mode::UserInfo.verb_on("list").as_deref(), Some("impersonate-on:user-info:list"));
        assert_eq!(Mode::Legacy.verb_on("list"), None);
        let check = |mode: Mode, wanted: &Wanted, expected: [&str; 4]| {
            let need = mode.user(wanted);
            assert_eq!([&*need.verb, need.group, need.resource, &need.name], expected);
        };
        check(Mode::Legacy, &wanted("bob", &[]), ["impersonate", "", "users", "bob"]);
        check(Mode::UserInfo, &wanted("bob", &[]), ["impersonate:user-info", AUTHENTICATION, "users", "bob"]);
        let node = wanted("system:node:n", &[]);
        check(Mode::ArbitraryNode, &node, ["impersonate:arbitrary-node", AUTHENTICATION, "nodes", "n"]);
        check(Mode::AssociatedNode, &node, ["impersonate:associated-node", AUTHENTICATION, "nodes", "*"]);
    }

    #[test]
    fn newer_modes_make_nobody_an_administrator() {
        let groups = |mode: Mode, groups: &[&str]| mode.groups(&wanted("bob", groups).groups);
        assert!(groups(Mode::UserInfo, &["a", skiff_identity::MASTERS]).1[0].never.is_some());
        assert!(groups(Mode::UserInfo, &["a", ""]).1[0].never.is_some());
        assert!(groups(Mode::Legacy, &[skiff_identity::MASTERS]).1[0].never.is_none());
        assert_eq!(groups(Mode::UserInfo, &["a", "b", "c", "d"]).0.unwrap().name, "*");
        assert!(groups(Mode::Legacy, &["a", "b", "c", "d"]).0.is_none());
    }

    #[test]
    fn further_values_have_full_names() {
        let check = |key: &str, value: &str, right: bool| {
            assert_eq!(what_is_wrong(key, &[value.to_owned()]).is_none(), right, "{key}");
        };
        check("acme.io/x", "v", true);
        check("acme.io/x", "", false);
        check("scopes", "v", false);
        check("Bad_/x", "v", false);
        check("", "v", false);
    }
}
