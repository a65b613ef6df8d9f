//! How values lie on disk: as they are, or sealed. No I/O.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::types::Key;

/// What every sealed value on disk begins with, and none that is not sealed.
pub const SEALED: &[u8] = b"k8s:enc:";

/// What a value is sealed with, by a number that its [`Transformer`] gave. Values in memory are never sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seal(u32);

impl Seal {
    /// Not sealed at all.
    pub const NONE: Self = Self(0);

    /// The seal of a number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Seals what is written to disk, and opens what is read from there. With what, may change while the store is open; a
/// seal that was given out can be made again as long as the process lives, so that writing never fails for want of a key.
pub trait Transformer: fmt::Debug + Send + Sync + 'static {
    /// The seal of a value that is written under this key now, or why none can be.
    fn current(&self, key: &Key) -> Result<Seal, Arc<str>>;

    /// Whether a value with this seal would be sealed otherwise if it were written now.
    fn is_stale(&self, key: &Key, seal: Seal) -> bool;

    /// Whether a value with this seal could be opened after a restart, as far as is known.
    fn keeps(&self, key: &Key, seal: Seal) -> bool;

    /// By how many bytes a value grows at most by this seal.
    fn growth(&self, seal: Seal) -> usize;

    /// Appends the value as it lies on disk: a pure function of what is sealed and of chance.
    fn seal(&self, seal: Seal, key: &Key, value: &[u8], out: &mut Vec<u8>);

    /// The value that lies on disk under this key, or why it cannot be opened. May wait for whoever has the keys.
    fn open<'a>(&self, key: &Key, stored: &'a [u8]) -> Result<(Seal, Cow<'a, [u8]>), Arc<str>>;
}

/// Values lie on disk as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Transformer for Plain {
    fn current(&self, _: &Key) -> Result<Seal, Arc<str>> {
        Ok(Seal::NONE)
    }

    fn is_stale(&self, _: &Key, _: Seal) -> bool {
        false
    }

    fn keeps(&self, _: &Key, _: Seal) -> bool {
        true
    }

    fn growth(&self, _: Seal) -> usize {
        0
    }

    fn seal(&self, _: Seal, _: &Key, value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
    }

    fn open<'a>(&self, _: &Key, stored: &'a [u8]) -> Result<(Seal, Cow<'a, [u8]>), Arc<str>> {
        if stored.starts_with(SEALED) {
            return Err("identity transformer tried to read encrypted data".into());
        }
        Ok((Seal::NONE, stored.into()))
    }
}
