//! One extension server: whether it can be used is kept in its APIService, and what it says of its API in the documents.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use skiff_kinds::api_service::Availability;
use skiff_machinery::{Namespace, Uid, keys};
use skiff_registry::codec;
use skiff_store::{Batch, Key, ReadError, Store, Watch};
use tokio::sync::{Notify, watch};

use super::availability::{self, Surroundings};
use super::gather::{Source, V2};
use super::registration::{Registration, Target};
use super::setting::Setting;
use crate::subresources::endpoints;

/// How soon a server that can be used is asked again whether it still can, without a sign of change: it may be gone
/// without anything in the API telling.
const AGAIN: Duration = Duration::from_secs(30);
/// How soon one that does not answer is asked again; doubles up to [`AGAIN`].
const FIRST: Duration = Duration::from_millis(100);
/// How soon descriptions are asked for again.
const DESCRIBE: Duration = Duration::from_secs(60);

/// Tells a task that its APIService says something else than it wrote.
#[derive(Default)]
pub(super) struct Nudge {
    told: Mutex<Option<Availability>>,
    changed: Notify,
}

impl Nudge {
    pub(super) fn look_at(&self, registration: &Registration) {
        let is_ours = self.told.lock().as_ref().is_some_and(|told| told.is_told_by(&registration.object));
        if !is_ours {
            self.changed.notify_one();
        }
    }
}

/// The task.
pub(super) struct Keeper {
    setting: Setting,
    registration: Arc<Registration>,
    nudge: Arc<Nudge>,
}

impl Keeper {
    pub(super) fn new(setting: Setting, registration: Arc<Registration>, nudge: Arc<Nudge>) -> Self {
        Self { setting, registration, nudge }
    }

    pub(super) async fn run(self) {
        // What another part of this program serves can always be used, and does not change.
        let Some(target) = &self.registration.target else { return };
        let (usable, is_usable) = watch::channel(false);
        tokio::join!(self.follow(target, usable), self.describe(target, is_usable));
    }

    /// Looks again and again whether the server can be used.
    async fn follow(&self, target: &Target, usable: watch::Sender<bool>) {
        let mut failures = 0;
        loop {
            let changes = Changes::watch(&*self.setting.store, target).await;
            let found = self.look(target).await;
            let answers = found.status == "True";
            failures = if found.reason == "FailedDiscoveryCheck" { failures + 1 } else { 0 };
            self.tell(found).await;
            usable.send_if_modified(|before| std::mem::replace(before, answers) != answers);
            let wait = match failures {
                0 => AGAIN,
                some => FIRST.saturating_mul(1 << (some - 1).min(16)).min(AGAIN),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.nudge.changed.notified() => {}
                () = wait_for(changes, target) => {}
            }
        }
    }

    /// Whether the server can be used. When it can, its resources are known before that is told.
    async fn look(&self, target: &Target) -> Availability {
        let found = match Surroundings::read(&*self.setting.store, target).await {
            Err(error) => availability::unknown(target, &error),
            Ok(surroundings) => match availability::obstacle(target, &surroundings) {
                Some(obstacle) => obstacle,
                None => {
                    availability::ask(&self.setting.aggregation.transport, &self.registration, target).await
                }
            },
        };
        let resources = match found.status {
            "True" => self.source(target).resources().await,
            _ => Err(found.message.clone()),
        };
        self.setting.offers.update(&self.registration.gv, |elsewhere| match resources {
            Ok(resources) => {
                elsewhere.resources = Arc::new(resources);
                elsewhere.fresh = true;
            }
            Err(why) => {
                tracing::debug!(service = self.registration.name(), why, "discovery is stale");
                elsewhere.fresh = false;
            }
        });
        found
    }

    async fn tell(&self, found: Availability) {
        let name = self.registration.name();
        *self.nudge.told.lock() = Some(found.clone());
        match self.setting.writer.tell(name, &Uid::new(self.registration.object.uid()), &found).await {
            Ok(true) => self.setting.aggregation.metrics.told(name, &found),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(service = name, %error, "cannot tell whether an API service is available");
                // Someone else wrote it meanwhile; that comes as a change.
                *self.nudge.told.lock() = None;
            }
        }
    }

    /// Keeps the descriptions while the server can be used. What it said stays while it cannot.
    async fn describe(&self, target: &Target, mut is_usable: watch::Receiver<bool>) {
        let mut known = V2::default();
        loop {
            if is_usable.wait_for(|usable| *usable).await.is_err() {
                return;
            }
            let source = self.source(target);
            let (v3, v2) = (source.v3().await, source.v2(&mut known).await);
            self.setting.offers.update(&self.registration.gv, |elsewhere| {
                let failed = |why: &String| {
                    tracing::debug!(service = self.registration.name(), why, "no description");
                };
                if let Ok(url) = v3.inspect_err(failed) {
                    elsewhere.v3 = url;
                }
                if let Ok(guest) = v2.inspect_err(failed) {
                    elsewhere.v2 = guest;
                }
            });
            tokio::select! {
                () = tokio::time::sleep(DESCRIBE) => {}
                _ = is_usable.changed() => {}
            }
        }
    }

    fn source<'s>(&'s self, target: &'s Target) -> Source<'s> {
        let transport = &self.setting.aggregation.transport;
        Source { transport, registration: &self.registration, target }
    }
}

/// Changes of a target's Service and its endpoints.
struct Changes {
    service: Watch,
    slices: Watch,
}

impl Changes {
    async fn watch(store: &dyn Store, target: &Target) -> Result<Self, ReadError> {
        let now = store.revision();
        let service: Key = keys::core("services", Namespace::new(&target.namespace), &target.name);
        let slices = format!("{}{}/", endpoints::SLICES, target.namespace);
        Ok(Self {
            service: store.watch(service.as_str().into(), now).await?,
            slices: store.watch((&*slices).into(), now).await?,
        })
    }
}

/// Returns when there was a change; never if changes cannot be seen, for which there is [`AGAIN`].
async fn wait_for(changes: Result<Changes, ReadError>, target: &Target) {
    let Ok(mut changes) = changes else { return std::future::pending().await };
    loop {
        let concerns = tokio::select! {
            batch = changes.service.next() => batch.map(|_| true),
            batch = changes.slices.next() => batch.map(|batch| concerns(&batch, target)),
        };
        if concerns.unwrap_or(true) {
            return;
        }
    }
}

fn concerns(slices: &Batch, target: &Target) -> bool {
    let slice = |event: &skiff_store::Event| codec::decode(&event.entry);
    slices.events.iter().any(|event| slice(event).map_or(true, |slice| availability::is_of(&slice, target)))
}
