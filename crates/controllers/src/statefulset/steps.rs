//! Does what the plan says for one pod, and tells of it.

use k8s_openapi::api::apps::v1::StatefulSet;
use skiff_informer::{EventType, is_already_exists};

use super::identity::{self, Ordinal};
use super::plan::{Step, Which};
use super::retention::Holder;
use super::{Revised, StatefulSets, told};
use crate::pods::KnownPod;

/// A step that failed.
pub(super) enum Failure {
    /// The namespace is being deleted: nothing is left to do.
    NamespaceGoes,
    /// In the words of the API server.
    Told(String),
}

/// What is done to a pod, as events call it.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Create,
    Update,
    Delete,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Delete => "Delete",
        }
    }

    fn successful(self) -> &'static str {
        match self {
            Self::Create => "SuccessfulCreate",
            Self::Update => "SuccessfulUpdate",
            Self::Delete => "SuccessfulDelete",
        }
    }

    fn failed(self) -> &'static str {
        match self {
            Self::Create => "FailedCreate",
            Self::Update => "FailedUpdate",
            Self::Delete => "FailedDelete",
        }
    }
}

impl StatefulSets {
    pub(super) async fn execute_one(&self, revised: &Revised<'_>, step: &Step) -> Result<(), Failure> {
        let set = revised.set;
        match step {
            Step::Create(ordinal, which) => self.create(revised, *ordinal, *which).await,
            Step::MakeClaims(ordinal, pod) => {
                let made = self.make_claims(set, revised.spec, *ordinal).await;
                self.tell_failed(set, Verb::Update, pod.name(), made)?;
                self.keep(revised, *ordinal, pod).await
            }
            Step::KeepClaims(ordinal, pod) => self.keep(revised, *ordinal, pod).await,
            Step::Amend(ordinal, pod) => self.amend(revised, *ordinal, pod).await,
            Step::Delete(pod) => {
                let deleted = self.pods.try_delete(set, pod).await;
                self.tell(set, Verb::Delete, pod.name(), deleted.map(drop).map_err(told))
            }
        }
    }

    async fn create(&self, revised: &Revised<'_>, ordinal: Ordinal, which: Which) -> Result<(), Failure> {
        let (set, spec) = (revised.set, revised.spec);
        let name = identity::pod_name(set, ordinal);
        let claims = self.make_claims(set, spec, ordinal).await;
        self.tell_failed(set, Verb::Create, &name, claims)?;
        let (revision, template) = match which {
            Which::Current => &revised.current,
            Which::Update => &revised.update,
        };
        let pod = identity::pod(set, spec, ordinal, (revision, template));
        let created = match self.pods.try_create(set, &pod).await {
            // Another pod has the name, and is not ours; or is, and shows soon.
            Err(error) if is_already_exists(&error) => return Err(told(error)),
            created => created.map_err(told),
        };
        let uid = created.as_ref().ok().and_then(|pod| pod.metadata.uid.clone()).unwrap_or_default();
        self.tell(set, Verb::Create, &name, created.map(drop))?;
        let holder = Holder { name: &name, uid: &uid, condemned: false };
        let kept = self.keep_claims(set, spec, ordinal, &holder).await;
        self.tell_failed(set, Verb::Update, &name, kept)
    }

    async fn keep(&self, revised: &Revised<'_>, ordinal: Ordinal, pod: &KnownPod) -> Result<(), Failure> {
        let (set, spec) = (revised.set, revised.spec);
        let condemned = !identity::is_wanted(spec, ordinal);
        let holder = Holder { name: pod.name(), uid: pod.uid(), condemned };
        let kept = self.keep_claims(set, spec, ordinal, &holder).await;
        self.tell_failed(set, Verb::Update, pod.name(), kept)
    }

    async fn amend(&self, revised: &Revised<'_>, ordinal: Ordinal, pod: &KnownPod) -> Result<(), Failure> {
        let (set, spec) = (revised.set, revised.spec);
        let made = self.make_claims(set, spec, ordinal).await;
        self.tell_failed(set, Verb::Update, pod.name(), made)?;
        let Some(patch) = identity::amendment(set, spec, ordinal, pod) else { return Ok(()) };
        let patched = self.pods.patch(set, pod, patch).await;
        self.tell(set, Verb::Update, pod.name(), patched.map(drop).map_err(told))
    }

    /// Tells what became of a pod.
    fn tell(
        &self,
        set: &StatefulSet,
        verb: Verb,
        pod: &str,
        result: Result<(), Failure>,
    ) -> Result<(), Failure> {
        if result.is_ok() {
            let name = set.metadata.name.as_deref().unwrap_or("");
            let message = format!("{} Pod {pod} in StatefulSet {name} successful", verb.word());
            self.event(set, EventType::Normal, verb.successful(), message);
        }
        self.tell_failed(set, verb, pod, result)
    }

    /// Tells if it failed.
    fn tell_failed(
        &self,
        set: &StatefulSet,
        verb: Verb,
        pod: &str,
        result: Result<(), Failure>,
    ) -> Result<(), Failure> {
        if let Err(Failure::Told(why)) = &result {
            let name = set.metadata.name.as_deref().unwrap_or("");
            let message = format!("{} Pod {pod} in StatefulSet {name} failed error: {why}", verb.word());
            self.event(set, EventType::Warning, verb.failed(), message);
        }
        result
    }
}
