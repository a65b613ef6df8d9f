//! Puts back what other programs take from the node's side of the pod network.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::Ipv4Addr,
    time::Duration,
};

use skiff_netlink::{Heard, Notifications, Pace, Subsystem, filter};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    NetworkError, PodNetwork,
    heard::{self, is_loss},
    netlink::OUR_ROUTES,
    state::{Missing, Owner},
};

/// The time after which is looked again when the kernel did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What was missing and is there again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored(BTreeSet<Missing>);

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 5;
        f.write_str("Restored what another program had removed: ")?;
        for (number, missing) in self.0.iter().take(NAMED).enumerate() {
            write!(f, "{}{missing}", if number == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// When each owner gets back what it lost. Pure.
#[derive(Debug, Default)]
struct Plan {
    due: BTreeMap<Owner, Instant>,
    /// No more than there are owners that lost something within the last minute.
    paces: BTreeMap<Owner, Pace>,
    /// When to look again after a look that failed.
    again: Option<Instant>,
}

impl Plan {
    /// Takes in who lacks something at `now`, and returns those whose turn has come.
    fn update(&mut self, lacking: &BTreeSet<Owner>, now: Instant) -> Vec<Owner> {
        self.due.retain(|owner, _| lacking.contains(owner));
        self.paces.retain(|owner, pace| lacking.contains(owner) || !pace.is_quiet(now.into_std()));
        for owner in lacking {
            if !self.due.contains_key(owner) {
                let pause = self.paces.entry(*owner).or_default().next(now.into_std());
                self.due.insert(*owner, now + pause);
            }
        }
        let ready: Vec<Owner> =
            self.due.iter().filter(|(_, due)| **due <= now).map(|(owner, _)| *owner).collect();
        self.due.retain(|owner, _| !ready.contains(owner));
        ready
    }

    fn next(&self) -> Option<Instant> {
        self.due.values().copied().chain(self.again).min()
    }
}

impl PodNetwork {
    /// Until `shutdown`, hears of what other programs remove or change of the node's interfaces, addresses, routes and
    /// forwarding, puts it back at once and tells `report`. What is taken again and again comes back ever more slowly, each
    /// pod's things apart from others'. What happens inside the pods' namespaces is theirs. An error means that the kernel's
    /// notifications cannot be heard. Must be called in the node's network namespace.
    pub async fn keep(
        &self,
        shutdown: CancellationToken,
        report: impl Fn(Restored),
    ) -> Result<(), NetworkError> {
        let kept = self.keep_for_ever(report);
        shutdown.run_until_cancelled(kept).await.unwrap_or(Ok(()))
    }

    async fn keep_for_ever(&self, report: impl Fn(Restored)) -> Result<(), NetworkError> {
        let failed = |source: io::Error| {
            NetworkError::io("hear the kernel's notifications in", "/proc/self/ns/net")(source)
        };
        let filter = filter::routes_lost(OUR_ROUTES);
        let mut notifications =
            Notifications::open(Subsystem::Route, &heard::GROUPS, &filter).map_err(failed)?;
        let mut plan = Plan::default();
        loop {
            *self.restoring.lock() = Some(Instant::now());
            self.restore(&mut plan, &report).await;
            *self.restoring.lock() = None;
            let mut lost = false;
            while !lost {
                lost = tokio::select! {
                    heard = notifications.next(|message| {
                        lost |= is_loss(&message, self.config(), |ip| self.is_connected_at(ip));
                    }) => heard.map_err(failed)? == Heard::Overrun || lost,
                    () = self.adopted.notified() => true,
                    () = until(plan.next()) => true,
                };
            }
        }
    }

    fn is_connected_at(&self, ip: Ipv4Addr) -> bool {
        self.connected.lock().values().any(|pod| pod.ip == ip)
    }

    /// Looks at what is missing, and puts back that whose turn has come. Failures are logged, and tried again at the same
    /// pace as losses.
    async fn restore(&self, plan: &mut Plan, report: &impl Fn(Restored)) {
        // Nobody attaches or detaches meanwhile: what is missing is not just being made or removed.
        let _turn = self.turn.write().await;
        let lacking = match self.missing().await {
            Ok(lacking) => lacking,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether the pod network is whole, looking again");
                plan.again = Some(Instant::now() + AGAIN); // the kernel tells nobody when it would answer
                return;
            }
        };
        plan.again = None;
        let mut restored = BTreeSet::new();
        for owner in plan.update(&lacking.keys().copied().collect(), Instant::now()) {
            let result = match owner {
                Owner::Node => self.restore_node().await,
                Owner::Pod(ip) => self.restore_pod(ip).await,
            };
            match result {
                Ok(()) => restored.extend(lacking.get(&owner).into_iter().flatten().cloned()),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, source, ?owner, "part of the pod network is missing and cannot be restored");
                    let again = plan.paces.entry(owner).or_default().next(Instant::now().into_std());
                    plan.due.insert(owner, Instant::now() + again);
                }
            }
        }
        if !restored.is_empty() {
            report(Restored(restored));
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_has_its_own_pace() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let (node, pod) = (Owner::Node, Owner::Pod(Ipv4Addr::new(10, 244, 7, 2)));
        assert_eq!(plan.update(&[pod].into(), now), [pod], "at once");
        assert_eq!(plan.update(&[].into(), now), []);
        assert_eq!(
            plan.update(&[pod, node].into(), now),
            [node],
            "a pod that loses again waits, others do not"
        );
        assert_eq!(plan.next(), Some(now + Duration::from_millis(100)));
        assert_eq!(plan.update(&[pod].into(), now + Duration::from_millis(100)), [pod]);
        assert_eq!(plan.next(), None);
        plan.update(&[].into(), now + Duration::from_secs(120));
        assert!(plan.paces.is_empty());
    }

    #[test]
    fn a_long_list_is_cut() {
        let routes = (0..7).map(|n| Missing::Route(ipnet::Ipv4Net::from(Ipv4Addr::new(10, 0, 0, n))));
        let text = Restored(routes.collect()).to_string();
        assert!(text.ends_with("route to 10.0.0.4/32 and 2 more"), "{text}");
    }
}
