//! Real pods on this machine's kernel, as root.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

#[path = "../common/mod.rs"]
mod common;

use rustix::process::Signal;
use tokio::io::AsyncReadExt;

/// Starts a machine or leaves the test with a printed reason.
macro_rules! machine {
    () => {
        match crate::common::Machine::new().await {
            Some(machine) => machine,
            None => return,
        }
    };
}

mod containers;
mod limits;
mod streams;
mod supervisors;

fn kill(process: i32, signal: Signal) -> rustix::io::Result<()> {
    rustix::process::kill_process(rustix::process::Pid::from_raw(process).unwrap(), signal)
}

/// What comes until a text is in it.
async fn read_until(from: &mut skiff_runtime::SessionOutput, wanted: &str) -> String {
    let mut text = String::new();
    let read = async {
        let mut buffer = [0; 1024];
        while !text.contains(wanted) {
            let read = from.read(&mut buffer).await.unwrap();
            assert!(read > 0, "ended after {text:?}");
            text += &String::from_utf8_lossy(&buffer[..read]);
        }
    };
    tokio::time::timeout(common::PATIENCE, read).await.unwrap_or_else(|_| panic!("{wanted:?} in time"));
    text
}
