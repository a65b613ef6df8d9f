//! Answers at each `healthCheckNodePort`: whether connections from outside to a Service with `externalTrafficPolicy: Local`
//! find an endpoint on this node. Load balancers ask, and leave out nodes that say no.
//!
//! The answers are kube-proxy's (`pkg/proxy/healthcheck`), word for word.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::model::{NodePort, ServiceName};
use crate::run::Health;

/// Connections to one port at once; load balancers ask every few seconds.
const CONNECTIONS: usize = 32;
/// How long one connection may last, its request and answer included.
const LONGEST: Duration = Duration::from_secs(5);
/// The pause after the kernel gave no connection although there was one: it is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// What is to be answered for a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Where.
    pub port: NodePort,
    /// Ready endpoints on this node.
    pub local: usize,
}

/// The ports at which answers are given.
pub(crate) struct HealthChecks {
    node_ips: Vec<Ipv4Addr>,
    health: watch::Receiver<Health>,
    served: HashMap<ServiceName, Served>,
}

struct Served {
    port: NodePort,
    local: watch::Sender<usize>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl HealthChecks {
    pub(crate) fn new(node_ips: Vec<Ipv4Addr>, health: watch::Receiver<Health>) -> Self {
        Self { node_ips, health, served: HashMap::new() }
    }

    /// The Services for which answers are given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.served.keys()
    }

    /// Has `wanted` answered for a Service, or nothing. An error is that of a port at which nobody can listen.
    pub(crate) fn set(&mut self, name: &ServiceName, wanted: Option<Check>) -> io::Result<()> {
        let Some(Check { port, local }) = wanted else {
            self.served.remove(name);
            return Ok(());
        };
        match self.served.get(name) {
            Some(served) if served.port == port => {
                served.local.send_replace(local);
                return Ok(());
            }
            _ => drop(self.served.remove(name)),
        }
        let listeners: Vec<TcpListener> = self
            .node_ips
            .iter()
            .map(|ip| listen(SocketAddr::from((*ip, port.number()))))
            .collect::<io::Result<_>>()?;
        let (sender, receiver) = watch::channel(local);
        let tasks = listeners.into_iter().map(|listener| {
            let answers =
                Answers { name: name.clone(), local: receiver.clone(), health: self.health.clone() };
            tokio::spawn(serve(listener, Arc::new(answers))).abort_handle()
        });
        self.served.insert(name.clone(), Served { port, local: sender, tasks: tasks.collect() });
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// What is known of one Service.
struct Answers {
    name: ServiceName,
    local: watch::Receiver<usize>,
    health: watch::Receiver<Health>,
}

async fn serve(listener: TcpListener, answers: Arc<Answers>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _client)) => {
                let answers = answers.clone();
                tokio::spawn(async move {
                    converse(stream, &answers).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(of = %answers.name, %error, "no connection to a health check port");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, answers: &Answers) {
    let service = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(answers.now()) });
    let mut http = hyper::server::conn::http1::Builder::new();
    let connection = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
    match timeout(LONGEST, connection).await {
        Ok(Err(error)) => tracing::debug!(of = %answers.name, %error, "health check connection ended"),
        Err(_) => tracing::debug!(of = %answers.name, "health check connection took too long"),
        Ok(Ok(())) => {}
    }
}

impl Answers {
    fn now(&self) -> Response<Full<Bytes>> {
        let local = *self.local.borrow();
        let healthy = {
            let health = self.health.borrow();
            health.synced && health.failing.is_none()
        };
        let ServiceName { namespace, name } = &self.name;
        let body = format!(
            "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \"{name}\"\n\t}},\n\
             \t\"localEndpoints\": {local},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
        );
        let mut response = Response::new(Full::new(Bytes::from(body)));
        if local == 0 || !healthy {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert("x-load-balancing-endpoint-weight", HeaderValue::from(local));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// The status line and the body, or nothing where nobody listens.
    async fn ask(port: NodePort) -> Option<(String, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).await.ok()?;
        stream.write_all(b"GET /any HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.lines().next()?.to_owned(), body.to_owned()))
    }

    #[tokio::test]
    async fn load_balancers_are_told_of_local_endpoints() {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = NodePort::of(free.local_addr().unwrap().port()).unwrap();
        drop(free);
        let (health, receiver) = watch::channel(Health { synced: true, ..Health::default() });
        let mut checks = HealthChecks::new(vec![Ipv4Addr::LOCALHOST], receiver);
        let name = ServiceName { namespace: "ns".into(), name: "web".into() };
        checks.set(&name, Some(Check { port, local: 2 })).unwrap();
        let (status, body) = ask(port).await.unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK");
        let expected = "{\n\t\"service\": {\n\t\t\"namespace\": \"ns\",\n\t\t\"name\": \"web\"\n\t},\n\
                        \t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}";
        assert_eq!(body, expected);
        checks.set(&name, Some(Check { port, local: 0 })).unwrap();
        assert_eq!(ask(port).await.unwrap().0, "HTTP/1.1 503 Service Unavailable");
        checks.set(&name, Some(Check { port, local: 1 })).unwrap();
        health.send_modify(|health| health.failing = Some("no".into()));
        assert_eq!(ask(port).await.unwrap().0, "HTTP/1.1 503 Service Unavailable");
        let other = ServiceName { namespace: "ns".into(), name: "other".into() };
        checks.set(&other, Some(Check { port, local: 1 })).unwrap_err();
        checks.set(&name, None).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(ask(port).await, None);
    }
}
