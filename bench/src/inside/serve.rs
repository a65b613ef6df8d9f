//! The far side of `compare`: the first byte says what a connection is for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Answer one byte and close.
pub(crate) const SHORT: u8 = b's';
/// Send until the other side has enough.
pub(crate) const BULK: u8 = b'b';

/// Connections that are served at a time on each port.
const WORKERS: usize = 8;

pub(crate) fn run(ports: &[u16]) -> anyhow::Result<()> {
    let mut workers = Vec::new();
    for port in ports {
        let listener = TcpListener::bind(("0.0.0.0", *port))?;
        for _ in 0..WORKERS {
            let listener = listener.try_clone()?;
            workers.push(thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    answer(stream);
                }
            }));
        }
    }
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?;
    }
    Ok(())
}

fn answer(mut stream: TcpStream) {
    let mut kind = [0];
    if stream.read_exact(&mut kind).is_err() {
        return;
    }
    let buffer = vec![0; 256 << 10];
    // The client closes when it has seen enough; then writing fails, and that is the end.
    match kind[0] {
        BULK => while stream.write_all(&buffer).is_ok() {},
        _ => drop(stream.write_all(&kind)),
    }
}
