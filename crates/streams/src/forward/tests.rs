use futures::SinkExt;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::test_client::{SpdyClient, connection, drain, websocket};

async fn open<T: AsyncRead + AsyncWrite>(
    client: &mut SpdyClient<T>,
    kind: &str,
    port: &str,
    id: &str,
) -> spdy::StreamId {
    client.open(&[("streamtype", kind), ("port", port), ("requestid", id)]).await
}

/// Sends back in upper case whatever comes, until the client's end.
async fn shout(mut data: DataStream) {
    let mut text = String::new();
    data.read_to_string(&mut text).await.unwrap();
    data.write_all(text.to_uppercase().as_bytes()).await.unwrap();
    data.shutdown().await.unwrap();
}

async fn two_connections<T: AsyncRead + AsyncWrite>(
    mut client: SpdyClient<T>,
    mut session: PortForwardSession,
) {
    let server = tokio::spawn(async move {
        let first = session.next().await.unwrap();
        let second = session.next().await.unwrap();
        shout(first.data).await;
        drop((first.error, second.data));
        second.error.fail("no such port").await.unwrap();
        assert!(session.next().await.is_none());
        (first.port, second.port)
    });
    let error_a = open(&mut client, "error", "80", "0").await;
    client.data(error_a, b"", true).await;
    let error_b = open(&mut client, "error", "81", "1").await;
    client.data(error_b, b"", true).await;
    let data_a = open(&mut client, "data", "80", "0").await;
    let data_b = open(&mut client, "data", "81", "1").await;
    client.data(data_a, b"hello", true).await;
    let all_ended = |arrived: &std::collections::BTreeMap<u32, crate::test_client::Arrived>| {
        arrived.len() == 4 && arrived.values().all(|stream| stream.ended)
    };
    let arrived = client.read_until(all_ended).await;
    assert_eq!(arrived[&data_a].text(), "HELLO");
    assert_eq!(arrived[&error_a].text(), "");
    assert_eq!(arrived[&error_b].text(), "no such port");
    assert_eq!(arrived[&data_b].text(), "");
    drop(client);
    assert_eq!(server.await.unwrap(), (80, 81));
}

#[tokio::test]
async fn spdy() {
    let (ours, theirs) = connection();
    let session = session_over(ours, Protocol::Spdy).await.unwrap();
    two_connections(SpdyClient::new(theirs), session).await;
}

#[tokio::test]
async fn spdy_tunnelled_in_websocket_messages() {
    let (ours, theirs) = connection();
    let session = session_over(ours, Protocol::TunnelledSpdy).await.unwrap();
    let client = Tunnel::over(websocket(theirs).await);
    two_connections(SpdyClient::new(client), session).await;
}

#[tokio::test]
async fn old_spdy_clients_pair_by_stream_number() {
    let (ours, theirs) = connection();
    let mut session = session_over(ours, Protocol::Spdy).await.unwrap();
    let mut client = SpdyClient::new(theirs);
    client.open(&[("streamtype", "error"), ("port", "80")]).await;
    client.open(&[("streamtype", "data"), ("port", "80")]).await;
    assert_eq!(session.next().await.unwrap().port, 80);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_partner_is_given_up() {
    let (ours, theirs) = connection();
    let mut session = session_over(ours, Protocol::Spdy).await.unwrap();
    let mut client = SpdyClient::new(theirs);
    let lone = open(&mut client, "error", "80", "0").await;
    let refused = open(&mut client, "data", "0", "1").await;
    let server = tokio::spawn(async move { session.next().await.is_none() });
    let arrived = client.read_until(|arrived| arrived.len() == 2).await;
    assert!(arrived[&lone].ended);
    assert_eq!(arrived[&refused].reset, Some(3));
    drop(client);
    assert!(server.await.unwrap());
}

#[tokio::test]
async fn the_channel_protocol_announces_ports_and_carries_both_directions() {
    let (ours, theirs) = connection();
    let protocol = Protocol::Channels(ChannelProtocol::named("v4.channel.k8s.io"), vec![80, 443]);
    let client = tokio::spawn(async move {
        let mut socket = websocket(theirs).await;
        socket.send(Message::binary(&b"\x02ping"[..])).await.unwrap();
        drain(&mut socket).await.0
    });
    let mut session = session_over(ours, protocol).await.unwrap();
    let (first, mut second) = (session.next().await.unwrap(), session.next().await.unwrap());
    let mut buffer = [0; 4];
    second.data.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"ping");
    second.data.write_all(b"pong").await.unwrap();
    first.error.fail("down").await.unwrap();
    drop((session, first.data, second));
    let announced = |channel, port: u16| (channel, String::from_utf8_lossy(&port.to_le_bytes()).into_owned());
    let expected = [
        announced(0, 80),
        announced(1, 80),
        announced(2, 443),
        announced(3, 443),
        (2, "pong".into()),
        (1, "down".into()),
    ];
    assert_eq!(client.await.unwrap(), expected);
}

#[tokio::test]
async fn a_client_of_the_channel_protocol_is_told_when_all_has_ended() {
    let (ours, theirs) = connection();
    let protocol = Protocol::Channels(ChannelProtocol::named("v4.channel.k8s.io"), vec![80]);
    let client = tokio::spawn(async move {
        let mut socket = websocket(theirs).await;
        // Until the server closes: the client itself never does.
        drain(&mut socket).await.0
    });
    let mut session = session_over(ours, protocol).await.unwrap();
    assert!(!session.is_exhausted());
    let mut only = session.next().await.unwrap();
    assert!(!only.ends_apart);
    assert!(session.is_exhausted());
    only.data.write_all(b"last").await.unwrap();
    session.finish().await.unwrap();
    assert_eq!(client.await.unwrap().last(), Some(&(0, "last".to_owned())));
}

#[test]
fn ports_in_the_query() {
    let check = |query: &str, expected: Option<&[u16]>| {
        assert_eq!(ports_of_query(query).ok().as_deref(), expected, "{query}");
    };
    check("ports=80&ports=443", Some(&[80, 443]));
    check("uid=x&ports=80%2C443", Some(&[80, 443]));
    check("", None);
    check("ports=0", None);
    check("ports=http", None);
}
