use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{Endpoint, Frontend, Protocol, ServiceName, TargetPort},
    table::{Backends, Entry},
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn named(name: &str) -> Owner {
    Owner::Service(ServiceName { namespace: "default".into(), name: name.into() })
}

fn endpoint(number: u8) -> Endpoint {
    Endpoint { address: Ipv4Addr::new(10, 244, 0, number), port: TargetPort::of(8080).unwrap() }
}

fn table(endpoints: &[u8]) -> ServiceTable {
    let frontend = Frontend { address: ADDRESS, port: 80, protocol: Protocol::Tcp };
    let backends = Backends::All(endpoints.iter().copied().map(endpoint).collect());
    let entry = Entry { backends, affinity: None, masquerade: false, keep_flows: None, allowed: None };
    ServiceTable { addresses: BTreeSet::new(), entries: [(frontend, entry)].into() }
}

fn apply(ledger: &mut Ledger, tables: &[(&str, Option<ServiceTable>)]) -> Vec<String> {
    let tables: BTreeMap<_, _> = tables.iter().map(|(name, table)| (named(name), table.clone())).collect();
    let batch = ledger.prepare(tables.keys().cloned(), false, |name| tables.get(name).cloned().flatten());
    let ops = batch.ops.iter().map(ToString::to_string).collect();
    ledger.commit(batch);
    ops
}

#[test]
fn the_first_service_keeps_an_address_and_the_next_gets_it_when_it_is_free() {
    let mut ledger = Ledger::default();
    let (first, second) = (Some(table(&[1])), Some(table(&[2])));
    assert_eq!(apply(&mut ledger, &[("b", first.clone())]).len(), 2);
    assert!(apply(&mut ledger, &[("a", second.clone())]).is_empty());
    // `a` is looked at again because `b` gives the address up.
    let batch = ledger.prepare([named("b")], false, |name| (*name == named("a")).then(|| table(&[2])));
    let ops: Vec<_> = batch.ops.iter().map(ToString::to_string).collect();
    assert_eq!(
        ops,
        [
            "- endpoint 198.51.100.1:80/tcp 0 10.244.0.1:8080",
            "+ endpoint 198.51.100.1:80/tcp 0 10.244.0.2:8080"
        ]
    );
}

#[test]
fn a_batch_that_is_not_committed_is_planned_again() {
    let mut ledger = Ledger::default();
    let prepare = |ledger: &mut Ledger| ledger.prepare([named("a")], false, |_| Some(table(&[1])));
    let lost = prepare(&mut ledger).ops;
    assert_eq!(prepare(&mut ledger).ops, lost);
}

#[test]
fn what_the_kernel_holds_without_an_owner_is_swept() {
    let mut ledger = Ledger::default();
    ledger.adopt([Element::Address(ADDRESS)]);
    assert!(ledger.prepare([], false, |_| None).ops.is_empty());
    assert_eq!(ledger.prepare([], true, |_| None).ops, [Op::Remove(Element::Address(ADDRESS))]);
}

proptest! {
    /// Whatever the history, the kernel ends up with positions 0, 1, 2… holding exactly the endpoints.
    #[test]
    fn positions_have_no_holes(history in prop::collection::vec(prop::collection::btree_set(0u8..12, 0..8), 1..12)) {
        let mut ledger = Ledger::default();
        let mut kernel = BTreeSet::new();
        for endpoints in history {
            let endpoints: Vec<u8> = endpoints.into_iter().collect();
            let batch = ledger.prepare([named("a")], false, |_| Some(table(&endpoints)));
            for op in &batch.ops {
                match op {
                    Op::Remove(element) => prop_assert!(kernel.remove(element)),
                    Op::Add(element) => prop_assert!(kernel.insert(*element)),
                    Op::ForgetFlows(..) => {}
                }
            }
            ledger.commit(batch);
            let held: Vec<(u32, Endpoint)> = kernel
                .iter()
                .filter_map(|element| match element {
                    Element::Endpoint(_, slot, endpoint) => Some((*slot, *endpoint)),
                    _ => None,
                })
                .collect();
            let slots: Vec<u32> = held.iter().map(|(slot, _)| *slot).collect();
            prop_assert_eq!(slots, (0..).take(endpoints.len()).collect::<Vec<u32>>());
            let mut found: Vec<_> = held.into_iter().map(|(_, endpoint)| endpoint).collect();
            found.sort();
            prop_assert_eq!(found, endpoints.into_iter().map(endpoint).collect::<Vec<_>>());
        }
    }
}
