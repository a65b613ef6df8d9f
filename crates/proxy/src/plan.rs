//! The difference between what the kernel holds and what it should hold. Pure.

use std::{cmp::Ordering, fmt};

use crate::{
    model::{Element, Endpoint, Frontend, Key, Protocol},
    table::Entry,
};

/// One step towards the wanted state. All element steps of a plan are applied in one transaction, the flows after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Takes an element out.
    Remove(Element),
    /// Puts an element in, after all removals.
    Add(Element),
    /// Forgets UDP flows to a frontend that go elsewhere than to these endpoints; otherwise a client that keeps
    /// sending would never be sent elsewhere.
    ForgetFlows(Frontend, Vec<Endpoint>),
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove(element) => write!(f, "- {element}"),
            Self::Add(element) => write!(f, "+ {element}"),
            Self::ForgetFlows(frontend, keep) => {
                write!(f, "! forget flows to {frontend} except to")?;
                keep.iter().try_for_each(|endpoint| write!(f, " {endpoint}"))
            }
        }
    }
}

/// The steps from `old` to `new`, both sorted, of one key. `entry` is what `new` was made from.
pub fn plan(key: Key, old: &[Element], new: &[Element], entry: Option<&Entry>) -> Vec<Op> {
    let mut ops = difference(old, new);
    if let (Key::Frontend(frontend), Some(keep)) = (key, entry.and_then(|entry| entry.keep_flows.as_ref()))
        && frontend.protocol == Protocol::Udp
        && !keep.is_empty()
        && endpoints(old) != endpoints(new)
    {
        ops.push(Op::ForgetFlows(frontend, keep.clone()));
    }
    ops
}

fn endpoints(elements: &[Element]) -> Vec<Endpoint> {
    let mut endpoints: Vec<_> = elements
        .iter()
        .filter_map(|element| match element {
            Element::Endpoint(_, _, endpoint) => Some(*endpoint),
            _ => None,
        })
        .collect();
    endpoints.sort_unstable();
    endpoints
}

fn difference(old: &[Element], new: &[Element]) -> Vec<Op> {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        if order.is_le() {
            removed.extend(old.next().filter(|_| order.is_lt()).map(|element| Op::Remove(*element)));
        }
        if order.is_ge() {
            added.extend(new.next().filter(|_| order.is_gt()).map(|element| Op::Add(*element)));
        }
    }
    removed.append(&mut added);
    removed
}
