//! A pod's own address against the ClusterIP in front of it, in turns.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::net::sockopt::set_socket_linger;
use serde_json::json;

use super::serve::{BULK, SHORT};
use crate::report::percentile;

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1000);
const THREADS: usize = 8;

pub(crate) fn run(direct: SocketAddr, service: SocketAddr) -> anyhow::Result<()> {
    let connections = in_turns(direct, service, connections_per_second)?;
    let bytes = in_turns(direct, service, bytes_per_second)?;
    super::print(&json!({"connections": connections, "bytes": bytes}));
    Ok(())
}

/// The medians of both, and of the ratios of neighbouring rounds.
fn in_turns(
    direct: SocketAddr,
    service: SocketAddr,
    measure: fn(SocketAddr) -> anyhow::Result<f64>,
) -> anyhow::Result<serde_json::Value> {
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = measure(direct)?;
        let through = measure(service)?;
        let after = measure(direct)?;
        a.push((before + after) / 2.0);
        b.push(through);
        ratios.push(2.0 * through / (before + after));
    }
    let median = |samples: &mut Vec<f64>| percentile(samples, 50);
    Ok(json!({"direct": median(&mut a), "service": median(&mut b), "ratio": median(&mut ratios)}))
}

fn connections_per_second(address: SocketAddr) -> anyhow::Result<f64> {
    let worker = move || -> std::io::Result<u32> {
        let end = Instant::now() + ROUND;
        let mut count = 0;
        while Instant::now() < end {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(&[SHORT])?;
            stream.read_exact(&mut [0])?;
            // A reset leaves no state behind. After an ordinary end, a later connection from the same port would
            // meet this one's TIME_WAIT, in the pod and in connection tracking, and measure that.
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            count += 1;
        }
        Ok(count)
    };
    let workers: Vec<_> = (0..THREADS).map(|_| thread::spawn(worker)).collect();
    let mut total = 0;
    for worker in workers {
        total += worker
            .join()
            .map_err(|_| anyhow::anyhow!("a worker panicked"))?
            .with_context(|| format!("connect to {address}"))?;
    }
    Ok(f64::from(total) / ROUND.as_secs_f64())
}

fn bytes_per_second(address: SocketAddr) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&[BULK])?;
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    let started = Instant::now();
    while started.elapsed() < ROUND {
        total += stream.read(&mut buffer)?;
    }
    Ok(total as f64 / started.elapsed().as_secs_f64())
}
