//! An API server for tests, over a store and certificates in a temporary directory. Behind the feature `testing`,
//! which only tests enable.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use skiff_pki::{Pki, testing::pki};
use skiff_store::{Embedded, Store};
use tempfile::TempDir;

use crate::{ApiServer, Checks, ClusterConfig, Config};

/// What the server is made of, and the server. Its directory goes with it.
pub struct TestServer {
    /// The server, which listens nowhere until it is told to.
    pub server: ApiServer,
    /// What it keeps its objects in.
    pub store: Arc<dyn Store>,
    /// Its certificates and keys.
    pub pki: Arc<Pki>,
    /// What it says of its health.
    pub checks: Checks,
    _dir: TempDir,
}

impl TestServer {
    /// Starts a server that says it is at `address`.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(address: impl Into<IpAddr>) -> Self {
        Self::with(address, crate::Limits::default(), crate::Plugins::default()).await
    }

    /// The same, with these bounds.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn with_limits(address: impl Into<IpAddr>, limits: crate::Limits) -> Self {
        Self::with(address, limits, crate::Plugins::default()).await
    }

    /// The same, with these admission plugins.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn with(address: impl Into<IpAddr>, limits: crate::Limits, plugins: crate::Plugins) -> Self {
        Self::made(address.into(), |config| (config.limits, config.plugins) = (limits, plugins)).await
    }

    /// A server that serves a version of the API through another part of the program.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn with_extension(address: impl Into<IpAddr>, extension: Arc<dyn crate::Extension>) -> Self {
        Self::made(address.into(), |config| config.extensions.push(extension)).await
    }

    /// A server that writes down requests.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn with_audit(address: impl Into<IpAddr>, audit: crate::AuditConfig) -> Self {
        Self::made(address.into(), |config| config.audit = Some(audit)).await
    }

    /// A server with others who know tokens and decide.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn with_access(
        address: impl Into<IpAddr>,
        authentication: crate::Authentication,
        authorization: crate::Authorization,
    ) -> Self {
        Self::made(address.into(), |config| {
            (config.authentication, config.authorization) = (authentication, authorization);
        })
        .await
    }

    async fn made(address: IpAddr, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let store = store(dir.path());
        let pki = pki(dir.path(), address);
        let (catalogue, cluster) = (Arc::new(skiff_kinds::builtin()), ClusterConfig::new(address));
        let checks = Checks::default();
        let mut config = Config {
            store: store.clone(),
            catalogue,
            pki: pki.clone(),
            cluster,
            checks: checks.clone(),
            limits: crate::Limits::default(),
            plugins: crate::Plugins::default(),
            authentication: crate::Authentication::default(),
            authorization: crate::Authorization::default(),
            audit: None,
            build: crate::BuildInfo::default(),
            more_metrics: String::new,
            extensions: Vec::new(),
        };
        change(&mut config);
        let server = ApiServer::start(config).await.expect("the server starts");
        Self { server, store, pki, checks, _dir: dir }
    }
}

/// An empty store below a directory.
pub(crate) fn store(dir: &Path) -> Arc<dyn Store> {
    Arc::new(
        Embedded::open(dir.join("store"), crate::terms(&skiff_kinds::builtin())).expect("an empty store"),
    )
}
