//! Connections as pods and the node make them, tried for real. What does not work is explained by the kernel's own trace.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use skiff_podnet::{NodeNetwork, PodNetwork, TrialPod};
use skiff_proxy::kernel::{Flow, Trace};
use skiff_proxy::model::Protocol;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::firewall::{self, Diagnosis, Ranges, Source};

/// How long a connection may take. It stays on the machine, so it takes microseconds or is lost.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long a way that did not work is tried again before it is traced.
const SOON: Duration = Duration::from_millis(200);
/// After how long without an answer a question is asked again, within the same patience.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long lost packets of one connection are looked for.
const TRACING: Duration = Duration::from_millis(1500);

const NO_ANSWER: &str = "no answer";

/// `kubernetes.default.svc.cluster.local. IN A`, number 0x5346, recursion desired.
const QUESTION: &[u8] = b"\x53\x46\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";

/// A connection that every cluster needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    name: &'static str,
    from: Source,
    to: SocketAddrV4,
    by: Means,
}

/// How a way is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// By a TCP connection.
    Tcp,
    /// By a question over UDP that the cluster's DNS must answer.
    Dns,
}

impl Means {
    fn protocol(self) -> Protocol {
        match self {
            Self::Tcp => Protocol::Tcp,
            Self::Dns => Protocol::Udp,
        }
    }
}

/// Ways to the API server's ClusterIP.
pub(crate) fn to_api(service: Ipv4Addr) -> Vec<Way> {
    let to = SocketAddrV4::new(service, 443);
    let way = |name, from| Way { name, from, to, by: Means::Tcp };
    vec![way("pod → API", Source::Pod), way("node → API", Source::Node)]
}

/// Ways to the DNS, by its ClusterIP and to the pod itself.
pub(crate) fn to_dns(service: Ipv4Addr, pod: Ipv4Addr) -> Vec<Way> {
    let way = |name, from, address, by| Way { name, from, to: SocketAddrV4::new(address, 53), by };
    vec![
        way("pod → pod", Source::Pod, pod, Means::Tcp),
        way("node → pod", Source::Node, pod, Means::Tcp),
        way("pod → DNS", Source::Pod, service, Means::Dns),
        way("node → DNS", Source::Node, service, Means::Dns),
    ]
}

/// A way that is not open.
#[derive(Debug)]
pub(crate) struct Cut {
    way: Way,
    error: io::Error,
    /// What the kernel says about it.
    diagnosis: Option<Diagnosis>,
}

impl Cut {
    /// Whether it will stay so until somebody does something about it, and it is known what.
    pub(crate) fn has_remedy(&self) -> bool {
        self.diagnosis.as_ref().is_some_and(|diagnosis| !diagnosis.remedy.is_empty())
    }
}

/// A line for each reason, with all that it cuts off.
pub(crate) fn lines(cut: &[Cut]) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for Cut { way, error, diagnosis } in cut {
        let reason = diagnosis.as_ref().map_or_else(|| error.to_string(), ToString::to_string);
        let way = format!("{} ({})", way.name, way.to);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ways)) => ways.push(way),
            None => reasons.push((reason, vec![way])),
        }
    }
    reasons.into_iter().map(|(reason, ways)| format!("{}: {reason}", ways.join(", "))).collect()
}

/// Tries connections, from the node and from a pod without a workload.
#[derive(Debug)]
pub(crate) struct Prober {
    network: PodNetwork,
    pod: TrialPod,
    ranges: Ranges,
    /// Held by who traces: the kernel tells every listener of every traced packet.
    tracing: Arc<Mutex<()>>,
    _only_one: File,
}

impl Prober {
    /// Connects the pod. While another process does the same, waits for that.
    pub(crate) async fn new(config: NodeNetwork, run_dir: &Path) -> anyhow::Result<Self> {
        let path = run_dir.join("trial-pod.lock");
        let lock = move || -> anyhow::Result<File> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let file = file.with_context(|| format!("open {}", path.display()))?;
            flock(&file, FlockOperation::LockExclusive).context("wait for the trial pod")?;
            Ok(file)
        };
        let only_one = spawn_blocking(lock).await??;
        let ranges = Ranges { pods: config.cluster_cidr, services: config.service_cidr };
        let network = PodNetwork::open(config, run_dir).await?;
        let pod = network.trial_pod().await.context("connect a pod for trial")?;
        Ok(Self { network, pod, ranges, tracing: Arc::default(), _only_one: only_one })
    }

    /// Takes the pod away. Without it the kernel does, some time after the value is gone.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        Ok(self.network.remove_trial_pod(self.pod).await?)
    }

    /// The ways that are not open, with the reason.
    pub(crate) async fn cut(&self, ways: &[Way]) -> anyhow::Result<Vec<Cut>> {
        let failing = self.failing(ways).await;
        self.look_into(failing.into_iter().map(|(way, _error)| way)).await
    }

    /// The ways that are not open.
    pub(crate) async fn failing(&self, ways: &[Way]) -> Vec<(Way, io::Error)> {
        let tried = futures::future::join_all(ways.iter().map(|way| self.attempt(*way))).await;
        ways.iter().zip(tried).filter_map(|(way, result)| Some((*way, result.err()?))).collect()
    }

    /// Why ways are not open; those that are open by now are left out.
    pub(crate) async fn look_into(&self, ways: impl IntoIterator<Item = Way>) -> anyhow::Result<Vec<Cut>> {
        let mut cut = Vec::new();
        // One after the other: a trace is of all that the pod sends.
        for way in ways {
            // A trace goes on when it has nothing to tell, and the next waits for its end.
            let is_open = timeout(SOON, self.attempt(way)).await.is_ok_and(|tried| tried.is_ok());
            if !is_open {
                cut.extend(self.trace(way).await?);
            }
        }
        Ok(cut)
    }

    /// Tries a way again while the kernel traces it. Nothing: it is open by now.
    async fn trace(&self, way: Way) -> anyhow::Result<Option<Cut>> {
        let flow = match way.from {
            Source::Pod => Flow::From(self.pod.ip()),
            Source::Node => Flow::To(way.by.protocol(), *way.to.ip(), way.to.port()),
        };
        let turn = self.tracing.clone().lock_owned().await;
        let trace = spawn_blocking(move || Trace::start(flow)).await??;
        let mut tracing = spawn_blocking(move || {
            let lost = trace.lost(TRACING);
            drop(turn); // here, because this goes on when nobody waits for it any more
            lost
        });
        let mut tried = std::pin::pin!(self.attempt(way));
        let (lost, error) = tokio::select! {
            lost = &mut tracing => match lost?? {
                Some(lost) => (Some(lost), io::Error::new(io::ErrorKind::TimedOut, NO_ANSWER)),
                None => match tried.await {
                    Ok(()) => return Ok(None),
                    Err(error) => (None, error),
                },
            },
            tried = &mut tried => match tried {
                Ok(()) => return Ok(None),
                Err(error) => (tracing.await??, error),
            },
        };
        let forwards = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?.trim() == "1";
        let explain = |lost| firewall::explain(&lost, way.from, self.ranges, forwards);
        Ok(Some(Cut { way, error, diagnosis: lost.and_then(explain) }))
    }

    async fn attempt(&self, way: Way) -> io::Result<()> {
        let tried = timeout(PATIENCE, async {
            match way.by {
                Means::Tcp => self.connect(way).await,
                Means::Dns => self.ask(way).await,
            }
        });
        tried.await.unwrap_or_else(|_late| Err(io::Error::new(io::ErrorKind::TimedOut, NO_ANSWER)))
    }

    async fn connect(&self, way: Way) -> io::Result<()> {
        let socket = self.at(way.from, || {
            Ok(socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?)
        })?;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
        socket.connect(SocketAddr::V4(way.to)).await.map(drop)
    }

    async fn ask(&self, way: Way) -> io::Result<()> {
        let socket = self.at(way.from, || {
            Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::NONBLOCK, None)?)
        })?;
        let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
        socket.connect(way.to).await?;
        let mut answer = [0; 512];
        // A question can be lost, as are those that come before the kernel knows the DNS' address.
        let length = loop {
            socket.send(QUESTION).await?;
            if let Ok(received) = timeout(ASK_AGAIN, socket.recv(&mut answer)).await {
                break received?;
            }
        };
        let fits = length > 12 && answer[..2] == QUESTION[..2];
        if fits { Ok(()) } else { Err(io::Error::other("the answer is to another question")) }
    }

    /// Makes a socket on the node's or the pod's network.
    fn at<T: Send>(&self, place: Source, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        match place {
            Source::Node => make(),
            Source::Pod => self.pod.inside(make),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_reason_is_one_line() {
        let (dns, pod) = (Ipv4Addr::new(10, 96, 0, 10), Ipv4Addr::new(10, 244, 0, 2));
        let late = || io::Error::new(io::ErrorKind::TimedOut, NO_ANSWER);
        let diagnosis =
            Some(Diagnosis { cause: "dropped".to_owned(), remedy: vec!["a".to_owned(), "b".to_owned()] });
        let ways = to_dns(dns, pod);
        let cut = [(0, diagnosis.clone()), (1, None), (2, diagnosis)];
        let cut = cut.map(|(way, diagnosis)| Cut { way: ways[way], error: late(), diagnosis });
        let expected = [
            "pod → pod (10.244.0.2:53), pod → DNS (10.96.0.10:53): dropped; to let it through: a && b",
            "node → pod (10.244.0.2:53): no answer",
        ];
        assert_eq!(lines(&cut), expected);
    }
}
