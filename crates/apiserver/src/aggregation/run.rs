//! The tasks of aggregation: one for each version that another server serves, and one for the APIServices of what this one does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::keeper::{Keeper, Nudge};
use super::local;
use super::registration::Registration;
use super::setting::Setting;

/// How soon a write that failed is made again.
const RETRY: Duration = Duration::from_secs(10);

/// Keeps a task for each version that another server serves, and APIServices for what this one serves, until the shutdown.
pub(crate) async fn run(setting: Setting, shutdown: CancellationToken) {
    let mut kept: HashMap<String, Kept> = HashMap::new();
    let work = async {
        loop {
            keep(&setting, &mut kept);
            let wait = if local::follow(&setting).await { Duration::MAX } else { RETRY };
            // Late is as good as changed.
            tokio::time::timeout(wait, setting.offers.changed()).await.ok();
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// A task and what it was started for.
struct Kept {
    registration: Arc<Registration>,
    nudge: Arc<Nudge>,
    _task: DropGuard,
}

/// Starts the tasks that are missing, ends those whose APIService is gone or leads elsewhere now, and tells the others of
/// changes.
fn keep(setting: &Setting, kept: &mut HashMap<String, Kept>) {
    let present: HashMap<String, Arc<Registration>> = {
        let registrations = setting.aggregation.registrations.read();
        registrations.all_elsewhere().map(|one| (one.name().to_owned(), one.clone())).collect()
    };
    kept.retain(|name, task| {
        let stays = present.get(name).is_some_and(|now| now.leads_where(&task.registration));
        if !stays {
            setting.offers.forget(&task.registration.gv);
        }
        stays
    });
    for (name, registration) in present {
        match kept.get_mut(&name) {
            Some(task) => {
                if !Arc::ptr_eq(&task.registration, &registration) {
                    task.nudge.look_at(&registration);
                    task.registration = registration;
                }
            }
            None => {
                let ended = CancellationToken::new();
                let nudge = Arc::<Nudge>::default();
                let task = Keeper::new(setting.clone(), registration.clone(), nudge.clone());
                let stop = ended.clone();
                tokio::spawn(async move { stop.run_until_cancelled(task.run()).await });
                kept.insert(name, Kept { registration, nudge, _task: ended.drop_guard() });
            }
        }
    }
}
