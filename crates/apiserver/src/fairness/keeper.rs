//! What the server itself does about the objects of priority and fairness: mandatory ones come back, and each FlowSchema says
//! whether its level is there. And every ten seconds it deals the seats out anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use skiff_kinds::flowcontrol::bootstrap::{DANGLING, GROUP};
use skiff_registry::timestamp;
use skiff_store::{Store, View};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::configuration::{Configuration, Dangling};
use super::priority::Priority;
use crate::bootstrap;

/// How often borrowing is decided (KEP-1040, "Seat borrowing").
const PERIOD: Duration = Duration::from_secs(10);

/// As Kubernetes' servers are named in managed fields.
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

/// What it is done with.
pub(crate) struct Keeper {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) priority: Arc<Priority>,
    pub(crate) flow_control: Arc<View<Configuration>>,
    /// The API server as a client of itself.
    pub(crate) client: Client,
}

/// Starts the task that does it, until the shutdown.
pub(crate) fn keep(keeper: Keeper, changed: Arc<Notify>, shutdown: CancellationToken) {
    tokio::spawn(async move { shutdown.run_until_cancelled(run(keeper, changed)).await });
}

async fn run(keeper: Keeper, changed: Arc<Notify>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whether something could not be written; it is tried again with the next period.
    let mut is_due = true;
    let mut pace = Pace::default();
    loop {
        let is_changed = tokio::select! {
            () = changed.notified() => true,
            _ = period.tick() => false,
        };
        if !is_changed {
            keeper.priority.adjust();
        }
        if is_changed || is_due {
            is_due = !look(&keeper, &mut pace).await;
        }
    }
}

/// Puts right what is not as it should be; whether that worked.
async fn look(keeper: &Keeper, pace: &mut Pace) -> bool {
    let mut is_done = true;
    if let Err(error) = bootstrap::restore(&*keeper.store).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "mandatory objects are missing");
        is_done = false;
    }
    let dangling = keeper.flow_control.read().dangling();
    for condition in dangling {
        is_done &= pace.allows(&condition.name, Instant::now()) && tell(&keeper.client, condition).await;
    }
    is_done
}

/// When each FlowSchema was told: somebody who says the contrary at once gets no answer at once for ever.
#[derive(Default)]
struct Pace(HashMap<String, Vec<Instant>>);

impl Pace {
    /// Whether one may be told now: six times in a minute, as by Kubernetes' servers.
    fn allows(&mut self, name: &str, now: Instant) -> bool {
        const MOST: usize = 6;
        const TIME: Duration = Duration::from_secs(60);
        self.0.retain(|_, told| {
            told.retain(|at| now.saturating_duration_since(*at) < TIME);
            !told.is_empty()
        });
        let told = self.0.entry(name.to_owned()).or_default();
        let is_allowed = told.len() < MOST;
        if is_allowed {
            told.push(now);
        }
        is_allowed
    }
}

/// Writes a condition; whether that worked, or there is nothing to write it to any more.
async fn tell(client: &Client, condition: Dangling) -> bool {
    let Dangling { name, uid, status, reason, message } = condition;
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "FlowSchema",
        "metadata": {"name": name, "uid": uid},
        "status": {"conditions": [{
            "type": DANGLING, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": timestamp(Timestamp::now()),
        }]},
    });
    let path = format!("/apis/{GROUP}/v1/flowschemas/{name}/status?fieldManager={MANAGER}&force=true");
    let request = Request::patch(path).header(CONTENT_TYPE, "application/apply-patch+yaml");
    let Ok(request) = request.body(Body::from(object.to_string().into_bytes())) else { return true };
    let code = match client.send(request).await {
        Ok(answer) => answer.status(),
        Err(error) => {
            tracing::warn!(name, %error, "a FlowSchema cannot be told whether its level is there");
            return false;
        }
    };
    // It may be gone, or another one by now; the next change tells.
    let is_over = code.is_success() || matches!(code.as_u16(), 404 | 409);
    if !is_over {
        tracing::warn!(name, %code, "a FlowSchema cannot be told whether its level is there");
    }
    is_over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_schema_is_told_six_times_in_a_minute() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!((0..6).all(|second| pace.allows("a", at(second))));
        assert!(!pace.allows("a", at(59)) && pace.allows("b", at(59)));
        assert!(pace.allows("a", at(60)) && !pace.allows("a", at(60)));
        assert!(pace.allows("c", at(1000)));
        assert_eq!(pace.0.len(), 1, "what is old is forgotten");
    }
}
