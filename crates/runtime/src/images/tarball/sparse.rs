//! Sparse files: the forms in which archives tell their pieces.

use super::invalid;
use std::io::{self, Read};

/// A file with holes.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Sparse {
    /// Bytes of the file with its holes.
    pub(in super::super) size: u64,
    /// Offset and length of what lies in the archive, in order.
    pub(in super::super) pieces: Vec<(u64, u64)>,
}

/// Pieces in order, none of which overlap.
#[derive(Debug, Default)]
pub(super) struct Map {
    pieces: Vec<(u64, u64)>,
    end: u64,
    length: u64,
}

impl Map {
    pub(super) fn add(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.checked_add(length).filter(|_| offset >= self.end);
        self.end = end.ok_or_else(|| invalid("the pieces of a sparse file overlap"))?;
        self.length =
            self.length.checked_add(length).ok_or_else(|| invalid("a sparse file has more than its size"))?;
        if length > 0 {
            self.pieces.push((offset, length));
        }
        Ok(())
    }

    /// The file of `real` bytes with these pieces, which have `stored` bytes in sum.
    pub(super) fn of(self, real: u64, stored: u64) -> io::Result<Sparse> {
        if self.length > stored {
            return Err(invalid("a sparse file has more than its size"));
        }
        if self.end > real || self.length < stored {
            return Err(invalid("the map of a sparse file does not fit its size"));
        }
        Ok(Sparse { size: real, pieces: self.pieces })
    }
}

/// What the records `GNU.sparse.*` of an extended header say. Their number is bounded by that of the header's bytes.
#[derive(Default)]
pub(super) struct PaxSparse {
    pub(super) name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    /// Of the old forms.
    size: Option<u64>,
    count: Option<u64>,
    /// Offsets and lengths by turns.
    numbers: Vec<u64>,
    /// Of the newest form.
    real: Option<u64>,
}

/// Where the map of a sparse file is, and the file's size.
pub(super) enum Form {
    Listed(Map, u64),
    InContent(u64),
}

impl PaxSparse {
    /// Takes in a record, by the rest of its key; `None` when it makes no sense. Unknown ones are passed over.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let number = || number(value);
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"size" => self.size = Some(number()?),
            b"realsize" => self.real = Some(number()?),
            b"numblocks" => self.count = Some(number()?),
            // Form 0.0 has each offset and length in a record of its own, by turns.
            b"offset" | b"numbytes" => {
                let in_turn = self.numbers.len().is_multiple_of(2) == (key == b"offset");
                self.numbers.push(in_turn.then(number)??);
            }
            b"map" if value.is_empty() => self.numbers.clear(),
            b"map" => self.numbers = value.split(|b| *b == b',').map(self::number).collect::<Option<_>>()?,
            _ => {}
        }
        Some(())
    }

    /// The form that these records are of.
    pub(super) fn form(self) -> io::Result<Form> {
        let damaged = || invalid("the records of a sparse file are damaged");
        match (self.major.unwrap_or(0), self.minor.unwrap_or(0)) {
            (0, 0 | 1) => {
                let pairs = self.numbers.chunks_exact(2);
                let counted = self.count.is_none_or(|count| u64::try_from(pairs.len()) == Ok(count));
                if !pairs.remainder().is_empty() || !counted {
                    return Err(damaged());
                }
                let mut map = Map::default();
                for pair in pairs {
                    map.add(pair[0], pair[1])?;
                }
                Ok(Form::Listed(map, self.size.ok_or_else(damaged)?))
            }
            (1, 0) => Ok(Form::InContent(self.real.ok_or_else(damaged)?)),
            _ => Err(invalid("this form of sparse files is not supported")),
        }
    }
}

/// Decimal digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok()
}

/// Bytes of the blocks that a map fills.
const BLOCK: usize = 512;
/// Digits of the largest number, and one for its end.
const LONGEST: usize = 21;

/// Reads the map with which the content of a file begins: the number of pieces, their offsets and lengths, each on a line,
/// then zeros up to a whole block.
pub(super) struct MapReader<R> {
    source: R,
    /// Bytes that may still be read.
    most: u64,
    block: [u8; BLOCK],
    at: usize,
    exhausted: bool,
}

impl<R: Read> MapReader<R> {
    pub(super) fn new(source: R, most: u64) -> Self {
        Self { source, most, block: [0; BLOCK], at: BLOCK, exhausted: false }
    }

    /// Whether the map has more bytes than it may have.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// The map; `None` when it is damaged or too long.
    pub(super) fn read(&mut self) -> io::Result<Option<Map>> {
        let Some(count) = self.number()? else { return Ok(None) };
        let mut map = Map::default();
        for _ in 0..count {
            let (Some(offset), Some(length)) = (self.number()?, self.number()?) else { return Ok(None) };
            map.add(offset, length)?;
        }
        Ok(Some(map))
    }

    fn number(&mut self) -> io::Result<Option<u64>> {
        let mut digits = Vec::with_capacity(LONGEST);
        while digits.len() < LONGEST {
            match self.byte()? {
                Some(b'\n') if !digits.is_empty() => return Ok(number(&digits)),
                Some(digit) => digits.push(digit),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.at == BLOCK {
            let Some(left) = self.most.checked_sub(BLOCK as u64) else {
                self.exhausted = true;
                return Ok(None);
            };
            self.most = left;
            match self.source.read_exact(&mut self.block) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                result => result?,
            }
            self.at = 0;
        }
        self.at += 1;
        Ok(Some(self.block[self.at - 1]))
    }
}
