//! Values as they lie in memory.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use lz4_flex::block;

use crate::transformer::Seal;

/// Shorter values are kept as they are.
const SHORT: usize = 512;

/// What a thread keeps of the room in which it packs, and of that in which it unpacks.
const MOST_SCRATCH: usize = 64 << 10;

thread_local! {
    /// Where values are packed, to be copied from there: packed in a place of its own each would leave a hole behind it that is too
    /// small for the next.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };

    /// Where values are unpacked that are read and not kept.
    static UNPACKED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A value, packed if that makes it much smaller: objects of the API are, to less than half. Packing costs a write some
/// microseconds, and unpacking is hardly slower than a copy. Clones share the bytes.
#[derive(Clone)]
pub struct Value(Form);

#[derive(Clone)]
enum Form {
    Open {
        bytes: Bytes,
        /// Of the value itself, if it is packed: then it is never short.
        unpacked: u32,
        seal: Seal,
    },
    /// As it lies on disk, where it cannot be opened.
    Closed(Arc<Closed>),
}

/// A value that could not be opened.
struct Closed {
    stored: Bytes,
    why: Arc<str>,
}

impl Value {
    /// Packs a value, if that pays. On disk it has this seal.
    pub(crate) fn pack(plain: &Bytes, seal: Seal) -> Self {
        let as_it_is = || Self(Form::Open { bytes: plain.clone(), unpacked: 0, seal });
        let packable = u32::try_from(plain.len()).ok().filter(|_| plain.len() >= SHORT);
        let Some(unpacked) = packable else { return as_it_is() };
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(block::get_maximum_output_size(plain.len()), 0);
            let packed = match block::compress_into(plain, scratch) {
                Ok(length) if length <= plain.len() / 4 * 3 => &scratch[..length],
                _ => return as_it_is(),
            };
            let value = Self(Form::Open { bytes: Bytes::copy_from_slice(packed), unpacked, seal });
            scratch.truncate(MOST_SCRATCH);
            scratch.shrink_to(MOST_SCRATCH);
            value
        })
    }

    /// A value that is on disk and cannot be opened, for this reason.
    pub(crate) fn closed(stored: &[u8], why: Arc<str>) -> Self {
        Self(Form::Closed(Arc::new(Closed { stored: Bytes::copy_from_slice(stored), why })))
    }

    /// Why there is no value, if it could not be opened.
    pub(crate) fn why_closed(&self) -> Option<&Arc<str>> {
        match &self.0 {
            Form::Closed(closed) => Some(&closed.why),
            Form::Open { .. } => None,
        }
    }

    /// What the value is sealed with on disk; none for one that could not be opened, which stays there as it is.
    pub(crate) fn seal(&self) -> Option<Seal> {
        match &self.0 {
            Form::Open { seal, .. } => Some(*seal),
            Form::Closed(_) => None,
        }
    }

    /// The value's bytes; of one that could not be opened, which no read shows, what is on disk. Not free: keep them while
    /// they are needed.
    pub fn bytes(&self) -> Bytes {
        match &self.0 {
            Form::Open { bytes, unpacked: 0, .. } => bytes.clone(),
            Form::Open { bytes, .. } => block::decompress(bytes, self.len())
                .expect("what was packed here unpacks to its length")
                .into(),
            Form::Closed(closed) => closed.stored.clone(),
        }
    }

    /// What is made of the value's bytes, as [`Value::bytes`] has them, by who need not keep them: they take no room of their own.
    pub fn read<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        let Form::Open { bytes, unpacked: 1.., .. } = &self.0 else { return read(&self.bytes()) };
        // Taken, not borrowed: what is read within a read has other room.
        let mut room = UNPACKED.take();
        let length = self.len();
        if room.len() < length {
            room.resize(length, 0);
        }
        block::decompress_into(bytes, &mut room[..length])
            .expect("what was packed here unpacks to its length");
        let made = read(&room[..length]);
        room.truncate(MOST_SCRATCH);
        room.shrink_to(MOST_SCRATCH);
        UNPACKED.set(room);
        made
    }

    /// How many bytes the value has.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Open { bytes, unpacked: 0, .. } => bytes.len(),
            Form::Open { unpacked, .. } => usize::try_from(*unpacked).unwrap_or(usize::MAX),
            Form::Closed(closed) => closed.stored.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the other is a clone of it: the same bytes at the same place, which costs nothing to see.
    pub fn is_clone_of(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::Open { bytes, unpacked, .. }, Form::Open { bytes: others, unpacked: of_other, .. }) => {
                std::ptr::eq::<[u8]>(&**bytes, &**others) && unpacked == of_other
            }
            (Form::Closed(closed), Form::Closed(other)) => Arc::ptr_eq(closed, other),
            _ => false,
        }
    }

    /// How many bytes it takes.
    pub fn held(&self) -> usize {
        match &self.0 {
            Form::Open { bytes, .. } => bytes.len(),
            Form::Closed(closed) => closed.stored.len(),
        }
    }
}

impl<B: Into<Bytes>> From<B> for Value {
    /// A value that is not packed.
    fn from(bytes: B) -> Self {
        Self(Form::Open { bytes: bytes.into(), unpacked: 0, seal: Seal::NONE })
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.is_clone_of(other) || self.len() == other.len() && self.bytes() == other.bytes()
    }
}

impl Eq for Value {}

impl PartialEq<[u8]> for Value {
    fn eq(&self, other: &[u8]) -> bool {
        self.len() == other.len() && *self.bytes() == *other
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn come_out_as_they_went_in(text in prop::collection::vec(0_u8..4, 0..3000), tail in prop::collection::vec(any::<u8>(), 0..3000)) {
            for plain in [&text, &tail, &[text.clone(), tail.clone()].concat()] {
                let plain = Bytes::copy_from_slice(plain);
                let value = Value::pack(&plain, Seal::NONE);
                prop_assert_eq!(value.bytes(), plain.clone());
                let twice = value.read(|outer| value.read(|inner| (outer == plain, inner == plain)));
                prop_assert_eq!(twice, (true, true));
                prop_assert_eq!((value.len(), value.held() <= plain.len()), (plain.len(), true));
                prop_assert!(value == Value::from(plain));
            }
        }
    }

    #[test]
    fn objects_take_less_than_half() {
        let container = |n: usize| {
            format!(
                r#"{{"env":[{{"name":"VARIABLE_{n}","value":"http://service-{n}.default.svc.cluster.local"}}],"image":"example.com/team/application:v1.{n}","imagePullPolicy":"IfNotPresent","name":"main-{n}","resources":{{"limits":{{"memory":"256Mi"}},"requests":{{"cpu":"100m","memory":"128Mi"}}}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}}"#
            )
        };
        let containers: Vec<String> = (0..6).map(container).collect();
        let object = Bytes::from(format!(r#"{{"spec":{{"containers":[{}]}}}}"#, containers.join(",")));
        let value = Value::pack(&object, Seal::NONE);
        assert!(value.held() < object.len() / 2, "{} of {}", value.held(), object.len());
        assert_eq!(Value::pack(&Bytes::from_static(b"short"), Seal::NONE).held(), 5);
        assert_eq!(size_of::<Value>(), 40, "a seal takes no room");
    }
}
