//! Makes the claims of a StatefulSet's pods, and lets them belong to whom the policy says.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::PostParams;
use skiff_informer::{EventType, ObjectKey, describe, is_already_exists, is_namespace_terminating};

use super::identity::{self, Ordinal};
use super::retention::{self, Holder, Owners, Policy};
use super::steps::Failure;
use super::{StatefulSets, told};
use crate::informers::api;
use crate::workload::Owner;

impl StatefulSets {
    /// Makes those claims of a pod that are missing. One that is being deleted keeps the pod from being made.
    pub(super) async fn make_claims(
        &self,
        set: &StatefulSet,
        spec: &StatefulSetSpec,
        ordinal: Ordinal,
    ) -> Result<(), Failure> {
        let mut problems = Vec::new();
        for claim in identity::claims(set, spec, ordinal) {
            let name = claim.name_any();
            let found = self.informers.claims.get(&ObjectKey::new(set.key().namespace(), &name));
            match found {
                Some(found) if found.metadata.deletion_timestamp.is_some() => {
                    problems.push(format!("pvc {name} is being deleted"));
                }
                Some(_) => {}
                None => match self.make_claim(set, ordinal, &claim).await {
                    Err(error) if is_namespace_terminating(&error) => return Err(Failure::NamespaceGoes),
                    Err(error) => {
                        problems.push(format!("failed to create PVC {name}: {}", describe(&error)));
                    }
                    Ok(()) => {}
                },
            }
        }
        match problems.len() {
            0 => Ok(()),
            1 => Err(Failure::Told(problems.remove(0))),
            _ => Err(Failure::Told(format!("[{}]", problems.join(", ")))),
        }
    }

    async fn make_claim(
        &self,
        set: &StatefulSet,
        ordinal: Ordinal,
        claim: &PersistentVolumeClaim,
    ) -> kube::Result<()> {
        let (key, name) = (set.key(), claim.name_any());
        let (pod, set_name) = (identity::pod_name(set, ordinal), set.name_any());
        match api::<PersistentVolumeClaim>(&self.client, &key).create(&PostParams::default(), claim).await {
            Ok(created) => {
                self.claims.wrote(&key, &created.metadata);
                let message = format!("Create Claim {name} Pod {pod} in StatefulSet {set_name} success");
                self.event(set, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                if !is_already_exists(&error) && !is_namespace_terminating(&error) {
                    let message = format!(
                        "Create Claim {name} for Pod {pod} in StatefulSet {set_name} failed error: {}",
                        describe(&error)
                    );
                    self.event(set, EventType::Warning, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    /// Lets the claims of a pod belong to whom the policy says.
    pub(super) async fn keep_claims(
        &self,
        set: &StatefulSet,
        spec: &StatefulSetSpec,
        ordinal: Ordinal,
        holder: &Holder<'_>,
    ) -> Result<(), Failure> {
        let (key, policy) = (set.key(), Policy::of(spec));
        for template in identity::claim_templates(spec) {
            let name = identity::claim_name(set, template, ordinal);
            let Some(claim) = self.informers.claims.get(&ObjectKey::new(key.namespace(), &name)) else {
                continue;
            };
            if retention::is_disputed(policy, &claim, set, holder) {
                let message = format!(
                    "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging controller, \
                     the retention policy is ignored for this claim"
                );
                self.event(set, EventType::Warning, "ConflictingController", message);
            }
            let Owners::Become(owners) = retention::owners(policy, &claim, set, holder) else { continue };
            let mut changed = (*claim).clone();
            changed.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
            let api = api::<PersistentVolumeClaim>(&self.client, &key);
            let written = api.replace(&name, &PostParams::default(), &changed).await;
            let written = written.map_err(|error| match told(error) {
                Failure::Told(text) => Failure::Told(format!(
                    "could not update claim {name} for delete policy ownerRefs: {text}"
                )),
                goes => goes,
            })?;
            self.claims.wrote(&key, &written.metadata);
        }
        Ok(())
    }
}
