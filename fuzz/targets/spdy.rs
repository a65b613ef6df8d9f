//! Frames of SPDY/3.1 connections.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| skiff_streams::fuzzing::spdy_frames(data));
