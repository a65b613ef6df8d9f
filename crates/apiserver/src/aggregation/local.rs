//! APIServices of what this server serves: those of custom kinds come and go with their definitions, and all of them say
//! that they can be used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skiff_kinds::api_service::{self, Availability, Management};
use skiff_machinery::{GroupVersion, Object, Uid};
use skiff_ordered::Ordered as _;

use super::registration::Registration;
use super::setting::Setting;

/// What is to be done about an APIService.
#[derive(Debug, PartialEq)]
enum Act {
    Create(Object),
    /// Gives it what this one says.
    Correct(Object),
    Delete {
        name: String,
        uid: Uid,
    },
    /// Says that it can be used.
    Tell {
        name: String,
        uid: Uid,
    },
}

/// Makes the APIServices what they should be; whether that went well.
pub(super) async fn follow(setting: &Setting) -> bool {
    let present: Vec<Arc<Registration>> = setting.aggregation.registrations.read().all().cloned().collect();
    let acts = plan(&setting.offers.custom_versions(), &present);
    if acts.is_empty() {
        return true;
    }
    let writer = &setting.writer;
    let mut went_well = true;
    for act in acts {
        let done = match &act {
            Act::Create(service) => writer.create(service).await,
            Act::Correct(service) => writer.correct(service).await,
            Act::Delete { name, uid } => writer.delete(name, uid).await,
            Act::Tell { name, uid } => writer.tell(name, uid, &Availability::local()).await.map(drop),
        };
        if let Err(error) = done {
            tracing::warn!(?act, %error, "an APIService is not what it should be; trying again");
            went_well = false;
        }
    }
    went_well
}

fn plan(custom: &BTreeSet<GroupVersion>, present: &[Arc<Registration>]) -> Vec<Act> {
    let by_name: BTreeMap<&str, &Arc<Registration>> = present.iter().map(|one| (one.name(), one)).to_map();
    let mut acts = Vec::new();
    for wanted in custom.iter().filter_map(|gv| api_service::local(gv, Management::Always)) {
        match by_name.get(wanted.name()) {
            None => acts.push(Act::Create(wanted)),
            Some(known) if Management::of(&known.object) != Some(Management::Always) => {}
            Some(known) => {
                let is_right = known.target.is_none()
                    && api_service::priority(&known.object) == api_service::priority(&wanted);
                acts.extend((!is_right).then_some(Act::Correct(wanted)));
            }
        }
    }
    for known in present {
        let (name, uid) = (known.name().to_owned(), Uid::new(known.object.uid()));
        if Management::of(&known.object) == Some(Management::Always) && !custom.contains(&known.gv) {
            acts.push(Act::Delete { name, uid });
        } else if known.target.is_none() && !Availability::local().is_told_by(&known.object) {
            acts.push(Act::Tell { name, uid });
        }
    }
    acts
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    fn present(version: &'static str, change: impl FnOnce(&mut Object)) -> Arc<Registration> {
        let mut object =
            api_service::local(&GroupVersion::fixed("example.com", version), Management::Always).unwrap();
        object.set(&["metadata", "uid"], "u");
        object.set(&["status", "conditions"], Availability::local().among(&object, Timestamp::UNIX_EPOCH));
        change(&mut object);
        Arc::new(Registration::new(object))
    }

    #[test]
    fn custom_versions_have_services_that_users_may_take_over() {
        let gv = |version: &'static str| GroupVersion::fixed("example.com", version);
        let custom = |versions: &[&'static str]| versions.iter().map(|version| gv(version)).collect();
        let check = |versions: &[&'static str], known: &[Arc<Registration>], expected: &[Act]| {
            assert_eq!(plan(&custom(versions), known), expected);
        };
        let wanted = || api_service::local(&gv("v1"), Management::Always).unwrap();
        check(&["v1"], &[], &[Act::Create(wanted())]);
        check(&["v1"], &[present("v1", |_| {})], &[]);
        let other = present("v1", |service| service.set(&["spec", "versionPriority"], 7));
        check(&["v1"], &[other], &[Act::Correct(wanted())]);
        let service = json!({"name": "s", "namespace": "n", "port": 443});
        let led_away = |service_of: &mut Object| service_of.set(&["spec", "service"], service.clone());
        check(&["v1"], &[present("v1", led_away)], &[Act::Correct(wanted())]);
        let taken = present("v1", |service_of| {
            led_away(service_of);
            service_of.remove(&["metadata", "labels"]);
        });
        check(&["v1"], std::slice::from_ref(&taken), &[]);
        check(&[], &[taken], &[]);
        let (name, uid) = ("v1.example.com".to_owned(), Uid::new("u"));
        check(&[], &[present("v1", |_| {})], &[Act::Delete { name: name.clone(), uid: uid.clone() }]);
        let silent = present("v1", |service| drop(service.remove(&["status"])));
        check(&["v1"], &[silent], &[Act::Tell { name, uid }]);
    }
}
