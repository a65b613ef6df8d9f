//! Connections to webhooks that wait for the next call, as those of Kubernetes' clients do.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::open::Open;
use super::tls::Identity;
use super::trust::Trust;

/// How long one waits, and how many of one line do, as in Kubernetes' clients.
const KEPT_FOR: Duration = Duration::from_secs(90);
const MOST: usize = 25;

/// Where a connection leads. A Service is looked up for each call, so none leads to where it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Line {
    pub(super) host: String,
    pub(super) port: u16,
    /// None speaks without TLS.
    pub(super) secured: Option<Secured>,
}

/// Whom a connection has to lead to, and what is shown there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Secured {
    pub(super) name: String,
    pub(super) trust: Trust,
    pub(super) identity: Option<Identity>,
}

/// The connections that wait.
#[derive(Default)]
pub(super) struct Idle(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    waiting: HashMap<Line, Vec<Waiting>>,
    /// Whether somebody ends those that have waited long enough.
    is_swept: bool,
}

struct Waiting {
    open: Open,
    since: Instant,
}

impl Waiting {
    fn is_good(&mut self) -> bool {
        self.since.elapsed() < KEPT_FOR && self.open.is_ready()
    }
}

impl Idle {
    /// The connection that was used last, of those that lead there.
    pub(super) fn take(&self, line: &Line) -> Option<Open> {
        let mut lines = self.0.lock();
        let waiting = lines.waiting.get_mut(line)?;
        while let Some(mut last) = waiting.pop() {
            if last.is_good() {
                return Some(last.open);
            }
        }
        lines.waiting.remove(line);
        None
    }

    /// Lets one wait whose answer has been read, unless the other side has closed it.
    pub(super) fn keep(&self, line: Line, mut open: Open) {
        if !open.is_ready() {
            return;
        }
        let mut lines = self.0.lock();
        let waiting = lines.waiting.entry(line).or_default();
        if waiting.len() < MOST {
            waiting.push(Waiting { open, since: Instant::now() });
        }
        if !std::mem::replace(&mut lines.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }
}

/// Ends those that have waited long enough, as long as there are any.
async fn sweep(all: Weak<Mutex<Lines>>) {
    loop {
        tokio::time::sleep(KEPT_FOR).await;
        let Some(all) = all.upgrade() else { return };
        let mut lines = all.lock();
        lines.waiting.retain(|_, waiting| {
            waiting.retain_mut(Waiting::is_good);
            !waiting.is_empty()
        });
        lines.is_swept = !lines.waiting.is_empty();
        if !lines.is_swept {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    fn line() -> Line {
        Line { host: "127.0.0.1".to_owned(), port: 443, secured: None }
    }

    /// A connection that waits, and its other end.
    async fn waiting(idle: &Idle) -> DuplexStream {
        let (near, far) = duplex(1024);
        idle.keep(line(), Open::begin(near).await.unwrap());
        far
    }

    #[tokio::test]
    async fn one_waits_for_whoever_wants_the_same() {
        let idle = Idle::default();
        let _far = waiting(&idle).await;
        assert!(idle.take(&Line { port: 80, ..line() }).is_none());
        assert!(idle.take(&line()).is_some());
        assert!(idle.take(&line()).is_none());
    }

    #[tokio::test]
    async fn one_that_was_closed_is_not_given_away() {
        let idle = Idle::default();
        drop(waiting(&idle).await);
        assert!(idle.take(&line()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let idle = Idle::default();
        let mut far = waiting(&idle).await;
        assert!(idle.0.lock().is_swept);
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "it is closed when its time is over");
        let lines = idle.0.lock();
        assert!(lines.waiting.is_empty() && !lines.is_swept);
    }
}
