//! The table in the kernel: made once, read back after a restart, and changed by plans.

mod abi;
mod element;
mod flows;
mod layout;
mod rule;
mod socket;
mod trace;
mod trial;
mod wire;

use std::collections::{BTreeSet, HashSet};

pub use socket::KernelError;
pub use trace::{Discarder, Flow, Hook, Loser, Lost, Trace};
pub use trial::{TrialError, try_out};

use crate::{
    model::{Element, Verdict},
    plan::Op,
};
pub use layout::Ranges;
use layout::{BASE_CHAINS, ChainSpec, HAIRPIN, TABLE};
use socket::{Request, Socket};
use wire::{Message, Writer};

/// Attempts to read a state that keeps changing while it is read. Only we change the table, so one is the rule.
const READ_ATTEMPTS: u32 = 5;

/// Our table in the current network namespace. All calls block for as long as the kernel needs.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    ranges: Ranges,
    /// Chains that exist; shared ones are made when first needed and stay.
    chains: HashSet<String>,
    /// Whether the table has to be made, or replaced, together with the first elements.
    missing: Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nothing,
    /// There is no table.
    Table,
    /// There is one of another layout or other ranges.
    Replacement,
}

impl Kernel {
    /// Looks at what an earlier run left and returns its elements. Nothing is changed before the first [`Kernel::apply`], so
    /// traffic goes on meanwhile.
    pub fn open(ranges: Ranges) -> Result<(Self, Vec<Element>), KernelError> {
        let mut kernel =
            Self { socket: Socket::open()?, ranges, chains: HashSet::new(), missing: Missing::Nothing };
        let elements = kernel.read()?;
        Ok((kernel, elements))
    }

    /// Reads everything back, also after a failure that left the state unknown.
    pub fn read(&mut self) -> Result<Vec<Element>, KernelError> {
        self.chains.clear();
        self.missing = match read_comment(&mut self.socket)? {
            None => Missing::Table,
            Some(comment) if comment == layout::comment(&self.ranges) => Missing::Nothing,
            Some(_other) => Missing::Replacement,
        };
        if self.missing != Missing::Nothing {
            return Ok(Vec::new());
        }
        self.chains = read_chains(&mut self.socket)?;
        read_elements(&mut self.socket)
    }

    /// Carries out a plan: its element steps in one transaction, then the rest. After an error nothing of the
    /// transaction was done, unless the answer was lost; [`Kernel::read`] tells.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        let chains = self.new_chains(ops);
        let mut requests = Vec::new();
        if self.missing == Missing::Replacement {
            requests.push(delete_table());
        }
        if self.missing != Missing::Nothing {
            requests.extend(table_requests(&self.ranges));
        }
        requests.extend(chains.iter().flat_map(chain_requests));
        let removed = ops.iter().filter_map(|op| match op {
            Op::Remove(element) => Some(element),
            _ => None,
        });
        let added = ops.iter().filter_map(|op| match op {
            Op::Add(element) => Some(element),
            _ => None,
        });
        requests.extend(element::requests(abi::DELSETELEM, removed));
        requests.extend(element::requests(abi::NEWSETELEM, added));
        self.socket.transaction("change the table of Services", requests)?;
        self.missing = Missing::Nothing;
        self.chains.extend(chains.into_iter().map(|chain| chain.name));
        let forget: Vec<_> = ops
            .iter()
            .filter_map(|op| match op {
                Op::ForgetFlows(frontend, keep) => Some((*frontend, keep.clone())),
                _ => None,
            })
            .collect();
        flows::forget(&mut self.socket, &forget)
    }

    fn new_chains(&self, ops: &[Op]) -> Vec<ChainSpec> {
        let verdicts: BTreeSet<Verdict> = ops
            .iter()
            .filter_map(|op| match op {
                Op::Add(Element::Service(_, verdict)) => Some(*verdict),
                _ => None,
            })
            .collect();
        let mut new = Vec::<ChainSpec>::new();
        for verdict in verdicts {
            for chain in layout::shared_chains(&verdict, &self.ranges) {
                if !self.chains.contains(&chain.name) && new.iter().all(|known| known.name != chain.name) {
                    new.push(chain);
                }
            }
        }
        new
    }
}

/// What the kernel holds now in the current network namespace, for looking at it; empty without a table.
pub fn inspect() -> Result<Vec<Element>, KernelError> {
    let mut socket = Socket::open()?;
    match read_comment(&mut socket)? {
        None => Ok(Vec::new()),
        Some(_comment) => read_elements(&mut socket),
    }
}

/// Removes our table from the current network namespace; its absence is no error.
pub fn teardown() -> Result<(), KernelError> {
    let mut socket = Socket::open()?;
    match socket.transaction("remove the table of Services", vec![delete_table()]) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

fn delete_table<'a>() -> Request<'a> {
    Request::table(abi::DELTABLE, 0, |out| out.text(abi::TABLE_NAME, TABLE))
}

/// The table with its sets, fixed chains and the pod addresses for hairpin connections.
fn table_requests(ranges: &Ranges) -> Vec<Request<'_>> {
    let comment = layout::comment(ranges);
    let mut requests = vec![Request::table(abi::NEWTABLE, abi::NLM_F_CREATE, move |out| {
        out.text(abi::TABLE_NAME, TABLE);
        out.bytes(abi::TABLE_USERDATA, &comment_userdata(&comment));
    })];
    requests.extend(layout::sets().into_iter().map(set_request));
    let fixed = layout::fixed_chains(ranges);
    requests.extend(fixed.iter().map(|chain| new_chain(chain.name.clone())));
    requests.extend(fixed.into_iter().flat_map(rule_requests));
    let addresses: Vec<_> = ranges.pod_cidr.hosts().collect();
    for chunk in addresses.chunks(400) {
        let chunk = chunk.to_vec();
        requests.push(element::list(abi::NEWSETELEM, HAIRPIN, move |out| {
            chunk.iter().for_each(|ip| element::write_key(&[ip.octets(), ip.octets()].concat(), out));
        }));
    }
    requests
}

fn set_request<'a>(set: layout::SetSpec) -> Request<'a> {
    Request::table(abi::NEWSET, abi::NLM_F_CREATE, move |out| {
        out.text(abi::SET_TABLE, TABLE);
        out.text(abi::SET_NAME, set.name);
        out.u32(abi::SET_FLAGS, set.flags);
        out.u32(abi::SET_KEY_TYPE, set.key_type);
        out.u32(abi::SET_KEY_LEN, set.key_length);
        if let Some((kind, length)) = set.data {
            out.u32(abi::SET_DATA_TYPE, kind);
            out.u32(abi::SET_DATA_LEN, length);
        }
        if let Some(size) = set.size {
            out.nest(abi::SET_DESC, |out| out.u32(abi::SET_DESC_SIZE, size));
        }
        out.u32(abi::SET_ID, set.id);
    })
}

fn new_chain<'a>(name: String) -> Request<'a> {
    Request::table(abi::NEWCHAIN, abi::NLM_F_CREATE, move |out| {
        out.text(abi::CHAIN_TABLE, TABLE);
        out.text(abi::CHAIN_NAME, &name);
        if let Some(base) = BASE_CHAINS.iter().find(|base| base.name == name) {
            out.nest(abi::CHAIN_HOOK, |out| {
                out.u32(abi::HOOK_HOOKNUM, base.hook);
                out.i32(abi::HOOK_PRIORITY, base.priority);
            });
            out.i32(abi::CHAIN_POLICY, abi::NF_ACCEPT);
            out.text(abi::CHAIN_TYPE, "nat");
        }
    })
}

fn rule_requests<'a>(chain: ChainSpec) -> impl Iterator<Item = Request<'a>> {
    let ChainSpec { name, rules } = chain;
    rules.into_iter().map(move |rule| {
        let name = name.clone();
        // Appends, as the flag asks for a new rule at the end.
        Request::table(abi::NEWRULE, abi::NLM_F_CREATE | NLM_F_APPEND, move |out| {
            out.text(abi::RULE_TABLE, TABLE);
            out.text(abi::RULE_CHAIN, &name);
            rule::write(&rule, out);
        })
    })
}

const NLM_F_APPEND: u16 = 0x800;

fn chain_requests<'a>(chain: &ChainSpec) -> impl Iterator<Item = Request<'a>> + use<'a> {
    let chain = ChainSpec { name: chain.name.clone(), rules: chain.rules.clone() };
    std::iter::once(new_chain(chain.name.clone())).chain(rule_requests(chain))
}

/// A table's user data as the `nft` program writes it: kind 0 is a comment, terminated.
fn comment_userdata(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], comment.as_bytes(), &[0]].concat()
}

/// The comment of our table, or none without a table.
fn read_comment(socket: &mut Socket) -> Result<Option<String>, KernelError> {
    let mut found = String::new();
    let request = Request::table(abi::GETTABLE, 0, |out| out.text(abi::TABLE_NAME, TABLE));
    let result = socket.get("look up the table of Services", request, |message| {
        let userdata = message.attributes().get(abi::TABLE_USERDATA).unwrap_or_default();
        let comment = userdata.get(2..).unwrap_or_default();
        found = String::from_utf8_lossy(comment).trim_end_matches('\0').to_owned();
    });
    match result {
        Err(error) if error.is_not_found() => Ok(None),
        other => other.map(|()| Some(found)),
    }
}

fn read_chains(socket: &mut Socket) -> Result<HashSet<String>, KernelError> {
    let mut chains = HashSet::new();
    let request = || Request::table(abi::GETCHAIN, 0, |_: &mut Writer| {});
    read_consistently(socket, "list chains", request, |message| {
        let chain = message.attributes();
        if chain.text(abi::CHAIN_TABLE) == Some(TABLE) {
            chains.extend(chain.text(abi::CHAIN_NAME).map(str::to_owned));
        }
    })?;
    Ok(chains)
}

/// Chains of others that drop forwarded packets unless they say otherwise, as `table chain`. They would stop all
/// traffic of pods, and no table of ours can overrule them.
pub fn forward_droppers() -> Result<Vec<String>, KernelError> {
    let (mut socket, mut found) = (Socket::open()?, Vec::new());
    for family in [abi::NFPROTO_IPV4, abi::NFPROTO_INET] {
        let request = || Request::table(abi::GETCHAIN, 0, |_: &mut Writer| {}).of_family(family);
        read_consistently(&mut socket, "list chains", request, |message| {
            let chain = message.attributes();
            let number = |attribute: Option<&[u8]>| attribute?.first_chunk().copied().map(u32::from_be_bytes);
            let hook = chain.nested(abi::CHAIN_HOOK).and_then(|hook| number(hook.get(abi::HOOK_HOOKNUM)));
            let drops = number(chain.get(abi::CHAIN_POLICY)) == u32::try_from(abi::NF_DROP).ok();
            if hook == Some(abi::HOOK_FORWARD) && drops {
                let name = |kind| chain.text(kind).unwrap_or_default();
                found.push(format!("{} {}", name(abi::CHAIN_TABLE), name(abi::CHAIN_NAME)));
            }
        })?;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn read_elements(socket: &mut Socket) -> Result<Vec<Element>, KernelError> {
    let mut elements = BTreeSet::new();
    for set in element::SETS {
        let request = || {
            Request::table(abi::GETSETELEM, 0, move |out: &mut Writer| {
                out.text(abi::SET_ELEM_LIST_TABLE, TABLE);
                out.text(abi::SET_ELEM_LIST_SET, set);
            })
        };
        read_consistently(socket, "list elements", request, |message| {
            elements.extend(element::read(set, message.attributes()));
        })?;
    }
    Ok(elements.into_iter().collect())
}

/// Reads a list, again if it changed meanwhile.
fn read_consistently<'a>(
    socket: &mut Socket,
    action: &'static str,
    request: impl Fn() -> Request<'a>,
    mut each: impl FnMut(Message<'_>),
) -> Result<(), KernelError> {
    for _ in 1..READ_ATTEMPTS {
        match socket.dump(action, request(), &mut each) {
            Err(KernelError::Interrupted) => {}
            other => return other,
        }
    }
    socket.dump(action, request(), &mut each)
}
