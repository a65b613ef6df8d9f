//! UDP clients that keep their socket, against the real kernel. Needs root.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    time::Duration,
};

use cluster::{Cluster, NODE_IP, PATIENCE, VIP, named, namespace::Namespace, service};
use skiff_proxy::{
    model::{NodePort, Protocol},
    objects::Service,
};

const EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const NODE_PORT: u16 = 30053;

/// A Service of UDP port 53 at a ClusterIP, a node port and an external address.
fn dns() -> Service {
    let mut service = service(VIP, Protocol::Udp, 53);
    service.ports[0].node_port = NodePort::of(NODE_PORT);
    service.external_ips = vec![EXTERNAL];
    service
}

fn serve(place: &Namespace, name: &'static [u8]) {
    let socket = place.run(|| UdpSocket::bind("0.0.0.0:5353").unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            socket.send_to(name, peer).unwrap();
        }
    });
}

/// A client with one socket for all its questions.
struct Client(UdpSocket);

impl Client {
    fn new(place: &Namespace, to: impl Into<IpAddr>, port: u16) -> Self {
        let socket = place.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect((to.into(), port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn ask(&self) -> Result<String, ErrorKind> {
        // An earlier question's refusal may be told now, in place of sending.
        self.0.send(b"?").or_else(|_| self.0.send(b"?")).map_err(|error| error.kind())?;
        let mut answer = [0; 8];
        let length = self.0.recv(&mut answer).map_err(|error| error.kind())?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    fn is_served(&self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let served = self.ask().is_ok();
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        served
    }
}

/// Clients of each kind of frontend, from a pod and from outside.
fn clients(cluster: &Cluster) -> Vec<(&'static str, Client)> {
    vec![
        ("ClusterIP", Client::new(cluster.pod(0), VIP, 53)),
        ("node port", Client::new(&cluster.outside, NODE_IP, NODE_PORT)),
        ("node port, from a pod", Client::new(cluster.pod(0), NODE_IP, NODE_PORT)),
        ("external address", Client::new(&cluster.outside, EXTERNAL, 53)),
    ]
}

/// A cluster with servers `one` in pod 1 and `two` in pod 2.
fn cluster() -> Cluster {
    let cluster = Cluster::new(3);
    serve(cluster.pod(1), b"one");
    serve(cluster.pod(2), b"two");
    // The router of the world outside knows where the external address is.
    cluster.outside.ip(&format!("route add {EXTERNAL}/32 via {NODE_IP}"));
    cluster
}

fn expect(clients: &[(&str, Client)], answer: &str, when: &str) {
    for (what, client) in clients {
        assert_eq!(client.ask().as_deref(), Ok(answer), "{what}, {when}");
    }
}

#[test]
fn flows_follow_the_endpoints_that_serve() {
    let mut cluster = cluster();
    cluster.set("dns", dns(), &[(1, 5353)]);
    let clients = clients(&cluster);
    expect(&clients, "one", "first");
    cluster.set("dns", dns(), &[(2, 5353)]);
    expect(&clients, "two", "one endpoint for another");
    cluster.set("dns", dns(), &[(1, 5353), (2, 5353)]);
    expect(&clients, "two", "a flow to an endpoint that still serves stays");

    // Pod 2 begins to shut down: it gets no new flows, but serves the ones it has.
    let endpoint = |cluster: &mut Cluster, change: fn(&mut Vec<skiff_proxy::objects::SliceEndpoint>)| {
        change(&mut cluster.services.get_mut(&named("dns")).unwrap().1[0].endpoints);
        cluster.apply(&[named("dns")], false)
    };
    endpoint(&mut cluster, |endpoints| {
        (endpoints[1].ready, endpoints[1].terminating) = (false, true);
    });
    expect(&clients, "two", "the endpoint shuts down but serves");
    assert_eq!(Client::new(cluster.pod(0), VIP, 53).ask().as_deref(), Ok("one"), "new flows");
    // Now it is gone. Nothing changes in the table.
    let steps = endpoint(&mut cluster, |endpoints| drop(endpoints.pop()));
    assert_eq!(steps, 3, "flows of three frontends");
    expect(&clients, "one", "the endpoint is gone");
}

#[test]
fn flows_end_with_the_last_endpoint_and_with_the_service() {
    let mut cluster = cluster();
    cluster.set("dns", dns(), &[(1, 5353)]);
    let clients = clients(&cluster);
    expect(&clients, "one", "first");
    cluster.set("dns", dns(), &[]);
    for (what, client) in &clients {
        assert!(!client.is_served(), "{what}, no endpoints, though the pod still answers");
    }
    cluster.set("dns", dns(), &[(2, 5353)]);
    expect(&clients, "two", "endpoints again");
    cluster.remove("dns");
    for (what, client) in &clients {
        assert!(!client.is_served(), "{what}, the Service is deleted, though the pod still answers");
    }
    cluster.set("dns", dns(), &[(1, 5353)]);
    expect(&clients, "one", "the Service is back: flows that went past it are taken in");
}

#[test]
fn what_changed_while_nobody_watched_is_made_up_for() {
    let mut cluster = cluster();
    cluster.set("dns", dns(), &[(1, 5353)]);
    let clients = clients(&cluster);
    expect(&clients, "one", "first");
    // The server is away; meanwhile the Service moves to the other pod.
    let endpoints = &mut cluster.services.get_mut(&named("dns")).unwrap().1[0].endpoints;
    endpoints[0].address = cluster.pods[2].1;
    cluster.restart_proxy();
    expect(&clients, "two", "after a restart");
}

#[test]
fn other_flows_are_left_alone() {
    let mut cluster = cluster();
    let other = Ipv4Addr::new(10, 96, 8, 8);
    cluster.set("dns", dns(), &[(1, 5353)]);
    cluster.set("other", service(other, Protocol::Udp, 53), &[(1, 5353)]);
    let direct = Client::new(cluster.pod(0), cluster.pods[1].1, 5353);
    let through_other = Client::new(cluster.pod(0), other, 53);
    for client in [&direct, &through_other] {
        assert_eq!(client.ask().as_deref(), Ok("one"));
    }
    let flows = |cluster: &Cluster| {
        let port = |client: &Client| client.0.local_addr().unwrap().port();
        let text = cluster.node.run(|| std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
        text.ok().map(|text| {
            [&direct, &through_other].map(|client| text.contains(&format!("sport={} ", port(client))))
        })
    };
    let before = flows(&cluster);
    cluster.set("dns", dns(), &[(2, 5353)]);
    cluster.remove("dns");
    assert_eq!(flows(&cluster), before);
    for client in [&direct, &through_other] {
        assert_eq!(client.ask().as_deref(), Ok("one"));
    }
}
