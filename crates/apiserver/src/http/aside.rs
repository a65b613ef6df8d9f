//! Requests with large bodies are worked on beside the threads that serve connections: a body may take seconds to decode,
//! default and validate, and whoever asks for something small, or whether the server lives, does not wait for that.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;

/// The largest body, in bytes, that is worked on where the request is served: about a millisecond's work.
pub(crate) const SMALL: usize = 64 * 1024;

/// The threads for large requests.
#[derive(Debug)]
pub(crate) struct Aside {
    /// One for each thread that computes at the same time.
    places: Arc<Semaphore>,
}

/// Remembers that a future wants to be polled.
#[derive(Debug, Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Aside {
    /// So many at the same time; the others wait for their turn.
    pub(crate) fn new(threads: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(threads.min(Semaphore::MAX_PERMITS))) }
    }

    /// What `work` on a body of so many bytes comes to. It takes a thread only while it computes, not while it waits for the
    /// store or for somebody else.
    pub(crate) async fn run<F>(&self, bytes: usize, work: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if bytes <= SMALL { work.await } else { self.step_by_step(Box::pin(work)).await }
    }

    async fn step_by_step<T: Send + 'static>(&self, mut work: Pin<Box<dyn Future<Output = T> + Send>>) -> T {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        loop {
            let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
            let waker = waker.clone();
            let step = spawn_blocking(move || {
                let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
                drop(place);
                (work, polled)
            });
            match step.await.map_err(tokio::task::JoinError::try_into_panic) {
                Ok((_, Poll::Ready(output))) => return output,
                Ok((rest, Poll::Pending)) => work = rest,
                Err(Ok(panic)) => resume_unwind(panic),
                // The runtime ends, and this future with it.
                Err(Err(_)) => return std::future::pending().await,
            }
            woken.0.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use futures::poll;
    use tokio::sync::oneshot;

    use super::*;
    use skiff_listener::contained;

    const LARGE: usize = SMALL + 1;

    #[tokio::test]
    async fn only_what_is_large_goes_to_another_thread() {
        let here = thread::current().id();
        let place =
            |bytes: usize| async move { Aside::new(1).run(bytes, async { thread::current().id() }).await };
        assert_eq!(place(SMALL).await, here);
        assert_ne!(place(LARGE).await, here);
    }

    #[tokio::test]
    async fn others_are_served_while_a_large_one_computes() {
        let aside = Aside::new(1);
        let (finish, finished) = mpsc::channel();
        // On the one thread of this test's runtime it would wait for ever.
        let mut large = Box::pin(aside.run(LARGE, async move { finished.recv() }));
        assert!(poll!(&mut large).is_pending());
        assert_eq!(aside.run(1, async { "small" }).await, "small");
        let mut next = Box::pin(aside.run(LARGE, async {}));
        assert!(poll!(&mut next).is_pending(), "there is one thread");
        finish.send("large").unwrap();
        assert_eq!(large.await, Ok("large"));
        next.await;
    }

    #[tokio::test]
    async fn who_waits_takes_no_thread() {
        let aside = Aside::new(1);
        let (answer, answered) = oneshot::channel();
        let (begin, begun) = oneshot::channel();
        let work = async move {
            begin.send(()).unwrap();
            answered.await
        };
        let first = aside.run(LARGE, work);
        let others = async {
            begun.await.unwrap();
            aside.run(LARGE, async {}).await;
            answer.send(7).unwrap();
        };
        assert_eq!(tokio::join!(first, others).0, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_is_the_requests_own() {
        let aside = Aside::new(1);
        let odd = std::hint::black_box(true);
        let broken = contained(aside.run(LARGE, async move { assert!(!odd, "odd") })).await;
        assert_eq!(broken.map_err(|panicked| panicked.message), Err("odd".to_owned()));
        aside.run(LARGE, async {}).await;
    }
}
