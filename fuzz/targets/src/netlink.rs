//! Notifications of the kernel: messages and all their attributes.

use skiff_netlink::{Attributes, messages};

pub(crate) fn run(datagram: &[u8]) {
    for message in messages(datagram) {
        message.error();
        for header in [0, 4, 12, 16] {
            walk(message.attributes_after(header), 0);
        }
    }
}

fn walk(attributes: Attributes<'_>, depth: usize) {
    for (kind, value) in attributes {
        let _values = (attributes.text(kind), attributes.u32_be(kind), attributes.u32_ne(kind));
        if depth < 4 {
            walk(Attributes::within(value), depth + 1);
        }
    }
}
