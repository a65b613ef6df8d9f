//! Those whose turn has come.

use skiff_fairness::Wake;

/// Wakes them.
pub(super) fn wake(woken: Vec<Wake>) {
    woken.into_iter().for_each(|wake| wake());
}
