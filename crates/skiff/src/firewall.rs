//! What to do about a packet filter that cuts pods off. Pure: from what the kernel tells of a lost packet to words for a person.

use std::fmt;

use ipnet::Ipv4Net;
use skiff_proxy::kernel::{Discarder, Hook, Loser, Lost};

/// Why a connection does not work, and the commands that let it through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) cause: String,
    /// Shell commands, to be run in this order.
    pub(crate) remedy: Vec<String>,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if self.remedy.is_empty() {
            Ok(())
        } else {
            write!(f, "; to let it through: {}", self.remedy.join(" && "))
        }
    }
}

/// Who a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Pod,
    Node,
}

/// The ranges whose packets have to pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranges {
    pub(crate) pods: Ipv4Net,
    pub(crate) services: Ipv4Net,
}

/// Which program made a table, told by the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Skiff,
    Ufw,
    Firewalld,
    Docker,
    Iptables,
    Nft,
}

/// Says who lost a packet and how to let such packets through. `forwards` is what `net.ipv4.ip_forward` says. Nothing: it
/// was skiff's own table, which refuses what has no endpoint.
pub(crate) fn explain(lost: &Lost, from: Source, ranges: Ranges, forwards: bool) -> Option<Diagnosis> {
    let hook = lost.hook;
    match &lost.by {
        Loser::Chain(chain) => {
            let owner = owner(chain);
            let Discarder { family, table, chain: name, .. } = chain;
            let what = if chain.by_policy { "the policy" } else { "a rule" };
            let program = match owner {
                Owner::Skiff => return None,
                Owner::Ufw => " (ufw)",
                Owner::Firewalld => " (firewalld)",
                Owner::Docker => " (Docker)",
                Owner::Iptables => " (iptables)",
                Owner::Nft => "",
            };
            let cause = format!("dropped by {what} of chain {name} in table {family} {table}{program}");
            Some(Diagnosis { cause, remedy: remedy(owner, chain, hook, from, ranges) })
        }
        Loser::Silent => {
            let chain = hook.to_string().to_uppercase();
            let cause = format!(
                "dropped in the {hook} hook, and not by nftables: by chain {chain} of iptables-legacy (`iptables-legacy -S`)"
            );
            Some(Diagnosis { cause, remedy: iptables("iptables-legacy", &chain, hook, from, ranges) })
        }
        Loser::Routing if !forwards => Some(Diagnosis {
            cause: "the node forwards no packets: net.ipv4.ip_forward is 0".to_owned(),
            remedy: vec!["sysctl -w net.ipv4.ip_forward=1".to_owned()],
        }),
        Loser::Routing => Some(Diagnosis {
            cause: "the node's routing drops it: there is no route to it, or none back that net.ipv4.conf.*.rp_filter accepts \
                    (`ip route`, `sysctl -a -r rp_filter`)"
                .to_owned(),
            remedy: Vec::new(),
        }),
    }
}

fn owner(chain: &Discarder) -> Owner {
    let has = |test: &dyn Fn(&str) -> bool| chain.siblings.iter().any(|name| test(name));
    match (chain.family, chain.table.as_str()) {
        ("ip", "skiff") => Owner::Skiff,
        (_, "firewalld") => Owner::Firewalld,
        _ if has(&|name| name.starts_with("ufw-")) => Owner::Ufw,
        _ if has(&|name| name == "DOCKER-USER") => Owner::Docker,
        // By these names iptables-nft makes its chains; people write them small.
        ("ip", _) if has(&|name| ["INPUT", "FORWARD", "OUTPUT"].contains(&name)) => Owner::Iptables,
        _ => Owner::Nft,
    }
}

fn remedy(owner: Owner, chain: &Discarder, hook: Hook, from: Source, ranges: Ranges) -> Vec<String> {
    let Ranges { pods, services } = ranges;
    match owner {
        Owner::Skiff => Vec::new(),
        Owner::Ufw if hook == Hook::Output => {
            vec![format!("ufw allow out to {pods}"), format!("ufw allow out to {services}")]
        }
        // What arrives and what is passed on is denied alike, unless somebody allowed one of it.
        Owner::Ufw => vec![
            format!("ufw allow from {pods}"),
            format!("ufw route allow from {pods}"),
            format!("ufw route allow from any to {pods}"),
        ],
        Owner::Firewalld => {
            let trust = |range| format!("firewall-cmd --permanent --zone=trusted --add-source={range}");
            vec![trust(pods), trust(services), "firewall-cmd --reload".to_owned()]
        }
        Owner::Docker if hook == Hook::Forward => iptables("iptables", "DOCKER-USER", hook, from, ranges),
        Owner::Docker | Owner::Iptables => iptables("iptables", &chain.chain, hook, from, ranges),
        Owner::Nft => {
            let Discarder { family, table, chain, .. } = chain;
            let insert =
                |matches: String| format!("nft insert rule {family} {table} {chain} {matches} accept");
            passes(hook, from, ranges)
                .into_iter()
                .map(|pass| match pass {
                    Pass::From(range) => insert(format!("ip saddr {range}")),
                    Pass::To(range) => insert(format!("ip daddr {range}")),
                    Pass::In(interface) => insert(format!("iifname {interface}")),
                    Pass::Out(interface) => insert(format!("oifname {interface}")),
                })
                .collect()
        }
    }
}

/// What has to pass a hook.
enum Pass {
    From(Ipv4Net),
    To(Ipv4Net),
    In(&'static str),
    Out(&'static str),
}

fn passes(hook: Hook, from: Source, ranges: Ranges) -> Vec<Pass> {
    let pods = ranges.pods;
    match (hook, from) {
        (Hook::Forward, _) => vec![Pass::From(pods), Pass::To(pods)],
        (Hook::Input, Source::Node) => vec![Pass::From(pods), Pass::In("lo")],
        (Hook::Input | Hook::Prerouting, _) => vec![Pass::From(pods)],
        (Hook::Output, Source::Node) => vec![Pass::To(pods), Pass::Out("lo")],
        (Hook::Output, Source::Pod) => vec![Pass::To(pods)],
    }
}

fn iptables(program: &str, chain: &str, hook: Hook, from: Source, ranges: Ranges) -> Vec<String> {
    let insert = |matches: String| format!("{program} -I {chain} {matches} -j ACCEPT");
    passes(hook, from, ranges)
        .into_iter()
        .map(|pass| match pass {
            Pass::From(range) => insert(format!("-s {range}")),
            Pass::To(range) => insert(format!("-d {range}")),
            Pass::In(interface) => insert(format!("-i {interface}")),
            Pass::Out(interface) => insert(format!("-o {interface}")),
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const RANGES: fn() -> Ranges =
        || Ranges { pods: "10.244.0.0/16".parse().unwrap(), services: "10.96.0.0/12".parse().unwrap() };

    /// A chain as `family table chain`, dropping by its policy, beside others.
    fn chain(text: &str, hook: Hook, siblings: &[&str]) -> Lost {
        let words: Vec<&str> = text.split(' ').collect();
        let family = ["ip", "inet"].into_iter().find(|family| *family == words[0]).unwrap();
        let siblings = siblings.iter().chain(&words[2..]).map(|name| (*name).to_owned()).collect();
        let (table, chain) = (words[1].to_owned(), words[2].to_owned());
        Lost { hook, by: Loser::Chain(Discarder { family, table, chain, by_policy: true, siblings }) }
    }

    #[test]
    fn each_kind_of_filter_has_its_remedy() {
        let check = |lost: Lost, from: Source, cause: &str, remedy: &[&str]| {
            let found = explain(&lost, from, RANGES(), true).unwrap();
            assert!(found.cause.contains(cause), "{}", found.cause);
            assert_eq!(found.remedy, remedy, "{lost:?}");
        };
        use Hook::{Forward, Input, Output};
        use Source::{Node, Pod};
        check(
            chain("inet filter forward", Forward, &[]),
            Pod,
            "dropped by the policy of chain forward in table inet filter",
            &[
                "nft insert rule inet filter forward ip saddr 10.244.0.0/16 accept",
                "nft insert rule inet filter forward ip daddr 10.244.0.0/16 accept",
            ],
        );
        check(
            chain("inet filter input", Input, &[]),
            Node,
            "chain input in table inet filter",
            &[
                "nft insert rule inet filter input ip saddr 10.244.0.0/16 accept",
                "nft insert rule inet filter input iifname lo accept",
            ],
        );
        check(
            chain("ip filter FORWARD", Forward, &["DOCKER-USER", "DOCKER"]),
            Pod,
            "(Docker)",
            &[
                "iptables -I DOCKER-USER -s 10.244.0.0/16 -j ACCEPT",
                "iptables -I DOCKER-USER -d 10.244.0.0/16 -j ACCEPT",
            ],
        );
        check(
            chain("ip filter FORWARD", Forward, &["ufw-before-forward", "DOCKER-USER"]),
            Pod,
            "(ufw)",
            &[
                "ufw allow from 10.244.0.0/16",
                "ufw route allow from 10.244.0.0/16",
                "ufw route allow from any to 10.244.0.0/16",
            ],
        );
        check(
            chain("ip filter INPUT", Input, &["ufw-input"]),
            Pod,
            "(ufw)",
            &[
                "ufw allow from 10.244.0.0/16",
                "ufw route allow from 10.244.0.0/16",
                "ufw route allow from any to 10.244.0.0/16",
            ],
        );
        check(
            chain("ip filter OUTPUT", Output, &["ufw-output"]),
            Node,
            "(ufw)",
            &["ufw allow out to 10.244.0.0/16", "ufw allow out to 10.96.0.0/12"],
        );
        check(
            chain("ip filter INPUT", Input, &["FORWARD"]),
            Pod,
            "(iptables)",
            &["iptables -I INPUT -s 10.244.0.0/16 -j ACCEPT"],
        );
        check(
            chain("inet firewalld filter_FORWARD", Forward, &[]),
            Pod,
            "(firewalld)",
            &[
                "firewall-cmd --permanent --zone=trusted --add-source=10.244.0.0/16",
                "firewall-cmd --permanent --zone=trusted --add-source=10.96.0.0/12",
                "firewall-cmd --reload",
            ],
        );
        check(
            Lost { hook: Forward, by: Loser::Silent },
            Pod,
            "chain FORWARD of iptables-legacy",
            &[
                "iptables-legacy -I FORWARD -s 10.244.0.0/16 -j ACCEPT",
                "iptables-legacy -I FORWARD -d 10.244.0.0/16 -j ACCEPT",
            ],
        );
        check(
            chain("ip f out", Output, &[]),
            Pod,
            "chain out in table ip f",
            &["nft insert rule ip f out ip daddr 10.244.0.0/16 accept"],
        );
    }

    #[test]
    fn routing_and_skiffs_own_table_are_no_filters() {
        let routing = Lost { hook: Hook::Prerouting, by: Loser::Routing };
        let explained = |forwards| explain(&routing, Source::Pod, RANGES(), forwards).unwrap();
        assert_eq!(explained(false).remedy, ["sysctl -w net.ipv4.ip_forward=1"]);
        assert_eq!(explained(true).remedy, Vec::<String>::new());
        assert!(explained(true).cause.contains("rp_filter"));
        assert_eq!(
            explain(&chain("ip skiff refuse", Hook::Prerouting, &[]), Source::Pod, RANGES(), true),
            None
        );
    }
}
