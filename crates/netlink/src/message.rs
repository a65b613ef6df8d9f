//! Netlink messages and their attributes as bytes. Pure; total on any input.

/// Bytes of the netlink header.
pub(crate) const HEADER: usize = 16;
/// The bits of an attribute's kind that are not flags.
const TYPE_MASK: u16 = 0x3fff;

/// One message received.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// For the netfilter subsystems: the subsystem in the upper byte.
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// In answers the number of the request.
    pub sequence: u32,
    /// The socket that an answer is for, or whose request a notification tells of; 0 is the kernel.
    pub port: u32,
    /// What follows the netlink header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes that follow `header` bytes of a fixed header of the family.
    pub fn attributes_after(&self, header: usize) -> Attributes<'a> {
        Attributes(self.payload.get(header..).unwrap_or_default())
    }

    /// The system error of an error message; 0 is success.
    pub fn error(&self) -> i32 {
        let code = self.payload.first_chunk().copied().map_or(0, i32::from_ne_bytes);
        code.saturating_neg()
    }
}

/// The messages in a received datagram; ends at the first malformed one.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<HEADER>()?;
        let number =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = usize::try_from(number(0)).ok()?;
        let payload = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: number(8),
            port: number(12),
            payload,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// A sequence of attributes; ends at the first malformed one.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes that `payload` consists of.
    pub fn within(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    /// The payload of the first attribute of this kind.
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, payload)| payload)
    }

    /// The attributes inside the first attribute of this kind.
    pub fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Self)
    }

    /// The text of an attribute, without its terminator.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        let text = std::str::from_utf8(self.get(kind)?).ok()?;
        Some(text.trim_end_matches('\0'))
    }

    /// The number of an attribute in network byte order, as netfilter writes them.
    pub fn u32_be(self, kind: u16) -> Option<u32> {
        self.get(kind)?.first_chunk().copied().map(u32::from_be_bytes)
    }

    /// The number of an attribute in host byte order, as rtnetlink writes them.
    pub fn u32_ne(self, kind: u16) -> Option<u32> {
        self.get(kind)?.first_chunk().copied().map(u32::from_ne_bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let payload = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_input_ends_the_iteration() {
        assert_eq!(messages(&[0; 20]).count(), 0);
        assert_eq!(messages(&[255; 64]).count(), 0);
        assert_eq!(Attributes::within(&[0; 8]).count(), 0);
        assert_eq!(Attributes::within(&[9, 0, 1, 0, 5]).count(), 0);
    }

    /// Everything that can be asked of a message is asked of it.
    fn look_at(bytes: &[u8]) -> usize {
        let mut seen = 0;
        for message in messages(bytes) {
            seen += usize::from(message.error() != 0);
            for header in [0, 4, 12, 16] {
                for (kind, payload) in message.attributes_after(header) {
                    let inner = Attributes::within(payload);
                    seen += 1 + inner.count() + usize::from(inner.text(kind).is_some());
                    seen += usize::from(inner.u32_be(1).is_some()) + usize::from(inner.u32_ne(1).is_some());
                }
            }
        }
        seen
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            look_at(&bytes);
        }

        /// As above, with a length that fits, so that attributes are reached.
        #[test]
        fn any_attributes_are_looked_at_without_panic(body in prop::collection::vec(0u8..24, 0..256)) {
            let length = u32::try_from(HEADER + body.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([0; 12]);
            bytes.extend(body);
            prop_assert_eq!(messages(&bytes).count(), 1);
            look_at(&bytes);
        }
    }
}
