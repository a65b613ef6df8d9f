//! The table of Services against the real kernel, with pods in network namespaces that each test makes. Needs root.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use cluster::{
    CLIENT_IP, Cluster, NODE_IP, PATIENCE, VIP, named, namespace::Namespace, ranges, service, slice,
};
use skiff_proxy::{
    kernel::{inspect, teardown},
    model::{NodePort, Protocol, TargetPort},
    objects::HostPort,
};

/// Serves every connection with the client's address and this name, then echoes, until the process ends.
fn serve(place: &Namespace, port: u16, name: &'static str) {
    let listener = place.run(|| TcpListener::bind(("0.0.0.0", port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            if stream.write_all(format!("{name} {peer}\n").as_bytes()).is_ok() {
                std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        }
    });
}

fn connect(from: &Namespace, to: impl Into<IpAddr>, port: u16) -> std::io::Result<(TcpStream, String)> {
    let to = SocketAddr::new(to.into(), port);
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        Ok((stream, String::from_utf8_lossy(&line).into_owned()))
    })
}

/// The answering server and the address under which it saw the client.
fn ask(from: &Namespace, to: impl Into<IpAddr>, port: u16) -> (String, IpAddr) {
    let (_, line) = connect(from, to, port).unwrap();
    let (name, peer) = line.split_once(' ').unwrap();
    (name.into(), peer.parse().unwrap())
}

fn refused(from: &Namespace, to: impl Into<IpAddr>, port: u16) {
    assert_eq!(connect(from, to, port).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_cluster_ip_leads_to_every_endpoint_from_pods_and_node() {
    let mut cluster = Cluster::new(4);
    serve(cluster.pod(1), 8080, "one");
    serve(cluster.pod(2), 8080, "two");
    serve(cluster.pod(3), 9090, "three");
    cluster.set("web", service(VIP, Protocol::Tcp, 80), &[(1, 8080), (2, 8080), (3, 9090)]);
    let gateway = IpAddr::V4(ranges().gateway());
    for (place, seen_as) in [(cluster.pod(0), cluster.pod_ip(0)), (&cluster.node, gateway)] {
        let mut answers = BTreeMap::<String, u32>::new();
        for _ in 0..60 {
            let (name, peer) = ask(place, VIP, 80);
            assert_eq!(peer, seen_as, "the source address is kept");
            *answers.entry(name).or_default() += 1;
        }
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["one", "three", "two"]);
        assert!(answers.values().all(|count| *count > 5), "{answers:?}");
    }
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let mut cluster = Cluster::new(1);
    serve(cluster.pod(0), 8080, "self");
    cluster.set("web", service(VIP, Protocol::Tcp, 80), &[(0, 8080)]);
    let (_, peer) = ask(cluster.pod(0), VIP, 80);
    assert_eq!(peer, IpAddr::V4(ranges().gateway()));
}

#[test]
fn what_is_not_served_is_refused_at_once() {
    let mut cluster = Cluster::new(2);
    serve(cluster.pod(1), 8080, "one");
    let empty = Ipv4Addr::new(10, 96, 9, 9);
    cluster.set("web", service(VIP, Protocol::Tcp, 80), &[(1, 8080)]);
    cluster.set("empty", service(empty, Protocol::Tcp, 80), &[]);
    for place in [cluster.pod(0), &cluster.node] {
        for (address, port) in [(VIP, 81), (empty, 80)] {
            (0..20).for_each(|_| refused(place, address, port));
        }
        assert_eq!(place.syn_retransmissions(), 0, "each first packet is answered");
        let udp = place.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        udp.connect((VIP, 80)).unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        // On the node itself the kernel may tell the sender at once that the packet went nowhere.
        let sent = udp.send(b"x").map(drop).map_err(|error| error.kind());
        assert!(matches!(sent, Ok(()) | Err(ErrorKind::PermissionDenied)));
        assert_eq!(udp.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let unallocated = place.run(|| {
            let address = SocketAddr::from((Ipv4Addr::new(10, 97, 1, 1), 80));
            TcpStream::connect_timeout(&address, Duration::from_millis(300)).unwrap_err()
        });
        assert_eq!(unallocated.kind(), ErrorKind::TimedOut, "an address that nobody has is ignored");
        let ping = place.run(|| {
            std::process::Command::new("ping").args(["-c1", "-W2", &VIP.to_string()]).output().unwrap()
        });
        assert!(!ping.status.success());
        let text = String::from_utf8_lossy(&ping.stdout);
        assert!(text.contains("Destination Port Unreachable"), "{text}");
    }
}

#[test]
fn endpoints_come_and_go_and_connections_stay() {
    let mut cluster = Cluster::new(3);
    serve(cluster.pod(1), 8080, "one");
    serve(cluster.pod(2), 8080, "two");
    let web = || service(VIP, Protocol::Tcp, 80);
    cluster.set("web", web(), &[(1, 8080)]);
    let (mut kept, line) = connect(cluster.pod(0), VIP, 80).unwrap();
    assert!(line.starts_with("one "));
    assert_eq!(cluster.set("web", web(), &[(1, 8080)]), 0, "nothing to do is nothing done");
    assert_eq!(
        cluster.set("web", web(), &[(2, 8080)]),
        2,
        "one endpoint for another is one element for another"
    );
    assert_eq!(ask(cluster.pod(0), VIP, 80).0, "two");
    let mut echo = [0; 5];
    kept.write_all(b"still").unwrap();
    kept.read_exact(&mut echo).unwrap();
    cluster.set("web", web(), &[]);
    refused(cluster.pod(0), VIP, 80);
    cluster.set("web", web(), &[(1, 8080), (2, 8080)]);
    ask(cluster.pod(0), VIP, 80);
    cluster.remove("web");
    assert!(connect(cluster.pod(0), VIP, 80).is_err());
}

#[test]
fn a_restart_changes_nothing_that_is_right_and_repairs_the_rest() {
    let mut cluster = Cluster::new(3);
    serve(cluster.pod(1), 8080, "one");
    serve(cluster.pod(2), 8080, "two");
    let other = Ipv4Addr::new(10, 96, 8, 8);
    cluster.set("web", service(VIP, Protocol::Tcp, 80), &[(1, 8080), (2, 8080)]);
    cluster.set("gone", service(other, Protocol::Tcp, 80), &[(1, 8080)]);
    let (mut kept, _) = connect(cluster.pod(0), VIP, 80).unwrap();
    let table = |cluster: &Cluster| cluster.node.run(|| inspect().unwrap());
    let before = table(&cluster);
    assert_eq!(before.len(), 2 + 2 + 3);
    cluster.restart_proxy();
    assert_eq!(table(&cluster), before);
    cluster.services.remove(&named("gone"));
    let web = &mut cluster.services.get_mut(&named("web")).unwrap().1;
    web[0].endpoints.pop();
    cluster.restart_proxy();
    for _ in 0..10 {
        assert_eq!(ask(cluster.pod(0), VIP, 80).0, "one");
    }
    assert!(connect(cluster.pod(0), other, 80).is_err());
    let mut echo = [0; 5];
    kept.write_all(b"still").unwrap();
    kept.read_exact(&mut echo).unwrap();
    cluster.node.run(|| teardown().unwrap());
    cluster.node.run(|| teardown().unwrap());
    assert!(table(&cluster).is_empty());
}

#[test]
fn node_ports_are_open_to_the_outside() {
    let mut cluster = Cluster::new(2);
    serve(cluster.pod(1), 8080, "one");
    let mut web = service(VIP, Protocol::Tcp, 80);
    web.ports[0].node_port = NodePort::of(30080);
    cluster.set("web", web.clone(), &[(1, 8080)]);
    let gateway = IpAddr::V4(ranges().gateway());
    for place in [&cluster.outside, &cluster.node, cluster.pod(0), cluster.pod(1)] {
        assert_eq!(ask(place, NODE_IP, 30080), ("one".into(), gateway));
    }
    web.external_local = true;
    cluster.set("web", web.clone(), &[(1, 8080)]);
    assert_eq!(
        ask(&cluster.outside, NODE_IP, 30080).1,
        IpAddr::V4(CLIENT_IP),
        "the policy Local keeps the source"
    );
    assert_eq!(ask(cluster.pod(0), NODE_IP, 30080).0, "one");
    // No endpoint here, but one elsewhere: ignored from outside, served from inside.
    let remote = cluster.services.get_mut(&named("web")).unwrap();
    remote.1[0].endpoints[0].local = false;
    cluster.apply(&[named("web")], false);
    assert_eq!(connect(&cluster.outside, NODE_IP, 30080).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ask(cluster.pod(0), NODE_IP, 30080).0, "one");
    cluster.set("web", web, &[]);
    refused(&cluster.outside, NODE_IP, 30080);
}

#[test]
fn a_load_balancers_address_is_for_those_who_are_allowed() {
    const BALANCER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
    let mut cluster = Cluster::new(2);
    serve(cluster.pod(1), 8080, "one");
    cluster.outside.ip(&format!("route add {BALANCER}/32 via {NODE_IP}"));
    let mut web = service(VIP, Protocol::Tcp, 80);
    web.ports[0].node_port = NodePort::of(30080);
    web.balancer_ips = vec![BALANCER];
    let mut allow = |cluster: &mut Cluster, ranges: &[&str]| {
        web.allowed = Some(ranges.iter().map(|range| range.parse().unwrap()).collect());
        cluster.set("web", web.clone(), &[(1, 8080)]);
    };
    allow(&mut cluster, &["198.51.100.0/24", "192.0.2.2/31"]);
    assert_eq!(ask(&cluster.outside, BALANCER, 80).0, "one");
    assert_eq!(connect(cluster.pod(0), BALANCER, 80).unwrap_err().kind(), ErrorKind::TimedOut);
    allow(&mut cluster, &["10.244.0.0/16"]);
    assert_eq!(connect(&cluster.outside, BALANCER, 80).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ask(cluster.pod(0), BALANCER, 80).0, "one");
    // The Service's other addresses are for everybody.
    assert_eq!(ask(&cluster.outside, NODE_IP, 30080).0, "one");
    assert_eq!(ask(cluster.pod(0), VIP, 80).0, "one");
    assert_eq!(cluster.restart_proxy(), 0, "what the kernel tells of it is what was put there");
    allow(&mut cluster, &["0.0.0.0/0"]);
    assert_eq!(ask(&cluster.outside, BALANCER, 80).0, "one");
    allow(&mut cluster, &[]);
    assert_eq!(connect(cluster.pod(0), BALANCER, 80).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn ports_of_the_node_lead_to_a_pod_that_sees_its_clients() {
    let mut cluster = Cluster::new(2);
    serve(cluster.pod(1), 8080, "one");
    let port = |address, protocol| HostPort {
        address,
        port: NodePort::of(8081).unwrap(),
        protocol,
        target: TargetPort::of(8080).unwrap(),
    };
    let open = port(None, Protocol::Tcp);
    cluster.set_host_ports(1, std::slice::from_ref(&open));
    let (node, own) = (IpAddr::V4(NODE_IP), IpAddr::V4(ranges().gateway()));
    for (place, seen_as) in [
        (&cluster.outside, IpAddr::V4(CLIENT_IP)),
        (&cluster.node, node),
        (cluster.pod(0), cluster.pod_ip(0)),
        (cluster.pod(1), own),
    ] {
        assert_eq!(ask(place, NODE_IP, 8081), ("one".into(), seen_as));
    }
    let (mut kept, _) = connect(&cluster.outside, NODE_IP, 8081).unwrap();
    assert_eq!(cluster.restart_proxy(), 0, "what the kernel has is taken over");
    // Another pod that wants the port gets it when it is free.
    serve(cluster.pod(0), 8080, "zero");
    assert_eq!(cluster.set_host_ports(0, std::slice::from_ref(&open)), 0);
    assert_eq!(ask(&cluster.outside, NODE_IP, 8081).0, "one");
    cluster.set_host_ports(1, &[]);
    assert_eq!(ask(&cluster.outside, NODE_IP, 8081).0, "zero");
    let mut echo = [0; 5];
    kept.write_all(b"still").unwrap();
    kept.read_exact(&mut echo).unwrap();
    // At one address only, which is not the node's.
    let elsewhere = Ipv4Addr::new(192, 0, 2, 77);
    cluster.set_host_ports(0, &[port(Some(elsewhere), Protocol::Tcp)]);
    refused(&cluster.outside, NODE_IP, 8081);
    cluster.node.ip("address add 192.0.2.77/32 dev lo");
    assert_eq!(ask(cluster.pod(1), elsewhere, 8081).0, "zero");
}

#[test]
fn ports_of_the_node_at_its_loopback_addresses_lead_to_a_pod() {
    let mut cluster = Cluster::new(1);
    serve(cluster.pod(0), 8080, "pod");
    let port = |address| HostPort {
        address,
        port: NodePort::of(8081).unwrap(),
        protocol: Protocol::Tcp,
        target: TargetPort::of(8080).unwrap(),
    };
    cluster.set_host_ports(0, &[port(None)]);
    let seen_as = IpAddr::V4(ranges().gateway());
    assert_eq!(ask(&cluster.node, Ipv4Addr::LOCALHOST, 8081), ("pod".into(), seen_as));
    let other = Ipv4Addr::new(127, 0, 0, 9);
    cluster.set_host_ports(0, &[port(Some(other))]);
    assert_eq!(ask(&cluster.node, other, 8081), ("pod".into(), seen_as));
    refused(&cluster.node, Ipv4Addr::LOCALHOST, 8081);
    refused(&cluster.outside, NODE_IP, 8081);
}

#[test]
fn pods_do_not_reach_loopback_addresses_of_the_node() {
    let mut cluster = Cluster::new(1);
    serve(cluster.pod(0), 8080, "pod");
    serve(&cluster.node, 9000, "node");
    let port = HostPort {
        address: None,
        port: NodePort::of(8081).unwrap(),
        protocol: Protocol::Tcp,
        target: TargetPort::of(8080).unwrap(),
    };
    cluster.set_host_ports(0, &[port]);
    // A pod that sends what its kernel would keep to itself.
    let pod = cluster.pod(0);
    pod.run(|| std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap());
    for local in ["127.0.0.1", "127.0.0.0/8"] {
        pod.ip(&format!("route delete local {local} table local"));
    }
    pod.ip(&format!("route add 127.0.0.0/8 via {} dev eth0 onlink", ranges().gateway()));
    for port in [9000, 8081] {
        let outcome = connect(pod, Ipv4Addr::LOCALHOST, port).unwrap_err().kind();
        assert_eq!(outcome, ErrorKind::TimedOut, "{port}");
    }
    pod.ip("address add 127.0.0.2/32 dev eth0");
    let forged = pod.run(|| UdpSocket::bind("127.0.0.2:0").unwrap());
    let node = cluster.node.run(|| UdpSocket::bind((NODE_IP, 9001)).unwrap());
    node.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    forged.send_to(b"x", (NODE_IP, 9001)).unwrap();
    assert!(node.recv(&mut [0; 8]).is_err(), "a pod is not at a loopback address");
}

#[test]
fn udp_clients_of_a_port_of_the_node_follow_the_pod_that_has_it() {
    let mut cluster = Cluster::new(2);
    for (pod, name) in [(0, "zero"), (1, "one")] {
        let socket = cluster.pod(pod).run(|| UdpSocket::bind("0.0.0.0:5353").unwrap());
        std::thread::spawn(move || {
            while let Ok((_, client)) = socket.recv_from(&mut [0; 8]) {
                socket.send_to(name.as_bytes(), client).unwrap();
            }
        });
    }
    let port = HostPort {
        address: None,
        port: NodePort::of(53).unwrap(),
        protocol: Protocol::Udp,
        target: TargetPort::of(5353).unwrap(),
    };
    let client = cluster.outside.run(|| UdpSocket::bind((CLIENT_IP, 0)).unwrap());
    client.connect((NODE_IP, 53)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = || {
        client.send(b"who").unwrap();
        let mut answer = [0; 8];
        let length = client.recv(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    cluster.set_host_ports(0, std::slice::from_ref(&port));
    assert_eq!(ask(), "zero");
    cluster.set_host_ports(0, &[]);
    cluster.set_host_ports(1, &[port]);
    assert_eq!(ask(), "one", "the same socket");
}

#[test]
fn pods_reach_the_outside_as_the_node_and_their_addresses_never_leave() {
    let cluster = Cluster::new(1);
    serve(&cluster.outside, 80, "outside");
    assert_eq!(ask(cluster.pod(0), CLIENT_IP, 80), ("outside".into(), IpAddr::V4(NODE_IP)));
    // Even if our routes are gone, nothing may follow the default route.
    cluster.node.ip("route del 10.96.0.0/12");
    cluster.node.ip("route del unreachable 10.244.0.0/16");
    cluster.outside.ip("route add default via 192.0.2.1");
    cluster.outside.ip("address add 10.244.99.9/32 dev lo");
    cluster.outside.ip("address add 10.96.99.9/32 dev lo");
    cluster.outside.ip("link set lo up");
    for place in [&cluster.node, cluster.pod(0)] {
        for address in ["10.244.99.9:80", "10.96.99.9:80"] {
            let result = place
                .run(|| TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_millis(300)));
            assert!(result.is_err(), "{address}");
        }
    }
}

#[test]
fn clients_stay_with_their_endpoint_for_as_long_as_it_serves() {
    let mut cluster = Cluster::new(5);
    for (pod, name) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        serve(cluster.pod(pod), 8080, name);
    }
    let mut web = service(VIP, Protocol::Tcp, 80);
    web.sticky = Some(600);
    web.ports[0].node_port = NodePort::of(30080);
    let all = [(1, 8080), (2, 8080), (3, 8080), (4, 8080)];
    cluster.set("web", web.clone(), &all);
    let first = ask(cluster.pod(0), VIP, 80).0;
    for _ in 0..20 {
        assert_eq!(ask(cluster.pod(0), VIP, 80).0, first);
        assert_eq!(ask(cluster.pod(0), NODE_IP, 30080).0, first, "ClusterIP and node port share the memory");
    }
    let position = ["one", "two", "three", "four"].iter().position(|name| *name == first).unwrap();
    let others: Vec<_> = all.iter().copied().filter(|(pod, _)| *pod != position + 1).collect();
    cluster.set("web", web.clone(), &others);
    let second = ask(cluster.pod(0), VIP, 80).0;
    assert_ne!(second, first);
    cluster.set("web", web.clone(), &all);
    for _ in 0..20 {
        assert_eq!(ask(cluster.pod(0), VIP, 80).0, second);
    }
    web.sticky = None;
    cluster.set("web", web, &all);
    let names: BTreeSet<_> = (0..60).map(|_| ask(cluster.pod(0), VIP, 80).0).collect();
    assert_eq!(names.len(), 4);
}

/// Adds this many Services with five endpoints each, at once; returns the number of steps.
fn load(cluster: &mut Cluster, services: u32) -> usize {
    let target = u32::from(cluster.pods[1].1);
    let spread = |number: u32| (0..5).map(move |n| (Ipv4Addr::from(target + n * 3 + number % 3), 8080));
    let mut names = Vec::new();
    for number in 0..services {
        let name = named(&format!("service-{number}"));
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 97, 0, 0)) + number);
        let service = service(address, Protocol::Tcp, 80);
        let slices = slice(&name, &service, spread(number));
        cluster.services.insert(name.clone(), (service, slices));
        names.push(name);
    }
    cluster.apply(&names, true)
}

#[test]
fn a_change_is_as_many_steps_with_ten_thousand_services_as_with_one() {
    let mut cluster = Cluster::new(2);
    serve(cluster.pod(1), 8080, "one");
    let change = |cluster: &mut Cluster| {
        let mut set = |endpoints| cluster.set("web", service(VIP, Protocol::Tcp, 80), endpoints);
        [&[(0, 8080)][..], &[(1, 8080), (0, 8080)], &[], &[(1, 8080)]].map(&mut set)
    };
    // Each but the first: an endpoint for another; a longer list; a refusal for a list; a list for a refusal.
    let alone = change(&mut cluster);
    assert_eq!(change(&mut cluster), [2, 3, 4, 3]);
    assert_eq!(alone[1..], [3, 4, 3]);
    // Each has an address, the way to a list, and five in the list.
    assert_eq!(load(&mut cluster, 10_000), 70_000);
    assert_eq!(change(&mut cluster), [2, 3, 4, 3]);
    assert_eq!(cluster.restart_proxy(), 0, "what the kernel has is taken over");
    assert_eq!(change(&mut cluster), [2, 3, 4, 3]);
    assert_eq!(ask(cluster.pod(0), VIP, 80).0, "one");
}

/// Prints what a change costs with few and with many Services, in one run: with chains made and removed by it, and
/// without.
#[test]
#[ignore = "a measurement"]
fn what_a_change_costs() {
    let median = |cluster: &mut Cluster, variants: [&[(usize, u16)]; 2]| {
        let mut times: Vec<Duration> = (0..100)
            .map(|round| {
                let begin = Instant::now();
                cluster.set("web", service(VIP, Protocol::Tcp, 80), variants[round % 2]);
                begin.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[50]
    };
    for services in [10, 10_000] {
        let mut cluster = Cluster::new(3);
        load(&mut cluster, services);
        let same_chain = median(&mut cluster, [&[(1, 8080)], &[(2, 8080)]]);
        let other_chain = median(&mut cluster, [&[(1, 8080)], &[(1, 8080), (0, 8080)]]);
        println!("{services} Services: same chain {same_chain:?}, other chain {other_chain:?}");
    }
}
