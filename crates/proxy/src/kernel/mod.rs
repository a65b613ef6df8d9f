//! The table in the kernel: made once, read back after a restart, and changed by plans.

mod abi;
mod element;
mod flows;
mod layout;
mod read;
mod rule;
mod socket;
mod structure;
mod trace;
mod trial;
mod watch;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

pub use layout::Ranges;
use layout::{BASE_CHAINS, ChainSpec, HAIRPIN, TABLE};
pub use socket::KernelError;
use socket::{Request, Socket};
pub use structure::Deviation;
pub use trace::{Discarder, Flow, Hook, Loser, Lost, Trace};
pub use trial::{TrialError, try_out};
pub use watch::{TableWatch, Touched};
use wire::Writer;

use crate::{
    model::{Element, Verdict},
    plan::Op,
};

/// Our table in the current network namespace. All calls block for as long as the kernel needs.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    ranges: Ranges,
    /// Chains that exist; shared ones are made when first needed, and removed by [`Kernel::tidy`].
    chains: BTreeSet<String>,
    /// How many frontends have each verdict.
    verdicts: BTreeMap<Verdict, usize>,
    /// There may be chains that no verdict leads to.
    untidy: bool,
    state: State,
}

/// What the kernel has of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All of it, elements apart.
    Complete,
    /// Nothing: it is made together with the next elements.
    Absent,
    /// Something else: it is replaced together with the next elements.
    Deviating(Deviation),
}

impl Kernel {
    /// Looks at what an earlier run left and returns its elements. Nothing is changed before the first [`Kernel::apply`], so
    /// traffic goes on meanwhile.
    pub fn open(ranges: Ranges) -> Result<(Self, Vec<Element>), KernelError> {
        let mut kernel = Self {
            socket: Socket::open()?,
            ranges,
            chains: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            untidy: true,
            state: State::Absent,
        };
        let elements = kernel.read()?;
        Ok((kernel, elements))
    }

    /// Goes on with other ranges: after the next [`Kernel::read`], [`Kernel::apply`] replaces the table.
    pub fn set_ranges(&mut self, ranges: Ranges) {
        self.ranges = ranges;
    }

    /// Reads everything back, also after a failure that left the state unknown.
    pub fn read(&mut self) -> Result<Vec<Element>, KernelError> {
        let structure = read::structure(&mut self.socket)?;
        self.state = match structure.as_ref().map(|structure| structure.check(&self.ranges)) {
            None => State::Absent,
            Some(Ok(())) => State::Complete,
            Some(Err(deviation)) => State::Deviating(deviation),
        };
        self.chains.clear();
        self.verdicts.clear();
        self.untidy = true;
        if self.state != State::Complete {
            return Ok(Vec::new());
        }
        self.chains.extend(structure.into_iter().flat_map(|structure| structure.chains.into_keys()));
        let elements = read::elements(&mut self.socket)?;
        count_verdicts(&mut self.verdicts, elements.iter(), |count| count + 1);
        Ok(elements)
    }

    /// What the last [`Kernel::read`] or [`Kernel::apply`] left.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The number by which [`TableWatch`] tells our changes from those of others.
    pub fn port(&self) -> Result<u32, KernelError> {
        self.socket.port()
    }

    /// Carries out a plan: its element steps in one transaction, then the rest. After an error nothing of the
    /// transaction was done, unless the answer was lost; [`Kernel::read`] tells.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        let removed = || ops.iter().filter_map(Op::removed);
        let added = || ops.iter().filter_map(Op::added);
        let mut verdicts = self.verdicts.clone();
        count_verdicts(&mut verdicts, removed(), |count| count.saturating_sub(1));
        count_verdicts(&mut verdicts, added(), |count| count + 1);
        verdicts.retain(|_, count| *count > 0);
        let new_chains =
            self.new_chains(verdicts.keys().filter(|verdict| !self.verdicts.contains_key(*verdict)));
        let mut requests = Vec::new();
        if matches!(self.state, State::Deviating(_)) {
            requests.push(delete_table());
        }
        if self.state != State::Complete {
            requests.extend(table_requests(&self.ranges));
        }
        requests.extend(new_chains.iter().flat_map(chain_requests));
        requests.extend(element::requests(abi::DELSETELEM, removed()));
        requests.extend(element::requests(abi::NEWSETELEM, added()));
        self.socket.transaction("change the table of Services", requests)?;
        self.state = State::Complete;
        self.untidy |= self.verdicts.keys().any(|verdict| !verdicts.contains_key(verdict));
        self.verdicts = verdicts;
        self.chains.extend(new_chains.into_iter().map(|chain| chain.name));

        let forget: flows::Keep = ops.iter().filter_map(Op::flows).collect();
        flows::forget(&mut self.socket, &forget)
    }

    /// Whether there may be shared chains that no frontend uses any more.
    pub fn is_untidy(&self) -> bool {
        self.untidy
    }

    /// Removes the shared chains that no frontend uses any more. Not a part of [`Kernel::apply`]: when one is needed again,
    /// the kernel validates the whole table, which takes milliseconds with thousands of Services.
    pub fn tidy(&mut self) -> Result<(), KernelError> {
        self.untidy = false;
        let unneeded = structure::unneeded(self.chains.iter(), self.verdicts.keys());
        let requests = unneeded.iter().map(|name| delete_chain(name)).collect();
        self.socket.transaction("remove chains of the table of Services", requests)?;
        self.chains.retain(|name| !unneeded.contains(name));
        Ok(())
    }

    fn new_chains<'a>(&self, verdicts: impl Iterator<Item = &'a Verdict>) -> Vec<ChainSpec> {
        let mut new = Vec::<ChainSpec>::new();
        for verdict in verdicts {
            for chain in layout::shared_chains(verdict, &self.ranges) {
                if !self.chains.contains(&chain.name) && new.iter().all(|known| known.name != chain.name) {
                    new.push(chain);
                }
            }
        }
        new
    }
}

fn count_verdicts<'a>(
    verdicts: &mut BTreeMap<Verdict, usize>,
    elements: impl Iterator<Item = &'a Element>,
    change: impl Fn(usize) -> usize,
) {
    for element in elements {
        if let Element::Service(_, verdict) | Element::Guarded(_, verdict) = element {
            let count = verdicts.entry(*verdict).or_default();
            *count = change(*count);
        }
    }
}

/// What the kernel holds now in the current network namespace, for looking at it; empty without a table.
pub fn inspect() -> Result<Vec<Element>, KernelError> {
    let mut socket = Socket::open()?;
    match read::structure(&mut socket)? {
        None => Ok(Vec::new()),
        Some(_structure) => read::elements(&mut socket),
    }
}

/// Whether the table in the current network namespace is there and whole, elements apart, and how many frontends it serves.
/// Any ranges will do: those that the table itself tells.
pub fn examine() -> Result<(State, usize), KernelError> {
    let mut socket = Socket::open()?;
    let Some(structure) = read::structure(&mut socket)? else { return Ok((State::Absent, 0)) };
    if let Err(deviation) = structure.check_itself() {
        return Ok((State::Deviating(deviation), 0));
    }
    Ok((State::Complete, read::of_set(&mut socket, layout::SERVICES)?.len()))
}

/// Removes our table from the current network namespace; its absence is no error.
pub fn teardown() -> Result<(), KernelError> {
    let mut socket = Socket::open()?;
    match socket.transaction("remove the table of Services", vec![delete_table()]) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Reads `bytes` as every kind of answer and notification that this crate reads, and returns how much made sense. For
/// fuzzing: whatever the bytes, nothing panics.
pub fn decode(bytes: &[u8]) -> usize {
    let mut pending = watch::Pending::default();
    let mut known = 0;
    for message in skiff_netlink::messages(bytes) {
        let attributes = wire::attributes(&message);
        known += element::SETS.iter().map(|set| element::read(set, attributes).count()).sum::<usize>();
        known += usize::from(pending.hear(&message).is_some());
        known += usize::from(flows::is_stale(attributes, &flows::Keep::default()));
        known += usize::from(!read::comment(attributes.get(abi::RULE_USERDATA)).is_empty());
    }
    known
}

fn delete_table<'a>() -> Request<'a> {
    Request::table(abi::DELTABLE, 0, |out| out.text(abi::TABLE_NAME, TABLE))
}

/// With the rules in it.
fn delete_chain<'a>(name: &str) -> Request<'a> {
    let name = name.to_owned();
    Request::table(abi::DELCHAIN, 0, move |out| {
        out.text(abi::CHAIN_TABLE, TABLE);
        out.text(abi::CHAIN_NAME, &name);
    })
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
        if !set.parts.is_empty() {
            let part = |out: &mut Writer, length: &u32| {
                out.nest(abi::LIST_ELEM, |out| out.u32(abi::SET_FIELD_LEN, *length));
            };
            let parts = |out: &mut Writer| set.parts.iter().for_each(|length| part(out, length));
            out.nest(abi::SET_DESC, |out| out.nest(abi::SET_DESC_CONCAT, parts));
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
    let all = rules.len();
    rules.into_iter().enumerate().map(move |(position, rule)| {
        let name = name.clone();
        let comment = comment_userdata(&structure::rule_comment(position, all));
        // Appends, as the flag asks for a new rule at the end.
        Request::table(abi::NEWRULE, abi::NLM_F_CREATE | NLM_F_APPEND, move |out| {
            out.text(abi::RULE_TABLE, TABLE);
            out.text(abi::RULE_CHAIN, &name);
            rule::write(&rule, out);
            out.bytes(abi::RULE_USERDATA, &comment);
        })
    })
}

const NLM_F_APPEND: u16 = 0x800;

fn chain_requests<'a>(chain: &ChainSpec) -> impl Iterator<Item = Request<'a>> + use<'a> {
    let chain = ChainSpec { name: chain.name.clone(), rules: chain.rules.clone() };
    std::iter::once(new_chain(chain.name.clone())).chain(rule_requests(chain))
}

/// User data of tables and rules as the `nft` program writes it: kind 0 is a comment, terminated.
fn comment_userdata(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], comment.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            decode(&bytes);
        }

        /// As above, with a header that fits and small numbers, so that attributes inside attributes are reached.
        #[test]
        fn any_attributes_are_read_without_panic(kind in any::<u16>(), body in prop::collection::vec(0u8..32, 0..256)) {
            let length = u32::try_from(16 + body.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            decode(&bytes);
        }
    }
}
