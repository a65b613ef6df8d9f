//! Wakes pods that wait for a claim when it changes. What a pod goes by it reads itself, as the node: the node may not watch
//! claims, the provisioner beside it does.

use parking_lot::Mutex;
use skiff_informer::ObjectKey;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Who is to be told of which claim.
#[derive(Debug, Default)]
pub(crate) struct ClaimNews {
    waiting: Mutex<HashMap<ObjectKey, Vec<Weak<Notify>>>>,
}

impl ClaimNews {
    /// Tells `who` of the next change of a claim.
    pub(crate) fn tell(&self, claim: ObjectKey, who: &Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, all| {
            all.retain(|one| one.strong_count() > 0);
            !all.is_empty()
        });
        let all = waiting.entry(claim).or_default();
        if !all.iter().any(|one| Weak::ptr_eq(one, &Arc::downgrade(who))) {
            all.push(Arc::downgrade(who));
        }
    }

    /// A claim has changed.
    pub(crate) fn changed(&self, claim: &ObjectKey) {
        let waiting = self.waiting.lock().remove(claim);
        waiting.into_iter().flatten().filter_map(|one| one.upgrade()).for_each(|one| one.notify_one());
    }
}
