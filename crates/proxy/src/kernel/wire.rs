//! Netlink messages of the netfilter subsystems as bytes. Pure. Integers in attributes are in network byte order.

use super::abi;

/// Bytes of the netlink header, and of the netfilter header after it.
const HEADER: usize = 16;
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

/// One message received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// What follows the netlink header.
    pub(super) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after the netfilter header.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.payload.get(NETFILTER_HEADER..).unwrap_or_default())
    }

    /// The system error of an error message; 0 is success.
    pub(super) fn error(&self) -> i32 {
        let code = self.payload.first_chunk().copied().map_or(0, i32::from_ne_bytes);
        code.saturating_neg()
    }
}

/// The messages in a received datagram.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER)?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let payload = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            payload,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// A sequence of attributes; stops at the first malformed one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(super) fn within(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    /// The payload of the first attribute of this kind.
    pub(super) fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, payload)| payload)
    }

    /// The attributes inside the first attribute of this kind.
    pub(super) fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Self)
    }

    /// The text of an attribute, without its terminator.
    pub(super) fn text(self, kind: u16) -> Option<&'a str> {
        let text = std::str::from_utf8(self.get(kind)?).ok()?;
        Some(text.trim_end_matches('\0'))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & abi::NLA_TYPE_MASK;
        let payload = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(read[0].attributes().text(1), Some("skiff"));
        assert_eq!(read[0].attributes().nested(4).unwrap().get(1), Some(&[1, 2, 3, 4][..]));
        assert_eq!(read[0].attributes().get(9), None);
    }

    #[test]
    fn malformed_input_ends_the_iteration() {
        assert_eq!(messages(&[0; 20]).count(), 0);
        assert_eq!(messages(&[255; 64]).count(), 0);
        assert_eq!(Attributes::within(&[0; 8]).count(), 0);
        assert_eq!(Attributes::within(&[9, 0, 1, 0, 5]).count(), 0);
    }
}
