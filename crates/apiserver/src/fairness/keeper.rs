//! What the server itself does about the objects of priority and fairness: mandatory ones come back, and each FlowSchema says
//! whether its level is there. And every ten seconds it deals the seats out anew.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::json;
use skiff_identity::UserInfo;
use skiff_kinds::flowcontrol::bootstrap::{DANGLING, GROUP};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tower::Service as _;

use super::configuration::Dangling;
use crate::bootstrap;
use crate::http::client::{ApiService, Caller};
use crate::pipeline::call::timestamp;
use crate::server::Shared;

/// How often borrowing is decided (KEP-1040, "Seat borrowing").
const PERIOD: Duration = Duration::from_secs(10);

/// As Kubernetes' servers are named in managed fields.
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

/// Starts the task that does it, for as long as the server is there.
pub(crate) fn keep(server: &Arc<Shared>, changed: Arc<Notify>) {
    let (shutdown, server) = (server.shutdown.clone(), Arc::downgrade(server));
    tokio::spawn(async move { shutdown.run_until_cancelled(run(server, changed)).await });
}

async fn run(server: Weak<Shared>, changed: Arc<Notify>) {
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
        let Some(server) = server.upgrade() else { return };
        if !is_changed {
            server.priority.adjust();
        }
        if is_changed || is_due {
            is_due = !look(&server, &mut pace).await;
        }
    }
}

/// Puts right what is not as it should be; whether that worked.
async fn look(server: &Arc<Shared>, pace: &mut Pace) -> bool {
    let mut is_done = true;
    if let Err(error) = bootstrap::restore(&*server.store).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "mandatory objects are missing");
        is_done = false;
    }
    let dangling = server.flow_control.read().dangling();
    for condition in dangling {
        is_done &= pace.allows(&condition.name, Instant::now()) && tell(server, condition).await;
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
async fn tell(server: &Arc<Shared>, condition: Dangling) -> bool {
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
    let request = request.body(Full::new(Bytes::from(object.to_string())));
    let Ok(request) = request else { return true };
    let own = Caller::InProcess(Arc::new(UserInfo::api_server()));
    let answer = ApiService::new(server.clone(), own).call(request).await;
    let answer = answer.unwrap_or_else(|never| match never {});
    let code = answer.status();
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
