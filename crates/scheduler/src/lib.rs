//! The scheduler: `(Pod, Nodes) → Decision` as a pure function, and the loop that writes Bindings.

use kube::Client;
use tokio_util::sync::CancellationToken;

/// Schedules pods of `default-scheduler` until `shutdown`. `client` acts as `system:kube-scheduler`.
pub async fn run(client: Client, shutdown: CancellationToken) {
    drop(client);
    shutdown.cancelled().await;
}
