//! Packets to the cluster's DNS.

pub(crate) fn run(packet: &[u8]) {
    skiff_dns::fuzzing::question(packet);
}
