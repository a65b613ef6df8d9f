//! Recently decoded objects, so that one change that many watches, Tables and updates look into is decoded
//! once.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use skiff_catalogue::Object;
use skiff_store::{Entry, Key, Revision};

use super::codec::{self, DamagedEntry};

/// Bytes of JSON whose trees are kept; a tree takes several times its text.
const BUDGET: usize = 512 * 1024;

/// A bounded map from an entry's key and revision to its object. First in, first out.
#[derive(Debug, Default)]
pub(crate) struct Decoded(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    objects: HashMap<(Key, Revision), Arc<Object>>,
    order: VecDeque<((Key, Revision), usize)>,
    bytes: usize,
}

impl Decoded {
    /// The object of an entry, with its `resourceVersion`.
    pub(crate) fn get(&self, entry: &Entry) -> Result<Arc<Object>, DamagedEntry> {
        let id = (entry.key.clone(), entry.modified);
        if let Some(object) = self.0.lock().objects.get(&id) {
            return Ok(object.clone());
        }
        let object = Arc::new(codec::decode(entry)?);
        self.0.lock().keep(id, object.clone(), entry.value.len());
        Ok(object)
    }
}

impl Kept {
    fn keep(&mut self, id: (Key, Revision), object: Arc<Object>, bytes: usize) {
        if self.objects.insert(id.clone(), object).is_none() {
            self.order.push_back((id, bytes));
            self.bytes += bytes;
        }
        while self.bytes > BUDGET {
            let Some((oldest, bytes)) = self.order.pop_front() else { break };
            self.objects.remove(&oldest);
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn stays_within_its_budget() {
        let decoded = Decoded::default();
        let filler = "x".repeat(BUDGET / 4);
        for i in 0..20 {
            let revision = Revision::new(i);
            let value = Bytes::from(format!(r#"{{"metadata":{{"name":"{filler}"}}}}"#));
            let entry = Entry { key: Key::from("/k"), value, created: revision, modified: revision };
            assert_eq!(decoded.get(&entry).unwrap().resource_version(), i.to_string());
        }
        let kept = decoded.0.lock();
        assert!(kept.bytes <= BUDGET && kept.objects.len() == kept.order.len() && kept.order.len() < 4);
    }
}
