//! What a store takes while its disk is full. No I/O.
//!
//! The file holds back [`super::disk::RESERVE`] bytes for this time. What frees room always goes through; what exists
//! may be changed a little, so that objects can be marked for deletion, finalizers answered and leases renewed;
//! nothing new comes into being.

use crate::state::State;
use crate::types::{CommitError, Op, Txn};

/// The most bytes by which one transaction may grow what is stored: a deletion's marks are some hundred.
const GROWTH: i64 = 1024;

/// The most bytes of all such growth together, less what deletions gave back: a quarter of the reserve, because a page
/// is seldom full and a commit writes pages beside the old ones.
const ALLOWANCE: i64 = 128 << 10;

/// What is left for growth while the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance(i64);

impl Allowance {
    /// All of it.
    pub(super) const fn whole() -> Self {
        Self(ALLOWANCE)
    }

    /// Lets a transaction through whose expectations hold and whose growth can be taken from the allowance.
    pub(super) fn admit(&mut self, state: &State, txn: &Txn) -> Result<(), CommitError> {
        state.expect(txn)?;
        if self.take(state, txn) { Ok(()) } else { Err(CommitError::Full) }
    }

    /// Takes a transaction's growth from the allowance; `false`, and nothing taken, if it must wait for room.
    fn take(&mut self, state: &State, txn: &Txn) -> bool {
        let Some(growth) = growth(state, txn) else { return false };
        if growth > 0 && (growth > GROWTH || growth > self.0) {
            return false;
        }
        self.0 = (self.0 - growth).min(ALLOWANCE);
        true
    }
}

/// By how many bytes the transaction grows what is stored; `None` if it makes a key and removes none.
fn growth(state: &State, txn: &Txn) -> Option<i64> {
    let stored = |key| state.get(key).map(|entry| signed(entry.value.len()));
    let (mut growth, mut made, mut removed) = (0, 0, 0);
    for op in &txn.ops {
        match op {
            Op::Put { key, value } => {
                let before = stored(key);
                made += usize::from(before.is_none());
                growth += signed(value.len()) - before.unwrap_or_default();
            }
            Op::Delete { key } => {
                let before = stored(key);
                removed += usize::from(before.is_some());
                growth -= before.unwrap_or_default();
            }
        }
    }
    (made <= removed).then_some(growth)
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::{Entry, Key, Revision, no_terms};

    fn put(key: &str, length: usize) -> Op {
        Op::Put { key: Key::from(key), value: Bytes::from(vec![0; length]) }
    }

    fn delete(key: &str) -> Op {
        Op::Delete { key: Key::from(key) }
    }

    #[test]
    fn frees_always_grows_little_and_makes_nothing() {
        let revision = Revision::new(1);
        let entry = |key: &str, length: usize| Entry {
            key: Key::from(key),
            value: Bytes::from(vec![0; length]).into(),
            created: revision,
            modified: revision,
        };
        let state = State::new(revision, [entry("a", 10_000), entry("b", 100)], &no_terms.into());
        let check = |ops: Vec<Op>, left: i64, taken: Option<i64>| {
            let mut allowance = Allowance(left);
            let txn = Txn { expect: Vec::new(), ops };
            let admitted = allowance.take(&state, &txn);
            assert_eq!(admitted.then_some(allowance.0), taken, "{txn:?}");
        };
        check(vec![delete("a")], 0, Some(10_000));
        check(vec![delete("a")], ALLOWANCE, Some(ALLOWANCE));
        check(vec![delete("nothing")], 0, Some(0));
        check(vec![put("a", 9_000)], 0, Some(1_000));
        check(vec![put("b", 100)], 0, Some(0));
        check(vec![put("b", 1_000)], 2_000, Some(1_100));
        check(vec![put("b", 1_000)], 100, None);
        check(vec![put("b", 5_000)], ALLOWANCE, None);
        check(vec![put("new", 0)], ALLOWANCE, None);
        check(vec![put("new", 50), delete("b")], 0, Some(50));
        check(vec![put("new", 50), delete("nothing")], ALLOWANCE, None);
    }
}
