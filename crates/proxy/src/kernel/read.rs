//! Reads the table back from the kernel.

use std::collections::BTreeSet;

use skiff_netlink::{Attributes, Message};

use super::{
    abi, element,
    layout::{HAIRPIN, TABLE},
    socket::{KernelError, Request, Socket},
    structure::Structure,
    wire::{self, Writer},
};
use crate::model::Element;

/// Attempts to read a state that keeps changing while it is read. Only we change the table, so one is the rule.
const READ_ATTEMPTS: u32 = 5;

/// The table without its elements, or none.
pub(super) fn structure(socket: &mut Socket) -> Result<Option<Structure>, KernelError> {
    let mut structure = Structure::default();
    let request = Request::table(abi::GETTABLE, 0, |out| out.text(abi::TABLE_NAME, TABLE));
    let result = socket.get("look up the table of Services", request, |message| {
        let table = wire::attributes(&message);
        structure.comment = comment(table.get(abi::TABLE_USERDATA));
        structure.flags = table.u32_be(abi::TABLE_FLAGS).unwrap_or_default();
    });
    match result {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    }
    let ours = |object: Attributes<'_>| object.text(abi::ANY_TABLE) == Some(TABLE);
    let all = |kind| move || Request::table(kind, 0, |out: &mut Writer| out.text(abi::ANY_TABLE, TABLE));
    let chains = list(socket, "list chains", all(abi::GETCHAIN), |chain| {
        let policy = chain.u32_be(abi::CHAIN_POLICY).map(u32::cast_signed);
        ours(chain).then(|| Some((chain.text(abi::CHAIN_NAME)?.to_owned(), policy))).flatten()
    })?;
    let rules = list(socket, "list rules", all(abi::GETRULE), |rule| {
        let text = comment(rule.get(abi::RULE_USERDATA));
        ours(rule).then(|| Some((rule.text(abi::RULE_CHAIN)?.to_owned(), text))).flatten()
    })?;
    let sets = list(socket, "list sets", all(abi::GETSET), |set| {
        ours(set).then(|| set.text(abi::SET_NAME).map(str::to_owned)).flatten()
    })?;
    structure.chains = chains.into_iter().collect();
    for (chain, comment) in rules {
        structure.rules.entry(chain).or_default().push(comment);
    }
    structure.sets = sets.into_iter().collect();
    if structure.sets.contains(HAIRPIN) {
        let counts = list(socket, "list elements", elements_of(HAIRPIN), |list| Some(element::count(list)))?;
        structure.hairpin = counts.into_iter().sum();
    }
    Ok(Some(structure))
}

/// All elements that we put into the table.
pub(super) fn elements(socket: &mut Socket) -> Result<Vec<Element>, KernelError> {
    let mut all = BTreeSet::new();
    for set in element::SETS {
        all.extend(of_set(socket, set)?);
    }
    Ok(all.into_iter().collect())
}

/// The elements of one set.
pub(super) fn of_set(socket: &mut Socket, set: &'static str) -> Result<Vec<Element>, KernelError> {
    let lists = list(socket, "list elements", elements_of(set), |list| {
        Some(element::read(set, list).collect::<Vec<_>>())
    })?;
    Ok(lists.concat())
}

fn elements_of<'a>(set: &'static str) -> impl Fn() -> Request<'a> {
    move || {
        Request::table(abi::GETSETELEM, 0, move |out: &mut Writer| {
            out.text(abi::SET_ELEM_LIST_TABLE, TABLE);
            out.text(abi::SET_ELEM_LIST_SET, set);
        })
    }
}

/// A comment in user data as the `nft` program writes it: kind 0, length, terminated text.
pub(super) fn comment(userdata: Option<&[u8]>) -> String {
    match userdata {
        Some([0, _length, text @ ..]) => String::from_utf8_lossy(text).trim_end_matches('\0').to_owned(),
        _ => String::new(),
    }
}

/// What `each` makes of the objects of a list; read again if it changed meanwhile.
pub(super) fn list<'a, T>(
    socket: &mut Socket,
    action: &'static str,
    request: impl Fn() -> Request<'a>,
    each: impl Fn(Attributes<'_>) -> Option<T>,
) -> Result<Vec<T>, KernelError> {
    let mut attempt = || {
        let mut objects = Vec::new();
        socket.dump(action, request(), |message: Message<'_>| {
            objects.extend(each(wire::attributes(&message)))
        })?;
        Ok(objects)
    };
    for _ in 1..READ_ATTEMPTS {
        match attempt() {
            Err(KernelError::Interrupted) => {}
            other => return other,
        }
    }
    attempt()
}
