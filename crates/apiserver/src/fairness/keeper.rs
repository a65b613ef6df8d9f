//! What the server itself does about the objects of priority and fairness: mandatory ones come back, and each FlowSchema says
//! whether its level is there. And every ten seconds it deals the seats out anew.

use std::sync::{Arc, Weak};
use std::time::Duration;

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
            is_due = !look(&server).await;
        }
    }
}

/// Puts right what is not as it should be; whether that worked.
async fn look(server: &Arc<Shared>) -> bool {
    let mut is_done = true;
    if let Err(error) = bootstrap::restore(&*server.store).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "mandatory objects are missing");
        is_done = false;
    }
    let dangling = server.flow_control.read().dangling();
    for condition in dangling {
        is_done &= tell(server, condition).await;
    }
    is_done
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
