//! Bodies in protobuf. What could be read is written, and read as it was.

use crate::kind;
use skiff_machinery::{protobuf, strict};

pub(crate) fn run(data: &[u8]) {
    if let Some((kind, body)) = kind(data) {
        let read = |body: &[u8]| {
            let read = protobuf::decode(body, &kind.root).ok()?;
            strict::prune(read.into_value(), &kind.root).ok().map(|decoded| decoded.object)
        };
        let Some(first) = read(body) else { return };
        // Now with the zeros that are always written.
        let second = read(&protobuf::object(&first, &kind.root)).expect("what was written can be read");
        let third = read(&protobuf::object(&second, &kind.root));
        assert_eq!(Some(second), third);
    }
}
