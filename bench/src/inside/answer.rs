//! Asks an HTTP server again and again until it answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;

/// How long the first answer may take before the measurement gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions: short against what is measured, long enough to leave the processor to those who are.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    let started = Instant::now();
    while !matches!(ask(address), Ok(true)) {
        if started.elapsed() > PATIENCE {
            bail!("no answer from {address} in {PATIENCE:?}");
        }
        sleep(PAUSE);
    }
    super::print(&json!({"seconds": started.elapsed().as_secs_f64()}));
    Ok(())
}

fn ask(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: kubia\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
