//! The wire format: numbered fields in four forms.

use super::ProtobufError;

/// A field's value as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// Fields between two marks. Nothing has this form, but what is unknown may.
    Group,
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self, field: &str) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_form(field)),
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
            _ => Err(self.wrong_form(field)),
        }
    }

    pub(super) fn float(self, field: &str) -> Result<f64, ProtobufError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err(self.wrong_form(field)),
        }
    }

    fn wrong_form(self, field: &str) -> ProtobufError {
        let form = match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Group => 3,
            Self::Fixed32(_) => 5,
        };
        ProtobufError::Form { form, field: field.to_owned() }
    }
}

/// Reads the fields of one message.
pub(super) struct Reader<'a> {
    /// As errors call it; `None` where nobody minds the numbers of fields.
    message: Option<&'a str>,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of a message of this name.
    pub(super) fn new(message: &'a str, bytes: &'a [u8]) -> Self {
        Self { message: Some(message), bytes, at: 0 }
    }

    /// Of a map's entry or a packed list.
    pub(super) fn nameless(bytes: &'a [u8]) -> Self {
        Self { message: None, bytes, at: 0 }
    }

    /// The next field's number and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtobufError> {
        let Some(key) = self.packed()? else { return Ok(None) };
        let number = self.field_number(key)?;
        Ok(Some((number, self.value(key)?)))
    }

    /// Of more bits than 32 the lower ones count.
    fn field_number(&self, key: u64) -> Result<u32, ProtobufError> {
        let [a, b, c, d, ..] = (key >> 3).to_le_bytes();
        let number = i32::from_le_bytes([a, b, c, d]);
        let Some(message) = self.message else { return Ok(number.cast_unsigned()) };
        let message = message.to_owned();
        if key & 7 == 4 {
            return Err(ProtobufError::EndGroup(message));
        }
        if number <= 0 {
            return Err(ProtobufError::Tag { message, number, key });
        }
        Ok(number.cast_unsigned())
    }

    fn value(&mut self, key: u64) -> Result<Wire<'a>, ProtobufError> {
        Ok(match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = i64::try_from(length).map_err(|_| ProtobufError::NegativeLength)?;
                Wire::Bytes(self.take(usize::try_from(length).map_err(|_| ProtobufError::End)?)?)
            }
            3 => self.group()?,
            4 => return Err(ProtobufError::UnexpectedEndGroup),
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            form => return Err(ProtobufError::IllegalForm(form)),
        })
    }

    /// Skips to the mark that ends a group, which may have others in it.
    fn group(&mut self) -> Result<Wire<'a>, ProtobufError> {
        let mut open = 1_usize;
        while open > 0 {
            let key = self.varint()?;
            match key & 7 {
                3 => open += 1,
                4 => open -= 1,
                _ => {
                    let _skipped = self.value(key)?;
                }
            }
        }
        Ok(Wire::Group)
    }

    /// The next number of a packed list; `None` at the end.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, ProtobufError> {
        if self.at == self.bytes.len() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ProtobufError::Overflow)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::End)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let end = self.at.checked_add(length).ok_or(ProtobufError::NegativeLength)?;
        let taken = self.bytes.get(self.at..end).ok_or(ProtobufError::End)?;
        self.at = end;
        Ok(taken)
    }
}
