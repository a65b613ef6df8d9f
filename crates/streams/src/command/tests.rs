use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::{
    spdy::Frame,
    test_client::{SpdyClient, connection, drain, websocket},
};

const ALL: CommandStreams = CommandStreams { stdin: true, stdout: true, stderr: true, tty: false };
const TTY: CommandStreams = CommandStreams { stdin: true, stdout: true, stderr: false, tty: true };

async fn end(session: CommandSession, outcome: Outcome) -> Result<(), StreamError> {
    let CommandSession { stdout, stderr, status, .. } = session;
    let result = status.finish(outcome).await;
    drop((stdout, stderr));
    result
}

#[tokio::test]
async fn a_v5_session_from_first_input_to_the_status() {
    let (ours, theirs) = connection();
    let client = tokio::spawn(async move {
        let mut socket = websocket(theirs).await;
        for message in [&b"\x00hel"[..], b"\x00lo", b"\xff\x00", b"\x04{\"Width\":80,\"Height\":24}\n"] {
            socket.send(Message::binary(message)).await.unwrap();
        }
        drain(&mut socket).await
    });
    let mut session = session_over(ours, Agreed::WebSocket("v5.channel.k8s.io"), ALL).await.unwrap();
    let mut input = String::new();
    session.stdin.take().unwrap().read_to_string(&mut input).await.unwrap();
    assert_eq!(input, "hello");
    assert_eq!(session.resize.recv().await, Some(TerminalSize { width: 80, height: 24 }));
    session.stdout.as_mut().unwrap().write_all(b"out").await.unwrap();
    session.stderr.as_mut().unwrap().write_all(b"err").await.unwrap();
    assert!(!session.gone.is_cancelled());
    end(session, Outcome::Exited(3)).await.unwrap();
    let (seen, code) = client.await.unwrap();
    assert_eq!(seen[..2], [(1, "out".to_owned()), (2, "err".to_owned())]);
    assert!(seen[2].0 == 3 && seen[2].1.contains(r#""message":"3""#), "{seen:?}");
    assert_eq!((seen.len(), code), (3, Some(1000)));
}

/// What a client of `protocol` gets on channels other than stdout.
async fn last_words(protocol: &'static str, outcome: Outcome) -> Vec<(u8, String)> {
    let (ours, theirs) = connection();
    let client = tokio::spawn(async move { drain(&mut websocket(theirs).await).await.0 });
    let session = session_over(ours, Agreed::WebSocket(protocol), ALL).await.unwrap();
    end(session, outcome).await.unwrap();
    client.await.unwrap()
}

#[tokio::test]
async fn what_each_version_says_at_the_end() {
    let success = (3, r#"{"metadata":{},"status":"Success"}"#.to_owned());
    assert_eq!(last_words("v4.channel.k8s.io", Outcome::Exited(0)).await, [success]);
    assert_eq!(last_words("channel.k8s.io", Outcome::Exited(0)).await, []);
    let failure = last_words("channel.k8s.io", Outcome::Exited(2)).await;
    assert_eq!(failure, [(3, "command terminated with non-zero exit code: exit status 2".to_owned())]);
    let encoded = last_words("base64.channel.k8s.io", Outcome::Failed("x".into())).await;
    assert_eq!(encoded, [(b'3', "SW50ZXJuYWwgZXJyb3Igb2NjdXJyZWQ6IHg=".to_owned())]);
}

#[tokio::test]
async fn pings_are_answered_while_nobody_reads_the_input() {
    let (ours, theirs) = connection();
    let mut socket = websocket(theirs).await;
    let _session = session_over(ours, Agreed::WebSocket("v5.channel.k8s.io"), ALL).await.unwrap();
    for _ in 0..20 {
        socket.send(Message::binary(vec![0; 32 * 1024])).await.unwrap();
    }
    socket.send(Message::Ping(Bytes::from_static(b"alive?"))).await.unwrap();
    loop {
        if let Message::Pong(payload) = socket.next().await.unwrap().unwrap() {
            assert_eq!(payload, "alive?");
            break;
        }
    }
}

#[tokio::test]
async fn a_lost_client_is_noticed_on_every_side() {
    let (ours, theirs) = connection();
    let mut session = session_over(ours, Agreed::WebSocket("v5.channel.k8s.io"), ALL).await.unwrap();
    drop(theirs);
    session.gone.cancelled().await;
    assert!(session.stdin.as_mut().unwrap().read_u8().await.is_err());
    let error = loop {
        if let Err(error) = session.stdout.as_mut().unwrap().write_all(b"x").await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(matches!(end(session, Outcome::Exited(0)).await, Err(StreamError::Gone)));
}

#[tokio::test]
async fn a_session_dropped_without_status_closes_the_connection() {
    let (ours, theirs) = connection();
    let client = tokio::spawn(async move { drain(&mut websocket(theirs).await).await });
    drop(session_over(ours, Agreed::WebSocket("v5.channel.k8s.io"), ALL).await.unwrap());
    assert_eq!(client.await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn a_spdy_session_from_first_input_to_the_status() {
    let (ours, theirs) = connection();
    let server = tokio::spawn(session_over(ours, Agreed::Spdy("v4.channel.k8s.io"), ALL));
    let mut client = SpdyClient::new(theirs);
    let mut streams = Vec::new();
    for kind in ["error", "stdin", "stdout", "stderr"] {
        streams.push(client.open(&[("streamtype", kind)]).await);
    }
    let [error, stdin, stdout, stderr] = streams[..] else { unreachable!() };
    client.data(stdin, b"hello", true).await;
    client.send(Frame::Ping(1)).await;
    let mut session = server.await.unwrap().unwrap();
    let mut input = String::new();
    session.stdin.take().unwrap().read_to_string(&mut input).await.unwrap();
    assert_eq!(input, "hello");
    let big = vec![b'x'; 300_000];
    let output = tokio::spawn(async move {
        session.stdout.as_mut().unwrap().write_all(&big).await.unwrap();
        session.stderr.as_mut().unwrap().write_all(b"err").await.unwrap();
        end(session, Outcome::Exited(0)).await.unwrap();
    });
    let arrived = client.read_until(|arrived| arrived.get(&error).is_some_and(|error| error.ended)).await;
    output.await.unwrap();
    assert_eq!(arrived[&stdout].data.len(), 300_000, "no window holds output back");
    assert!(arrived[&stdout].ended && arrived[&stderr].ended && arrived[&stdin].ended);
    assert_eq!(arrived[&stderr].text(), "err");
    assert_eq!(arrived[&error].text(), r#"{"metadata":{},"status":"Success"}"#);
    assert!(matches!(client.frame().await, Some(Frame::GoAway { .. })));
    assert_eq!(client.frame().await, None, "the server closes");
}

#[tokio::test]
async fn a_spdy_terminal_sends_sizes_from_version_3_on() {
    for (protocol, streams) in [
        ("v3.channel.k8s.io", &["error", "stdin", "stdout", "resize"][..]),
        ("v2.channel.k8s.io", &["error", "stdin", "stdout"]),
    ] {
        let (ours, theirs) = connection();
        let server = tokio::spawn(session_over(ours, Agreed::Spdy(protocol), TTY));
        let mut client = SpdyClient::new(theirs);
        let mut last = 0;
        for kind in streams {
            last = client.open(&[("streamtype", kind)]).await;
        }
        if streams.contains(&"resize") {
            client.data(last, b"{\"Width\":1,\"Height\":2}\n", false).await;
        }
        let mut session = server.await.unwrap().unwrap();
        let size = session.resize.recv().await;
        assert_eq!(size, streams.contains(&"resize").then_some(TerminalSize { width: 1, height: 2 }));
        let finished = tokio::spawn(end(session, Outcome::Exited(1)));
        let arrived = client.read_until(|arrived| arrived.get(&1).is_some_and(|error| error.ended)).await;
        finished.await.unwrap().unwrap();
        assert_eq!(arrived[&1].text(), "command terminated with non-zero exit code: exit status 1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_spdy_client_has_to_open_its_streams_in_time() {
    let (ours, theirs) = connection();
    let mut client = SpdyClient::new(theirs);
    client.open(&[("streamtype", "error")]).await;
    client.open(&[("streamtype", "nonsense")]).await;
    let error = session_over(ours, Agreed::Spdy("v4.channel.k8s.io"), ALL).await.err().unwrap();
    assert_eq!(error.to_string(), "the client opened 1 of 4 streams within 30 s");
    let arrived = client.read_until(|_| false).await;
    assert_eq!(arrived[&3].reset, Some(3));
}

#[tokio::test]
async fn a_spdy_peer_that_keeps_windows_is_obeyed_and_credited() {
    let (ours, theirs) = connection();
    let want = CommandStreams { stdin: true, stdout: true, ..CommandStreams::default() };
    let server = tokio::spawn(session_over(ours, Agreed::Spdy("v4.channel.k8s.io"), want));
    let mut client = SpdyClient::new(theirs);
    client.send(Frame::Settings { initial_window: Some(1000) }).await;
    for kind in ["error", "stdin", "stdout"] {
        client.open(&[("streamtype", kind)]).await;
    }
    client.data(3, &[0; 40_000], true).await;
    let mut session = server.await.unwrap().unwrap();
    let mut stdout = session.stdout.take().unwrap();
    let writer = tokio::spawn(async move {
        stdout.write_all(&[1; 1500]).await.unwrap();
        stdout
    });
    let arrived =
        client.read_until(|arrived| arrived.get(&5).is_some_and(|out| out.data.len() >= 1000)).await;
    assert_eq!(arrived[&5].data.len(), 1000);
    session.stdin.take().unwrap().read_to_end(&mut Vec::new()).await.unwrap();
    let mut credited = 0;
    while credited < 32 * 1024 {
        if let Some(Frame::WindowUpdate { stream: 3, delta }) = client.frame().await {
            credited += delta;
        }
    }
    assert!(!writer.is_finished());
    client.send(Frame::WindowUpdate { stream: 5, delta: 10_000 }).await;
    let arrived = client.read_until(|arrived| arrived.get(&5).is_some_and(|out| out.data.len() >= 500)).await;
    assert_eq!(arrived[&5].data.len(), 500);
    drop(writer.await.unwrap());
}

#[test]
fn a_request_for_no_stream_at_all_is_refused() {
    let answer = accept_command(&mut Request::new(()), CommandStreams::default()).err().unwrap();
    assert_eq!(answer.status(), 400);
}
