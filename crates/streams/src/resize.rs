//! Terminal sizes, as clients send them: a sequence of JSON objects.

use serde::Deserialize;
use tokio::sync::mpsc;

/// Size of the client's terminal, in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Sizes that may wait for a session that is busy.
const QUEUE: usize = 64;
/// Longest incomplete object kept, in bytes.
const MAX_PARTIAL: usize = 1024;

/// Collects objects, which may come in portions.
pub(crate) struct Sizes {
    partial: Vec<u8>,
    sender: mpsc::Sender<TerminalSize>,
}

impl Sizes {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<TerminalSize>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { partial: Vec::new(), sender }, receiver)
    }

    /// Passes on every complete size. What is not a size is dropped with the rest of its portion; so is a size for
    /// which there is no room, because the session does not look at sizes at all.
    pub(crate) fn feed(&mut self, portion: &[u8]) {
        self.partial.extend_from_slice(portion);
        let mut objects = serde_json::Deserializer::from_slice(&self.partial).into_iter::<TerminalSize>();
        let mut done = 0;
        loop {
            match objects.next() {
                Some(Ok(size)) => {
                    done = objects.byte_offset();
                    if self.sender.try_send(size).is_err() {
                        tracing::debug!(?size, "nobody takes terminal sizes");
                    }
                }
                Some(Err(error)) if error.is_eof() => break,
                Some(Err(error)) => {
                    tracing::debug!(%error, "not a terminal size");
                    done = self.partial.len();
                    break;
                }
                None => {
                    done = self.partial.len();
                    break;
                }
            }
        }
        self.partial.drain(..done);
        if self.partial.len() > MAX_PARTIAL {
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(portions: &[&str], expected: &[(u16, u16)]) {
        let (mut sizes, mut received) = Sizes::channel();
        portions.iter().for_each(|portion| sizes.feed(portion.as_bytes()));
        drop(sizes);
        let mut seen = Vec::new();
        while let Ok(size) = received.try_recv() {
            seen.push((size.width, size.height));
        }
        assert_eq!(seen, expected, "{portions:?}");
    }

    #[test]
    fn sizes_may_come_together_or_in_portions() {
        check(&["{\"Width\":80,\"Height\":24}\n"], &[(80, 24)]);
        check(&["{\"Width\":80,\"Height\":24}{\"Width\":8,\"Height\":2}"], &[(80, 24), (8, 2)]);
        check(&["{\"Wid", "th\":80,\"Height\":24}\n{\"Width\":1", ",\"Height\":2}"], &[(80, 24), (1, 2)]);
        check(&["nonsense", "{\"Width\":80,\"Height\":24}"], &[(80, 24)]);
        check(&["{\"Width\":-1,\"Height\":70000}", "{\"Width\":80,\"Height\":24}"], &[(80, 24)]);
    }
}
