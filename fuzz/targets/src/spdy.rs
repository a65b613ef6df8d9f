//! Frames of SPDY/3.1 connections.

pub(crate) fn run(data: &[u8]) {
    skiff_streams::fuzzing::spdy_frames(data);
}
