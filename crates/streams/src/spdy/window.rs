//! How much we may send: one window per stream and one for the whole connection.
//!
//! The streams library that kubectl uses implements no flow control at all: it never opens a window again. So windows
//! limit us only once the peer has shown that it keeps them, by a setting or an update.

use std::{
    collections::HashMap,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::frame::StreamId;

/// Bytes a window starts with unless a setting says otherwise.
const INITIAL: i64 = 64 * 1024;

/// All send windows of a connection, in bytes; they may become negative when a setting shrinks them.
pub(super) struct SendWindows(Mutex<State>);

struct State {
    /// Whether the peer keeps windows.
    enforced: bool,
    initial: i64,
    connection: i64,
    streams: HashMap<StreamId, i64>,
    waiting: Vec<Waker>,
}

impl SendWindows {
    pub(super) fn new() -> Self {
        let streams = HashMap::new();
        Self(Mutex::new(State {
            enforced: false,
            initial: INITIAL,
            connection: INITIAL,
            streams,
            waiting: vec![],
        }))
    }

    pub(super) fn open(&self, stream: StreamId) {
        let mut state = self.0.lock();
        let initial = state.initial;
        state.streams.insert(stream, initial);
    }

    pub(super) fn close(&self, stream: StreamId) {
        self.0.lock().streams.remove(&stream);
    }

    /// Takes up to `want` bytes from both windows, or waits for an update.
    pub(super) fn poll_take(&self, stream: StreamId, want: usize, cx: &mut Context<'_>) -> Poll<usize> {
        let mut state = self.0.lock();
        let limit = i64::try_from(want).unwrap_or(i64::MAX);
        let window = state.streams.get(&stream).copied().unwrap_or(i64::MAX);
        let granted = if state.enforced { limit.min(window).min(state.connection) } else { limit };
        if granted <= 0 && want > 0 {
            state.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        state.connection -= granted;
        if let Some(window) = state.streams.get_mut(&stream) {
            *window -= granted;
        }
        Poll::Ready(usize::try_from(granted).unwrap_or(0))
    }

    /// The peer consumed `delta` bytes of `stream`, or of the whole connection if that is 0.
    pub(super) fn update(&self, stream: StreamId, delta: u32) {
        self.change(|state| {
            if stream == 0 {
                state.connection += i64::from(delta);
            } else if let Some(window) = state.streams.get_mut(&stream) {
                *window += i64::from(delta);
            }
        });
    }

    /// The peer's streams start with `initial` bytes; open ones change by the difference.
    pub(super) fn set_initial(&self, initial: u32) {
        self.change(|state| {
            let difference = i64::from(initial) - state.initial;
            state.initial = i64::from(initial);
            state.streams.values_mut().for_each(|window| *window += difference);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock();
        state.enforced = true;
        change(&mut state);
        state.waiting.drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(windows: &SendWindows, stream: StreamId, want: usize) -> Option<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        match windows.poll_take(stream, want, &mut cx) {
            Poll::Ready(granted) => Some(granted),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_peer_without_flow_control_is_never_waited_for() {
        let windows = SendWindows::new();
        windows.open(1);
        for _ in 0..100 {
            assert_eq!(take(&windows, 1, 32 * 1024), Some(32 * 1024));
        }
    }

    #[test]
    fn a_peer_with_flow_control_is_obeyed_for_streams_and_connection() {
        let windows = SendWindows::new();
        windows.set_initial(10);
        windows.open(1);
        windows.open(3);
        assert_eq!(take(&windows, 1, 100), Some(10));
        assert_eq!(take(&windows, 1, 1), None);
        windows.update(1, 5);
        assert_eq!(take(&windows, 1, 100), Some(5));
        windows.update(3, 1_000_000);
        assert_eq!(take(&windows, 3, 1_000_000), Some(64 * 1024 - 15));
        assert_eq!(take(&windows, 3, 1), None);
        windows.update(0, 7);
        assert_eq!(take(&windows, 3, 100), Some(7));
    }
}
