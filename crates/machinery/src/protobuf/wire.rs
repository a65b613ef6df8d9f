//! The wire format: numbered fields in four forms.

use super::ProtobufError;

/// A field's value as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self, field: &str) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::Form(field.to_owned())),
        }
    }

    pub(super) fn text(self, field: &str) -> Result<String, ProtobufError> {
        let bytes = self.bytes(field)?;
        let text = std::str::from_utf8(bytes).map_err(|_| ProtobufError::Text(field.to_owned()))?;
        Ok(text.to_owned())
    }

    /// Numbers below zero are sent as 64 bits in two's complement.
    pub(super) fn number(self, field: &str) -> Result<i64, ProtobufError> {
        match self {
            Self::Varint(number) => Ok(number.cast_signed()),
            _ => Err(ProtobufError::Form(field.to_owned())),
        }
    }

    pub(super) fn float(self, field: &str) -> Result<f64, ProtobufError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err(ProtobufError::Form(field.to_owned())),
        }
    }
}

/// Reads the fields of one message.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next field's number and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtobufError> {
        let Some(key) = self.packed()? else { return Ok(None) };
        let malformed = ProtobufError::Malformed(self.at);
        let Ok(number) = u32::try_from(key >> 3) else { return Err(malformed) };
        let value = match key & 7 {
            0 => Wire::Varint(self.packed()?.ok_or(malformed)?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.packed()?.and_then(|length| usize::try_from(length).ok());
                Wire::Bytes(self.take(length.ok_or(malformed)?)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(malformed),
        };
        Ok(Some((number, value)))
    }

    /// The next number of a packed list; `None` at the end.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, ProtobufError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(number));
            }
        }
        Err(ProtobufError::Malformed(self.at))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let malformed = ProtobufError::Malformed(self.at);
        self.take(N)?.try_into().map_err(|_| malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let end = self.at.checked_add(length).ok_or(ProtobufError::Malformed(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(ProtobufError::Malformed(self.at))?;
        self.at = end;
        Ok(taken)
    }
}
