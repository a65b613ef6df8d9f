//! Memory that a burst of work took, given back to the machine.
//!
//! The C library's allocator keeps what is freed below something that is still in use, and each of its arenas by itself: after
//! twenty thousand objects have come and gone it holds most of what they took. Asked for it, it gives every page back on which
//! nothing is left. That costs some milliseconds, so it is asked only some seconds after much was freed: whoever frees much
//! says so ([`freed`]).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// So many freed bytes are worth the asking: others' memory that goes with them is several times as much.
const BURST: usize = 2 << 20;

/// From a burst to the asking: what else ends with it has time to end, and a long burst costs little.
const LATER: Duration = Duration::from_secs(10);

/// From there to asking once more. What is let go of when it is [`YOUNG`] no more can go by then.
const AGAIN: Duration = YOUNG.saturating_add(Duration::from_secs(5));

/// How long what somebody may still come for stays, whatever a burst took.
pub const YOUNG: Duration = Duration::from_secs(30);

/// Bytes that were said to be freed since the last burst.
static FREED: AtomicUsize = AtomicUsize::new(0);

/// A burst that nothing was done about yet.
static BURSTS: Notify = Notify::const_new();

/// Tells that so many bytes have been freed, or are about to be.
pub fn freed(bytes: usize) {
    if FREED.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) >= BURST {
        FREED.store(0, Ordering::Relaxed);
        burst();
    }
}

/// Tells that much has been freed, it is not known how much.
pub fn burst() {
    BURSTS.notify_one();
}

/// Gives memory back after bursts, for ever. `forget` lets go first of what is only kept to be found again, but for what is
/// [`YOUNG`]: pieces of it are spread over all that the burst took, and each would hold its page.
pub async fn keep_small(forget: impl Fn() + Send) {
    let round = || {
        forget();
        give_back();
    };
    BURSTS.notified().await;
    loop {
        tokio::time::sleep(LATER).await;
        round();
        if tokio::time::timeout(AGAIN, BURSTS.notified()).await.is_err() {
            round();
            BURSTS.notified().await;
        }
    }
}

/// Gives the pages back on which nothing is left.
#[allow(unsafe_code, reason = "the call has no wrapper")]
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_young_is_asked_for_again() {
        let times = Arc::new(Mutex::new(Vec::new()));
        let (start, told) = (Instant::now(), times.clone());
        let task = tokio::spawn(keep_small(move || told.lock().unwrap().push(start.elapsed())));
        let seconds = |times: &[u64]| times.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        burst();
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(*times.lock().unwrap(), seconds(&[10, 45]));
        burst();
        tokio::time::sleep(Duration::from_secs(20)).await;
        burst();
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(*times.lock().unwrap(), seconds(&[10, 45, 110, 130, 165]));
        task.abort();
    }

    /// Bytes of this process that are in memory and belong to no file.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_burst_took_is_given_back() {
        let task = tokio::spawn(keep_small(|| {}));
        let mut blocks: Vec<Box<[u8]>> = (0..40_000).map(|_| vec![1; 1000].into_boxed_slice()).collect();
        let full = resident();
        // What stays lies behind what goes.
        blocks.drain(..39_990);
        freed(BURST / 2);
        tokio::time::sleep(LATER * 2).await;
        let before = resident();
        freed(BURST / 2);
        tokio::time::sleep(LATER * 2).await;
        let after = resident();
        assert!(before > full - (8 << 20), "{full} {before}: half a burst is none");
        assert!(after < full - (30 << 20), "{full} {after}");
        assert_eq!(blocks.len(), 10);
        task.abort();
    }
}
