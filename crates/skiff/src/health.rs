//! The parts' own words on how they are, as health checks of the server.

use anyhow::bail;
use skiff_apiserver::{Checks, Concern};
use skiff_informer::Vitals;
use skiff_proxy::Health;
use skiff_store::{Condition, Embedded};
use tokio::sync::watch;

use crate::parts::Parts;

/// The store's condition as health checks, and the end of the server when it cannot be put right.
pub(crate) fn watch_store(parts: &mut Parts, store: &Embedded, checks: &Checks) {
    let (condition, space) = (store.condition(), store.condition());
    checks.add("etcd", Concern::Life, move || match &*condition.borrow() {
        Condition::Failing(reason) | Condition::Failed(reason) => {
            Err(format!("the store cannot write: {reason}"))
        }
        Condition::Good | Condition::Full => Ok(()),
    });
    checks.add("store-space", Concern::Readiness, move || match *space.borrow() {
        Condition::Full => {
            Err("the disk of the store is full: nothing new can be stored until there is room".into())
        }
        _ => Ok(()),
    });
    let (mut condition, shutdown) = (store.condition(), parts.shutdown());
    parts.run("store", async move {
        let failed = condition.wait_for(|condition| matches!(condition, Condition::Failed(_)));
        let ended = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            failed = failed => failed.map(|condition| condition.clone()),
        };
        match ended {
            Ok(Condition::Failed(reason)) => bail!("cannot write, and could not be put right: {reason}"),
            _ => bail!("closed"),
        }
    });
}

/// The Service proxy's own word on how it is doing.
pub(crate) fn check_proxy(checks: &Checks, health: watch::Receiver<Health>) {
    checks.add("proxy", Concern::Readiness, move || match &*health.borrow() {
        Health { failing: Some(reason), .. } => {
            Err(format!("the kernel does not take the Services: {reason}"))
        }
        Health { synced: false, .. } => Err("the Services have not been put into the kernel yet".to_owned()),
        _ => Ok(()),
    });
}

/// A part's loops as health checks: `alive` fails when one is stuck, `synced` until it knows what it works on.
pub(crate) fn watched(checks: &Checks, alive: &'static str, synced: &'static str) -> Vitals {
    let vitals = Vitals::default();
    let (loops, fills) = (vitals.clone(), vitals.clone());
    checks.add(alive, Concern::Life, move || loops.alive());
    checks.add(synced, Concern::Readiness, move || fills.synced());
    vitals
}
