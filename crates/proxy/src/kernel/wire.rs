//! Messages to the netfilter subsystems as bytes. Pure. Integers in attributes are in network byte order.

use skiff_netlink::{Attributes, Message};

use super::abi;

/// Bytes of the header between the netlink header and the attributes.
const NETFILTER_HEADER: usize = 4;

/// Builds a sequence of messages.
#[derive(Debug, Default)]
pub(super) struct Writer {
    buffer: Vec<u8>,
}

/// What a message is and how it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageHead {
    /// Subsystem in the upper byte.
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) family: u8,
    /// For batch delimiters: the subsystem.
    pub(super) resource: u16,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.buffer
    }

    pub(super) fn message(&mut self, head: MessageHead, body: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&head.kind.to_ne_bytes());
        self.buffer.extend_from_slice(&(head.flags | abi::NLM_F_REQUEST).to_ne_bytes());
        self.buffer.extend_from_slice(&head.sequence.to_ne_bytes());
        self.buffer.extend_from_slice(&[0; 4]); // port: the kernel knows us
        self.buffer.extend_from_slice(&[head.family, 0]);
        self.buffer.extend_from_slice(&head.resource.to_be_bytes());
        body(self);
        let length = u32::try_from(self.buffer.len() - start).unwrap_or(u32::MAX);
        self.buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    pub(super) fn bytes(&mut self, kind: u16, payload: &[u8]) {
        self.attribute(kind, |writer| writer.buffer.extend_from_slice(payload));
    }

    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.attribute(kind | abi::NLA_F_NESTED, body);
    }

    pub(super) fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, |writer| {
            writer.buffer.extend_from_slice(text.as_bytes());
            writer.buffer.push(0);
        });
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, kind: u16, value: i32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Callers keep every attribute below 64 KiB; see `elements::CHUNK`.
    fn attribute(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        let length =
            u16::try_from(self.buffer.len() - start).expect("attributes are written in small portions");
        self.buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
    }
}

/// The attributes after the netfilter header.
pub(super) fn attributes<'a>(message: &Message<'a>) -> Attributes<'a> {
    message.attributes_after(NETFILTER_HEADER)
}

/// The family of the table that a netfilter message is about.
pub(super) fn family(message: &Message<'_>) -> Option<u8> {
    message.payload.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_netlink::messages;

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = Writer::default();
        let head = MessageHead { kind: 0x0a03, flags: 0, sequence: 7, family: 2, resource: 0 };
        writer.message(head, |m| {
            m.text(1, "skiff");
            m.nest(4, |m| m.u32(1, 0x0102_0304));
        });
        writer.message(MessageHead { sequence: 8, ..head }, |_| {});
        let bytes = writer.into_bytes();
        let read: Vec<_> = messages(&bytes).collect();
        assert_eq!((read.len(), read[0].kind, read[1].sequence), (2, 0x0a03, 8));
        assert_eq!(attributes(&read[0]).text(1), Some("skiff"));
        assert_eq!(attributes(&read[0]).nested(4).unwrap().get(1), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attributes(&read[0]).get(9), None);
    }
}
