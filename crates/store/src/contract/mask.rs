//! Seals without a key, that show when something is not opened as it was sealed.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Key, SEALED, Seal, Transformer};

/// Masks values by their key and the number of the seal. Which numbers can be opened may change, and the last of them is the
/// one that is written; 0 is none.
#[derive(Debug)]
pub struct Mask(Mutex<RangeInclusive<u8>>);

impl Mask {
    /// With these seals.
    pub fn new(known: RangeInclusive<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(known)))
    }

    /// From now on with these.
    pub fn change(&self, known: RangeInclusive<u8>) {
        *self.0.lock() = known;
    }

    fn last(&self) -> Seal {
        Seal::new((*self.0.lock().end()).into())
    }

    fn knows(&self, seal: Seal) -> bool {
        self.0.lock().contains(&number(seal))
    }
}

fn number(seal: Seal) -> u8 {
    u8::try_from(seal.get()).expect("seals of this kind have small numbers")
}

fn mask<'a>(seal: u8, key: &'a Key, bytes: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    bytes.iter().zip(key.as_str().bytes().cycle()).map(move |(byte, of_key)| byte ^ of_key ^ seal)
}

impl Transformer for Mask {
    fn current(&self, _: &Key) -> Result<Seal, Arc<str>> {
        Ok(self.last())
    }

    fn is_stale(&self, _: &Key, seal: Seal) -> bool {
        seal != self.last()
    }

    fn keeps(&self, _: &Key, seal: Seal) -> bool {
        self.knows(seal)
    }

    fn growth(&self, _: Seal) -> usize {
        SEALED.len() + 2
    }

    fn seal(&self, seal: Seal, key: &Key, value: &[u8], out: &mut Vec<u8>) {
        let seal = number(seal);
        if seal > 0 {
            out.extend_from_slice(SEALED);
            out.extend([seal, b':']);
            out.extend(mask(seal, key, value));
        } else {
            out.extend_from_slice(value);
        }
    }

    fn open<'a>(&self, key: &Key, stored: &'a [u8]) -> Result<(Seal, Cow<'a, [u8]>), Arc<str>> {
        let Some([seal, b':', masked @ ..]) = stored.strip_prefix(SEALED) else {
            return Ok((Seal::NONE, stored.into()));
        };
        if !self.knows(Seal::new((*seal).into())) {
            return Err("no matching prefix found".into());
        }
        Ok((Seal::new((*seal).into()), mask(*seal, key, masked).collect()))
    }
}
