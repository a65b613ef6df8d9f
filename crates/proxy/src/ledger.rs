//! What the kernel holds, who owns it, and what has to change when its owners change. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    model::{Element, Endpoint, Frontend, Key, Owner},
    plan::{Op, Serving, plan},
    table::ServiceTable,
};

/// The kernel's elements by key, and the owner of each key. What the kernel holds is recorded only by
/// [`Ledger::commit`], after the kernel has accepted it.
#[derive(Debug, Default)]
pub struct Ledger {
    held: HashMap<Key, Vec<Element>>,
    owners: HashMap<Key, Owner>,
    owned: HashMap<Owner, Vec<Key>>,
    /// Who asks for a key which another one owns. The first to come keeps it; the others get it when it is free.
    waiting: HashMap<Key, BTreeSet<Owner>>,
    /// The endpoints with which flows to a UDP frontend may stay, as of the last plan that was carried out.
    serving: HashMap<Frontend, Vec<Endpoint>>,
}

/// What the kernel was found to lack, or to have too much, of what was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Difference {
    /// Elements that are not there any more.
    pub missing: usize,
    /// Elements that we did not put there.
    pub foreign: usize,
}

/// Steps for the kernel, and what it holds once they are done.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order of application.
    pub ops: Vec<Op>,
    changes: Vec<(Key, Vec<Element>)>,
    serving: Vec<(Frontend, Option<Vec<Endpoint>>)>,
}

/// What a key should become: its elements and, for UDP, the endpoints with which flows may stay; or nothing.
type Wanted = Option<(Vec<Element>, Option<Vec<Endpoint>>)>;

impl Ledger {
    /// Goes on from what the kernel holds, and tells how that differs from what was recorded. Ownership is unknown until every
    /// owner was prepared once. Flows are reconsidered then, too: while the kernel held something else, they may have
    /// gone anywhere.
    pub fn adopt(&mut self, elements: impl IntoIterator<Item = Element>) -> Difference {
        let mut held = HashMap::<Key, Vec<Element>>::new();
        for element in elements {
            held.entry(element.key()).or_default().push(element);
        }
        held.values_mut().for_each(|elements| elements.sort_unstable());
        let before = std::mem::replace(&mut self.held, held);
        self.serving.clear();
        Difference { missing: surplus(&before, &self.held), foreign: surplus(&self.held, &before) }
    }

    /// Those that own something.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owned.keys()
    }

    /// The steps after changes of the `dirty` owners. `table_of` tells what one asks for now, if it exists. With `sweep`,
    /// everything that nobody owns goes too; all owners must be in the ledger by then.
    pub fn prepare(
        &mut self,
        dirty: impl IntoIterator<Item = Owner>,
        sweep: bool,
        table_of: impl Fn(&Owner) -> Option<ServiceTable>,
    ) -> Batch {
        let mut tables = BTreeMap::new();
        let mut touched = BTreeMap::<Key, Wanted>::new();
        let mut queue: Vec<Owner> = dirty.into_iter().collect();
        while let Some(name) = queue.pop() {
            if tables.contains_key(&name) {
                continue;
            }
            let table = table_of(&name).unwrap_or_default();
            for key in self.release(&name, &table) {
                queue.extend(self.waiting.remove(&key).unwrap_or_default());
                touched.insert(key, None);
            }
            tables.insert(name, table);
        }
        for (name, table) in tables {
            self.claim(&name, &table, &mut touched);
        }
        if sweep {
            for key in self.held.keys().filter(|key| !self.owners.contains_key(key)) {
                touched.entry(*key).or_insert(None);
            }
        }
        self.batch(touched)
    }

    /// Gives up the keys that `name` owns but `table` does not mention, and returns them.
    fn release(&mut self, name: &Owner, table: &ServiceTable) -> Vec<Key> {
        let owned = self.owned.remove(name).unwrap_or_default();
        let (kept, freed): (Vec<_>, Vec<_>) = owned.into_iter().partition(|key| table.mentions(key));
        if !kept.is_empty() {
            self.owned.insert(name.clone(), kept);
        }
        freed.iter().for_each(|key| drop(self.owners.remove(key)));
        self.waiting.retain(|_, waiting| {
            waiting.remove(name);
            !waiting.is_empty()
        });
        freed
    }

    fn claim(&mut self, name: &Owner, table: &ServiceTable, touched: &mut BTreeMap<Key, Wanted>) {
        let held = &self.held;
        let elements = table.elements(|key| held.get(key).map(Vec::as_slice).unwrap_or_default());
        for (key, elements) in elements {
            match self.owners.get(&key) {
                Some(owner) if owner != name => {
                    tracing::warn!(of = %name, %owner, %key, "address in use by another, not served");
                    self.waiting.entry(key).or_default().insert(name.clone());
                    continue;
                }
                Some(_self) => {}
                None => {
                    self.owners.insert(key, name.clone());
                    self.owned.entry(name.clone()).or_default().push(key);
                }
            }
            let keep_flows = match key {
                Key::Frontend(frontend) => {
                    table.entries.get(&frontend).and_then(|entry| entry.keep_flows.clone())
                }
                Key::Address(_) => None,
            };
            touched.insert(key, Some((elements, keep_flows)));
        }
    }

    fn batch(&self, touched: BTreeMap<Key, Wanted>) -> Batch {
        let mut batch = Batch::default();
        let (mut additions, mut flows) = (Vec::new(), Vec::new());
        for (key, wanted) in touched {
            let old = self.held.get(&key).map(Vec::as_slice).unwrap_or_default();
            let (new, keep_flows) = wanted.unwrap_or_default();
            let serving = Serving {
                before: key.frontend().and_then(|frontend| self.serving.get(&frontend)).map(Vec::as_slice),
                now: keep_flows.as_deref().unwrap_or_default(),
            };
            for op in plan(key, old, &new, serving) {
                match op {
                    Op::Remove(_) => batch.ops.push(op),
                    Op::Add(_) => additions.push(op),
                    Op::ForgetFlows(..) => flows.push(op),
                }
            }
            if old != new {
                batch.changes.push((key, new));
            }
            batch.serving.extend(key.frontend().map(|frontend| (frontend, keep_flows)));
        }
        batch.ops.append(&mut additions);
        batch.ops.append(&mut flows);
        batch
    }

    /// Records that the kernel has accepted `batch`.
    pub fn commit(&mut self, batch: Batch) {
        for (key, elements) in batch.changes {
            if elements.is_empty() {
                self.held.remove(&key);
            } else {
                self.held.insert(key, elements);
            }
        }
        for (frontend, serving) in batch.serving {
            match serving {
                Some(serving) => drop(self.serving.insert(frontend, serving)),
                None => drop(self.serving.remove(&frontend)),
            }
        }
    }
}

/// How many elements `all` has that `others` has not.
fn surplus(all: &HashMap<Key, Vec<Element>>, others: &HashMap<Key, Vec<Element>>) -> usize {
    let lacks = |(key, elements): (&Key, &Vec<Element>)| match others.get(key) {
        Some(others) if others == elements => 0,
        Some(others) => elements.iter().filter(|element| !others.contains(element)).count(),
        None => elements.len(),
    };
    all.iter().map(lacks).sum()
}

impl ServiceTable {
    fn mentions(&self, key: &Key) -> bool {
        match key {
            Key::Address(address) => self.addresses.contains(address),
            Key::Frontend(frontend) => self.entries.contains_key(frontend),
        }
    }
}

#[cfg(test)]
mod tests;
