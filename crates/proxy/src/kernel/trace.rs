//! Where packets of a connection are lost: the kernel tells which chain of which table has discarded them.
//!
//! A table of our own marks the packets of one connection for tracing; then every chain of nftables that sees one reports what
//! it did with it. Empty chains at the beginning and end of the hooks tell where a packet was last seen, which is how
//! those are found that report nothing: the rules of `iptables-legacy`, and the routing. The table belongs to the
//! socket, so it goes with the process whatever happens.

use std::{fmt, net::Ipv4Addr, time::Duration};

use skiff_netlink::Message;

use crate::model::Protocol;

use super::{
    abi, read,
    rule::{self, Expr},
    socket::{KernelError, Request, Socket},
    wire::{self, Writer},
};

/// Our table while we look.
const TABLE: &str = "skiff-trace";
/// After connection tracking, before address translation: the first place where a connection can be told by its beginning.
const MARK: i32 = -190;
const FIRST: i32 = i32::MIN + 1;
/// After all filters, `iptables-legacy` and the security table included.
const LAST: i32 = 400;

/// A connection, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// All that this address has begun.
    From(Ipv4Addr),
    /// All that was begun with this protocol to this address and port, before any translation.
    To(Protocol, Ipv4Addr, u16),
}

/// A place in the kernel that packets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Everything that arrives.
    Prerouting,
    /// What is for this machine.
    Input,
    /// What goes on to another: all traffic between pods.
    Forward,
    /// What this machine sends.
    Output,
}

/// A chain of nftables that has discarded a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarder {
    /// As the `nft` program writes it: `ip`, `inet`.
    pub family: &'static str,
    /// The chain's table.
    pub table: String,
    /// The chain that decided.
    pub chain: String,
    /// Whether the chain's policy did, and not a rule.
    pub by_policy: bool,
    /// All chains of that table; their names tell which program made it.
    pub siblings: Vec<String>,
}

/// Who has lost a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loser {
    /// A chain that says so.
    Chain(Discarder),
    /// Something that is asked in the hook and reports nothing: `iptables-legacy`, or a program attached there.
    Silent,
    /// It was neither delivered nor forwarded.
    Routing,
}

/// A lost packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Where it was seen last.
    pub hook: Hook,
    /// Who has it.
    pub by: Loser,
}

/// Traces connections for as long as it lives, in the network namespace in which it was made. Calls block.
#[derive(Debug)]
pub struct Trace {
    socket: Socket,
}

impl Trace {
    /// Begins to trace. Packets count from here on.
    pub fn start(flow: Flow) -> Result<Self, KernelError> {
        let mut socket = Socket::listening(abi::NFNLGRP_NFTRACE)?;
        socket.transaction("trace a connection", requests(flow))?;
        Ok(Self { socket })
    }

    /// Waits until a packet is lost, or for `patience`. Nothing: no packet was lost on this machine.
    pub fn lost(mut self, patience: Duration) -> Result<Option<Lost>, KernelError> {
        let mut steps = Vec::new();
        self.socket.listen("trace a connection", patience, |message| {
            steps.extend(Step::read(message));
            discarded(&steps).is_some()
        })?;
        let mut lost = discarded(&steps).or_else(|| vanished(&steps));
        if let Some(Lost { by: Loser::Chain(chain), .. }) = &mut lost {
            chain.siblings = chains_of(chain.family, &chain.table)?;
        }
        Ok(lost)
    }
}

/// The chains of our table: name, hook, priority.
const CHAINS: [(&str, Hook, i32); 7] = [
    ("prerouting", Hook::Prerouting, MARK),
    ("output", Hook::Output, MARK),
    ("output last", Hook::Output, LAST),
    ("input", Hook::Input, FIRST),
    ("input last", Hook::Input, LAST),
    ("forward", Hook::Forward, FIRST),
    ("forward last", Hook::Forward, LAST),
];

fn requests<'a>(flow: Flow) -> Vec<Request<'a>> {
    let mut requests = vec![Request::table(abi::NEWTABLE, abi::NLM_F_CREATE, |out: &mut Writer| {
        out.text(abi::TABLE_NAME, TABLE);
        out.u32(abi::TABLE_FLAGS, abi::TABLE_OWNER);
    })];
    for (name, hook, priority) in CHAINS {
        requests.push(Request::table(abi::NEWCHAIN, abi::NLM_F_CREATE, move |out| {
            out.text(abi::CHAIN_TABLE, TABLE);
            out.text(abi::CHAIN_NAME, name);
            out.nest(abi::CHAIN_HOOK, |out| {
                out.u32(abi::HOOK_HOOKNUM, hook.number());
                out.i32(abi::HOOK_PRIORITY, priority);
            });
            out.i32(abi::CHAIN_POLICY, abi::NF_ACCEPT);
            out.text(abi::CHAIN_TYPE, "filter");
        }));
        if priority == MARK {
            requests.push(Request::table(abi::NEWRULE, abi::NLM_F_CREATE, move |out| {
                out.text(abi::RULE_TABLE, TABLE);
                out.text(abi::RULE_CHAIN, name);
                rule::write(&flow.marking(), out);
            }));
        }
    }
    requests
}

impl Flow {
    fn marking(self) -> Vec<Expr> {
        let octets = |address: Ipv4Addr| address.octets().to_vec();
        let mut rule = match self {
            Self::From(address) => vec![Expr::OriginalSource(0), Expr::Equal(0, octets(address))],
            // Without the protocol, what a port means is not said: the nft program would show an invalid rule.
            Self::To(protocol, address, port) => vec![
                Expr::TransportProtocol(0),
                Expr::Equal(0, vec![protocol.number()]),
                Expr::OriginalAddress(0),
                Expr::Equal(0, octets(address)),
                Expr::OriginalPort(0),
                Expr::Equal(0, port.to_be_bytes().to_vec()),
            ],
        };
        rule.extend([Expr::Value(0, vec![1]), Expr::Trace(0)]);
        rule
    }
}

impl Hook {
    fn number(self) -> u32 {
        match self {
            Self::Prerouting => abi::HOOK_PREROUTING,
            Self::Input => abi::HOOK_INPUT,
            Self::Forward => abi::HOOK_FORWARD,
            Self::Output => abi::HOOK_OUTPUT,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
        })
    }
}

/// What a chain reports of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    packet: u32,
    family: &'static str,
    table: String,
    chain: String,
    by_policy: bool,
    drops: bool,
}

impl Step {
    fn read(message: Message<'_>) -> Option<Self> {
        if message.kind != abi::NFNL_SUBSYS_NFTABLES << 8 | abi::TRACE {
            return None;
        }
        let trace = wire::attributes(&message);
        let by_policy = trace.u32_be(abi::TRACE_TYPE) == Some(abi::TRACE_POLICY_STEP);
        let verdict = if by_policy {
            trace.u32_be(abi::TRACE_POLICY)
        } else {
            trace.nested(abi::TRACE_VERDICT)?.u32_be(abi::VERDICT_CODE)
        };
        Some(Self {
            packet: trace.u32_be(abi::TRACE_ID)?,
            family: family_name(*message.payload.first()?),
            table: trace.text(abi::TRACE_TABLE)?.to_owned(),
            chain: trace.text(abi::TRACE_CHAIN)?.to_owned(),
            by_policy,
            drops: verdict == u32::try_from(abi::NF_DROP).ok(),
        })
    }
}

const FAMILIES: [(u8, &str); 5] =
    [(abi::NFPROTO_INET, "inet"), (abi::NFPROTO_IPV4, "ip"), (5, "netdev"), (7, "bridge"), (10, "ip6")];

fn family_name(number: u8) -> &'static str {
    FAMILIES.iter().find(|(known, _)| *known == number).map_or("unknown", |(_, name)| name)
}

/// Where a packet was seen last.
fn hook_of(steps: &[Step], packet: u32) -> Option<Hook> {
    let own = steps.iter().rev().find(|step| step.packet == packet && step.table == TABLE)?;
    CHAINS.iter().find(|(name, ..)| *name == own.chain).map(|(_, hook, _)| *hook)
}

/// The first packet that a chain has discarded.
fn discarded(steps: &[Step]) -> Option<Lost> {
    let position = steps.iter().position(|step| step.drops)?;
    let step = &steps[position];
    let by = Loser::Chain(Discarder {
        family: step.family,
        table: step.table.clone(),
        chain: step.chain.clone(),
        by_policy: step.by_policy,
        siblings: Vec::new(),
    });
    Some(Lost { hook: hook_of(&steps[..position], step.packet)?, by })
}

/// The first packet that went into a hook and did not come out. All that there is to be seen of it must be in `steps`.
fn vanished(steps: &[Step]) -> Option<Lost> {
    let lost = |packet: u32| {
        let own =
            |name: &str| steps.iter().any(|s| s.packet == packet && s.table == TABLE && s.chain == name);
        for hook in [Hook::Input, Hook::Forward, Hook::Output] {
            if own(&hook.to_string()) && !own(&format!("{hook} last")) {
                return Some(Lost { hook, by: Loser::Silent });
            }
        }
        let routed = own("input") || own("forward");
        (own("prerouting") && !routed).then_some(Lost { hook: Hook::Prerouting, by: Loser::Routing })
    };
    steps.iter().find_map(|step| lost(step.packet))
}

fn chains_of(family: &str, table: &str) -> Result<Vec<String>, KernelError> {
    let Some((number, _)) = FAMILIES.iter().find(|(_, name)| *name == family) else { return Ok(Vec::new()) };
    let request = || Request::table(abi::GETCHAIN, 0, |_: &mut Writer| {}).of_family(*number);
    let mut chains = read::list(&mut Socket::open()?, "list chains", request, |chain| {
        let same = chain.text(abi::CHAIN_TABLE) == Some(table);
        same.then(|| chain.text(abi::CHAIN_NAME).map(str::to_owned)).flatten()
    })?;
    chains.sort();
    Ok(chains)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `packet table chain [policy|rule] [drop]`
    fn steps(lines: &[&str]) -> Vec<Step> {
        let step = |line: &&str| {
            let mut words = line.split(' ');
            let (packet, table) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().to_owned());
            let rest: Vec<&str> = words.collect();
            let drops = rest.last() == Some(&"drop");
            let by_policy = rest[rest.len() - 1 - usize::from(drops)] == "policy";
            let chain = rest[..rest.len() - 1 - usize::from(drops)].join(" ");
            Step { packet, family: "ip", table, chain, by_policy, drops }
        };
        lines.iter().map(step).collect()
    }

    fn chain(table: &str, chain: &str, by_policy: bool) -> Loser {
        let (table, chain) = (table.to_owned(), chain.to_owned());
        Loser::Chain(Discarder { family: "ip", table, chain, by_policy, siblings: Vec::new() })
    }

    #[test]
    fn lost_packets_are_found() {
        let check = |lines: &[&str], expected: Option<(Hook, Loser)>| {
            let steps = steps(lines);
            let found = discarded(&steps).or_else(|| vanished(&steps)).map(|lost| (lost.hook, lost.by));
            assert_eq!(found, expected, "{lines:?}");
        };
        let (pre, fwd, last) = (
            "1 skiff-trace prerouting policy",
            "1 skiff-trace forward policy",
            "1 skiff-trace forward last policy",
        );
        check(&[], None);
        check(&[pre, fwd, last], None);
        check(
            &[pre, fwd, "1 filter FORWARD policy drop"],
            Some((Hook::Forward, chain("filter", "FORWARD", true))),
        );
        check(&[pre, "1 raw early rule drop"], Some((Hook::Prerouting, chain("raw", "early", false))));
        check(&[pre, fwd], Some((Hook::Forward, Loser::Silent)));
        check(&[pre], Some((Hook::Prerouting, Loser::Routing)));
        // The first packet passes, its answer does not.
        let answer = ["2 skiff-trace prerouting policy", "2 skiff-trace input policy"];
        check(&[&[pre, fwd, last], &answer[..]].concat(), Some((Hook::Input, Loser::Silent)));
        let interleaved =
            ["2 skiff-trace prerouting policy", pre, "2 skiff-trace input policy", fwd, "2 f in rule drop"];
        check(&interleaved, Some((Hook::Input, chain("f", "in", false))));
        check(&["1 skiff-trace output policy"], Some((Hook::Output, Loser::Silent)));
        check(&["1 skiff-trace output policy", "1 skiff-trace output last policy"], None);
    }
}
