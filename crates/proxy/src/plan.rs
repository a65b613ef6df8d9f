//! The difference between what the kernel holds and what it should hold. Pure.

use std::{cmp::Ordering, fmt};

use crate::model::{Element, Endpoint, Frontend, Key, Protocol};

/// One step towards the wanted state. All element steps of a plan are applied in one transaction, the flows after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Takes an element out.
    Remove(Element),
    /// Puts an element in, after all removals.
    Add(Element),
    /// Forgets UDP flows to a frontend that go elsewhere than to these endpoints; otherwise a client that keeps
    /// sending would never be sent elsewhere, nor be refused.
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

impl Op {
    /// The element that the step takes out.
    pub fn removed(&self) -> Option<&Element> {
        if let Self::Remove(element) = self { Some(element) } else { None }
    }

    /// The element that the step puts in.
    pub fn added(&self) -> Option<&Element> {
        if let Self::Add(element) = self { Some(element) } else { None }
    }

    /// The frontend whose flows are reconsidered, and the endpoints with which they may stay.
    pub fn flows(&self) -> Option<(Frontend, Vec<Endpoint>)> {
        if let Self::ForgetFlows(frontend, keep) = self { Some((*frontend, keep.clone())) } else { None }
    }
}

/// The steps from `old` to `new`, both sorted, of one key.
pub fn plan(key: Key, old: &[Element], new: &[Element], serving: Serving<'_>) -> Vec<Op> {
    let mut ops = difference(old, new);
    if let Key::Frontend(frontend) = key
        && frontend.protocol == Protocol::Udp
        && serving.may_leave_flows()
    {
        ops.push(Op::ForgetFlows(frontend, serving.now.to_vec()));
    }
    ops
}

/// The endpoints of a frontend that answer, used for new connections or not. Existing flows of UDP follow these: a flow
/// stays with an endpoint that shuts down for as long as that serves, and not a moment longer.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    /// Those of the last plan that was carried out; unknown for a new frontend and after a restart.
    pub before: Option<&'a [Endpoint]>,
    /// Those of now; none for a frontend that is gone.
    pub now: &'a [Endpoint],
}

impl Serving<'_> {
    /// Whether there may be flows that lead elsewhere than to an endpoint that serves now: to one that does not any more,
    /// or past the frontend, from a time when it had none.
    fn may_leave_flows(&self) -> bool {
        self.before.is_none_or(|before| {
            before.iter().any(|endpoint| !self.now.contains(endpoint))
                || (before.is_empty() && !self.now.is_empty())
        })
    }
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
