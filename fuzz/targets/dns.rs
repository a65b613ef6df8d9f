//! Packets to the cluster's DNS.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| skiff_dns::fuzzing::question(packet));
