//! Decoders of this crate for the fuzz targets.

use crate::wire::{Question, Reply, Transport};

/// Reads a packet as a question, and answers it if it is one.
pub fn question(packet: &[u8]) {
    if let Ok(question) = Question::read(packet) {
        for transport in [Transport::Udp, Transport::Tcp] {
            let reply = question.reply(Reply::default(), transport);
            assert!(reply.len() <= question.limit(transport), "replies fit");
        }
    }
}
