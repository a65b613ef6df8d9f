//! Answers every HTTP request with the name of the pod that it runs in, as the image `luksa/kubia` does.
//!
//! It listens on port 8080 of every address, logs each request, and ends on SIGTERM or SIGINT: the first
//! process of a container gets no default handlers from the kernel.

use std::convert::Infallible;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

const PORT: u16 = 8080;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind(("::", PORT)).await.with_context(|| format!("listen on port {PORT}"))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("Kubia server starting...");
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
                Err(error) => eprintln!("cannot accept a connection: {error}"),
            },
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

async fn serve(stream: TcpStream) {
    let peer = stream.peer_addr().map_or_else(|_| "?".to_owned(), |peer| peer.ip().to_string());
    let answer = service_fn(|_: Request<hyper::body::Incoming>| {
        println!("Received request from {peer}");
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(greeting())))) }
    });
    if let Err(error) =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await
    {
        eprintln!("connection from {peer}: {error}");
    }
}

/// The host name is the pod's name; read each time, it costs nothing.
fn greeting() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown\n".to_owned());
    format!("You've hit {}\n", name.trim_end())
}
