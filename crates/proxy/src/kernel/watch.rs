//! Hears when another program changes our table.

use std::{fmt, io};

use skiff_netlink::{Group, Heard, Message, Notifications, Subsystem, filter};

use super::{abi, layout::TABLE, wire};

/// Notifications of changes of the packet filter that were not made through one socket of ours.
#[derive(Debug)]
pub struct TableWatch {
    notifications: Notifications,
    pending: Pending,
}

/// Whether the transaction that is being told of touches our table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pending(bool);

/// Another program changed our table, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Name and id of the program, if the kernel told.
    pub by: Option<String>,
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.by.as_deref().unwrap_or("another program"))
    }
}

impl TableWatch {
    /// Hears of all changes but those that come through the socket with number `ours`; the kernel does not even queue
    /// these. Must be called inside a tokio runtime.
    pub fn open(ours: u32) -> io::Result<Self> {
        let groups = [Group(abi::NFNLGRP_NFTABLES)];
        let notifications = Notifications::open(Subsystem::Netfilter, &groups, &filter::not_from(ours))?;
        Ok(Self { notifications, pending: Pending::default() })
    }

    /// Waits until another program has changed our table. Cancel safe.
    pub async fn touched(&mut self) -> io::Result<Touched> {
        loop {
            let (mut touched, pending) = (None, &mut self.pending);
            let heard = self.notifications.next(|message| {
                if let Some(by) = pending.hear(&message) {
                    touched = Some(by);
                }
            });
            match heard.await? {
                Heard::Overrun => return Ok(Touched { by: None }),
                Heard::Messages => {
                    if let Some(touched) = touched {
                        return Ok(touched);
                    }
                }
            }
        }
    }
}

impl Pending {
    /// Takes one message in. The kernel ends each transaction with a message that says who made it.
    pub(super) fn hear(&mut self, message: &Message<'_>) -> Option<Touched> {
        if message.kind >> 8 != abi::NFNL_SUBSYS_NFTABLES {
            return None;
        }
        let object = wire::attributes(message);
        if message.kind & 0xff == abi::NEWGEN {
            let name = object.text(abi::GEN_PROC_NAME);
            let pid = object.u32_be(abi::GEN_PROC_PID);
            let by = name.zip(pid).map(|(name, pid)| format!("{name} (process {pid})"));
            return std::mem::take(self).0.then_some(Touched { by });
        }
        self.0 |=
            wire::family(message) == Some(abi::NFPROTO_IPV4) && object.text(abi::ANY_TABLE) == Some(TABLE);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::wire::{MessageHead, Writer};
    use skiff_netlink::messages;

    /// What is heard of messages given by kind, family and first attribute.
    fn check(told: &[(u16, u8, &str)]) -> Vec<String> {
        let mut writer = Writer::default();
        for (kind, family, text) in told {
            let kind = abi::NFNL_SUBSYS_NFTABLES << 8 | kind;
            writer.message(
                MessageHead { kind, flags: 0, sequence: 1, family: *family, resource: 0 },
                |out| {
                    out.text(abi::ANY_TABLE, text);
                    if kind & 0xff == abi::NEWGEN {
                        out.u32(abi::GEN_PROC_PID, 7);
                        out.text(abi::GEN_PROC_NAME, text);
                    }
                },
            );
        }
        let (bytes, mut pending) = (writer.into_bytes(), Pending::default());
        messages(&bytes)
            .filter_map(|message| pending.hear(&message))
            .map(|touched| touched.to_string())
            .collect()
    }

    #[test]
    fn only_transactions_that_touch_our_table_count_and_each_once() {
        let (ours, end) = ((abi::DELTABLE, 2, "skiff"), (abi::NEWGEN, 0, "nft"));
        assert_eq!(check(&[ours, ours, end]), ["nft (process 7)"]);
        assert_eq!(check(&[(abi::NEWTABLE, 2, "filter"), end, end]), [""; 0]);
        assert_eq!(check(&[(abi::NEWTABLE, 1, "skiff"), end]), [""; 0], "a table of another family");
        assert_eq!(check(&[(abi::NEWTABLE, 2, "filter"), ours, end, ours, end]).len(), 2);
        assert_eq!(check(&[ours]), [""; 0], "the end of the transaction is still to come");
    }
}
