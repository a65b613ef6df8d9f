//! Many things of one call, some at a time.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

/// Does so many things at a time, and tells of the first that failed. As workers of Kubernetes end with what they fail at, each
/// failure leaves a place less: what fails alone stops nothing, and where everything fails not all is tried.
pub(super) async fn at_once<E>(
    things: impl Iterator<Item = impl Future<Output = Result<(), E>>>,
    mut places: usize,
) -> Result<(), E> {
    let (mut things, mut under_way, mut first) = (things, FuturesUnordered::new(), Ok(()));
    loop {
        while under_way.len() < places
            && let Some(thing) = things.next()
        {
            under_way.push(thing);
        }
        match under_way.next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                places -= 1;
                first = first.and(Err(error));
            }
            None => return first,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::task::{Context, Poll, Waker};

    use futures::future::LocalBoxFuture;

    use super::*;

    type Thing<'t> = LocalBoxFuture<'t, Result<(), usize>>;

    /// Whether all of it has ended after one look at whatever is ready.
    fn look<T>(future: impl Future<Output = T>) -> Poll<T> {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_so_many_are_under_way() {
        let begun = Cell::new(0);
        let never = |_| -> Thing<'_> {
            Box::pin(async {
                begun.set(begun.get() + 1);
                pending().await
            })
        };
        assert_eq!(look(at_once((0..100).map(never), 32)), Poll::Pending);
        assert_eq!(begun.get(), 32);
    }

    #[test]
    fn one_that_never_ends_holds_up_no_other() {
        let done = Cell::new(0);
        let thing = |number| -> Thing<'_> {
            let done = &done;
            Box::pin(async move {
                if number == 7 {
                    pending::<()>().await;
                }
                done.set(done.get() + 1);
                Ok(())
            })
        };
        assert_eq!(look(at_once((0..100).map(thing), 2)), Poll::Pending);
        assert_eq!(done.get(), 99);
    }

    #[test]
    fn what_fails_stops_nothing_until_all_places_are_gone() {
        let check = |fails: fn(usize) -> bool, expected: (Result<(), usize>, usize)| {
            let tried = Cell::new(0);
            let thing = |number| -> Thing<'_> {
                let tried = &tried;
                Box::pin(async move {
                    tried.set(tried.get() + 1);
                    if fails(number) { Err(number) } else { Ok(()) }
                })
            };
            let Poll::Ready(outcome) = look(at_once((0..100).map(thing), 4)) else { panic!("nothing waits") };
            assert_eq!((outcome, tried.get()), expected);
        };
        check(|_| false, (Ok(()), 100));
        check(|number| number == 50, (Err(50), 100));
        check(|_| true, (Err(0), 4));
    }
}
