//! The API server answers as kube-apiserver does.
//!
//! It is started in this process, listens on loopback, and has only those controllers beside it that are part of
//! kube-apiserver: as when the scenarios were recorded, nothing else writes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use skiff_apiserver::UserInfo;
use skiff_apiserver::testing::TestServer;
use skiff_controllers::ControllersConfig;
use skiff_informer::Vitals;
use skiff_tests::oracle::{Replay, Standing, check, recorded, replay};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Names scenarios by a regular expression: they alone are played then, and their requests and answers printed.
const CHOICE: &str = "SKIFF_ORACLE";

/// Every scenario that was recorded; which of them are known to differ is in `tests/oracle/standing.txt`.
#[test]
fn answers_are_those_of_kube_apiserver() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    if let Ok(ids) = std::env::var(CHOICE) {
        return check(&server.kubeconfig, Some(&ids));
    }
    let scenarios = recorded();
    let what = Replay { kubeconfig: &server.kubeconfig, scenarios: &scenarios, chosen: &|_| true };
    let outcomes = replay(&what);
    let standing = Standing::of(&scenarios, &outcomes);
    println!("{}", standing.table);
    let mut complaints = standing.complaints;
    complaints.extend(Standing::outdated(&scenarios, &outcomes));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// An API server with what is part of it, until it is dropped.
struct Server {
    kubeconfig: PathBuf,
    _test: TestServer,
    _directory: TempDir,
    _stop: DropGuard,
}

impl Server {
    async fn start() -> Self {
        let test = TestServer::start([192, 0, 2, 1]).await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        tokio::spawn(test.server.clone().serve(listener, shutdown.clone()));
        tokio::spawn(controllers(&test, shutdown.clone()));
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        write(&kubeconfig, &test.pki.kubeconfig(&url, "oracle"));
        Self { kubeconfig, _test: test, _directory: directory, _stop: shutdown.drop_guard() }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn controllers(test: &TestServer, shutdown: CancellationToken) -> impl Future<Output = ()> + use<> {
    let server = test.server.clone();
    let config = ControllersConfig {
        root_ca_pem: test.pki.ca_pem().to_owned(),
        pod_cidr: "10.244.0.0/16".parse().unwrap(),
        node_prefix: 24,
        apiserver: "192.0.2.1:6443".parse().unwrap(),
        kubernetes_service_ip: IpAddr::from([10, 96, 0, 1]),
        signer: None,
        tokens: None,
        bootstrap_tokens: false,
    };
    async move {
        let kinds = server.kinds();
        let client_for = |name: &str| {
            let identity = skiff_controllers::identity(name);
            server.client(UserInfo::authenticated(identity.user, identity.groups))
        };
        let run =
            skiff_controllers::run_of_api_server(client_for, config, kinds, Vitals::default(), shutdown);
        run.await.unwrap();
    }
}
