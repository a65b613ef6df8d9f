//! The fields of messages as bytes.

/// A field's number and the form of what follows.
pub(super) fn tag(out: &mut Vec<u8>, number: u16, form: u64) {
    varint(out, u64::from(number) << 3 | form);
}

pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    let lowest = |value: u64| value.to_le_bytes()[0];
    while value >= 0x80 {
        out.push(lowest(value) | 0x80);
        value >>= 7;
    }
    out.push(lowest(value));
}

/// A number, or a truth value as 0 or 1.
pub(crate) fn whole(out: &mut Vec<u8>, number: u16, value: i64) {
    tag(out, number, 0);
    varint(out, value.cast_unsigned());
}

/// A number with a fraction.
pub(crate) fn double(out: &mut Vec<u8>, number: u16, value: f64) {
    tag(out, number, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Text, bytes or a message that is written already.
pub(crate) fn bytes(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    tag(out, number, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The length of a field of so many bytes with a number below 16.
pub(super) fn sized(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()).max(1) as usize;
    1 + bits.div_ceil(7) + length
}

/// A message, whose length is known when it is written.
pub(crate) fn nested(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    tag(out, number, 2);
    let start = out.len();
    // Of most messages the length is one byte.
    out.push(0);
    write(out);
    let length = (out.len() - start - 1) as u64;
    if length < 0x80 {
        out[start] = length.to_le_bytes()[0];
    } else {
        let mut bytes = Vec::with_capacity(5);
        varint(&mut bytes, length);
        out.splice(start..=start, bytes);
    }
}
