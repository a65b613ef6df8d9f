//! Which volume suits a claim.

use std::sync::Arc;

use crate::{Claim, Volume};

/// From where a volume is looked for.
#[derive(Clone, Copy)]
pub enum Search<'s> {
    /// From anywhere.
    Anywhere,
    /// For nobody yet: only what was promised to the claim is found.
    Promised,
    /// From one node, whose reach says the function.
    Node(&'s dyn Fn(&Volume) -> bool),
}

/// Whether the volume is for the claim, or for any of its name.
pub fn is_promised(volume: &Volume, claim: &Claim) -> bool {
    volume.claimant.as_ref().is_some_and(|claimant| {
        claimant.name == claim.name
            && claimant.namespace == claim.namespace
            && (claimant.uid.is_empty() || claimant.uid == claim.uid)
    })
}

/// Whether the volume may be mounted in all ways that the claim asks for.
pub fn has_modes(volume: &Volume, claim: &Claim) -> bool {
    claim.modes.iter().all(|mode| volume.modes.contains(mode))
}

/// The volume for the claim: one that is promised to it, else the smallest that suits it. For a search from a node all modes of
/// mounting are alike; otherwise volumes with fewer of them go first.
pub fn find(claim: &Claim, volumes: &[Arc<Volume>], search: Search<'_>) -> Option<Arc<Volume>> {
    if let Search::Node(_) = search {
        return among(claim, volumes.iter(), search);
    }
    let mut numbers: Vec<usize> = volumes.iter().map(|volume| volume.modes.len()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let alike = |number: usize| volumes.iter().filter(move |volume| volume.modes.len() == number);
    numbers.into_iter().find_map(|number| among(claim, alike(number), search))
}

fn among<'v>(
    claim: &Claim,
    volumes: impl Iterator<Item = &'v Arc<Volume>>,
    search: Search<'_>,
) -> Option<Arc<Volume>> {
    let mut smallest: Option<&Arc<Volume>> = None;
    for volume in volumes.filter(|volume| could_hold(volume, claim)) {
        // How a volume is mounted that was promised to it, a pod on a node will see.
        let is_reached = match search {
            Search::Node(reaches) => reaches(volume),
            Search::Anywhere | Search::Promised if !has_modes(volume, claim) => continue,
            Search::Anywhere | Search::Promised => true,
        };
        if is_promised(volume, claim) {
            return is_reached.then(|| volume.clone());
        }
        if !matches!(search, Search::Promised)
            && is_reached
            && is_offered(volume, claim)
            && smallest.is_none_or(|best| volume.size < best.size)
        {
            smallest = Some(volume);
        }
    }
    smallest.cloned()
}

/// What has to hold even of a volume that was promised.
fn could_hold(volume: &Volume, claim: &Claim) -> bool {
    (volume.claimant.is_none() || is_promised(volume, claim))
        && volume.size >= claim.size
        && volume.is_block == claim.is_block
        && volume.attributes == claim.attributes
        && !volume.is_going
}

/// What has to hold of a volume that is promised to nobody.
fn is_offered(volume: &Volume, claim: &Claim) -> bool {
    volume.is_available
        && has_modes(volume, claim)
        && claim.labels.select(&volume.labels)
        && volume.class == claim.class
}

/// Why a volume that a claim names is not for it; in Kubernetes' words.
pub fn refusal(volume: &Volume, claim: &Claim) -> Option<String> {
    let why = if volume.is_going {
        return Some(format!("the volume is marked for deletion \"{}\"", volume.name));
    } else if volume.size < claim.size {
        "requested PV is too small"
    } else if volume.class != claim.class {
        "storageClassName does not match"
    } else if volume.attributes != claim.attributes {
        "volumeAttributesClassName does not match"
    } else if volume.is_block != claim.is_block {
        "incompatible volumeMode"
    } else if !has_modes(volume, claim) {
        "incompatible accessMode"
    } else {
        return None;
    };
    Some(why.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(spec: Value) -> Claim {
        let mut claim = json!({"metadata": {"namespace": "n", "name": "c", "uid": "1"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "s", "resources": {"requests": {"storage": "2Gi"}},
        }});
        claim["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Claim::of(&serde_json::from_value(claim).unwrap())
    }

    fn volume(name: &str, spec: Value) -> Arc<Volume> {
        let mut volume = json!({
            "metadata": {"name": name, "labels": {"disk": name}}, "status": {"phase": "Available"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "s", "capacity": {"storage": "4Gi"}},
        });
        volume["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Arc::new(Volume::of(&serde_json::from_value(volume).unwrap()))
    }

    fn sized(name: &str, size: &str) -> Arc<Volume> {
        volume(name, json!({"capacity": {"storage": size}}))
    }

    fn check(claim: &Claim, volumes: &[Arc<Volume>], search: Search<'_>, expected: Option<&str>) {
        assert_eq!(find(claim, volumes, search).as_ref().map(|volume| &*volume.name), expected);
    }

    #[test]
    fn the_smallest_that_suits_is_found() {
        let wanted = claim(json!({}));
        let volumes =
            [sized("small", "1Gi"), sized("large", "8Gi"), sized("fit", "3Gi"), sized("fits", "3Gi")];
        check(&wanted, &volumes, Search::Anywhere, Some("fit"));
        check(&wanted, &volumes[..1], Search::Anywhere, None);
        check(&wanted, &volumes, Search::Promised, None);
        check(&wanted, &volumes, Search::Node(&|volume| &*volume.name == "large"), Some("large"));
    }

    #[test]
    fn volumes_that_may_do_less_go_first() {
        let both = volume(
            "both",
            json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "capacity": {"storage": "2Gi"}}),
        );
        let volumes = [both, sized("once", "9Gi")];
        check(&claim(json!({})), &volumes, Search::Anywhere, Some("once"));
        check(&claim(json!({})), &volumes, Search::Node(&|_| true), Some("both"));
        check(&claim(json!({"accessModes": ["ReadWriteMany"]})), &volumes, Search::Anywhere, Some("both"));
    }

    #[test]
    fn what_does_not_suit_is_not_found() {
        let check = |spec: Value, of_volume: Value, why: Option<&str>, is_found: bool| {
            let (claim, volume) = (claim(spec), volume("v", of_volume));
            assert_eq!(refusal(&volume, &claim).as_deref(), why);
            assert_eq!(find(&claim, &[volume], Search::Anywhere).is_some(), is_found);
        };
        check(json!({}), json!({}), None, true);
        let size = json!({"resources": {"requests": {"storage": "5Gi"}}});
        check(size, json!({}), Some("requested PV is too small"), false);
        check(json!({"storageClassName": "t"}), json!({}), Some("storageClassName does not match"), false);
        let attributes = json!({"volumeAttributesClassName": "fast"});
        let mismatch = "volumeAttributesClassName does not match";
        check(attributes.clone(), json!({}), Some(mismatch), false);
        check(json!({}), attributes, Some(mismatch), false);
        check(json!({"volumeMode": "Block"}), json!({}), Some("incompatible volumeMode"), false);
        check(json!({"volumeMode": "Filesystem"}), json!({}), None, true);
        check(json!({"accessModes": ["ReadWriteMany"]}), json!({}), Some("incompatible accessMode"), false);
        check(json!({"selector": {"matchLabels": {"disk": "w"}}}), json!({}), None, false);
        check(json!({"selector": {"matchLabels": {"disk": "v"}}}), json!({}), None, true);
    }

    #[test]
    fn a_promise_goes_before_size_and_class() {
        let promised = |name: &str, uid: &str| {
            let to = json!({"namespace": "n", "name": name, "uid": uid});
            volume(&format!("to-{name}-{uid}"), json!({"claimRef": to, "storageClassName": "t"}))
        };
        let wanted = claim(json!({}));
        let volumes = [sized("fit", "2Gi"), promised("other", ""), promised("c", "2"), promised("c", "1")];
        check(&wanted, &volumes, Search::Anywhere, Some("to-c-1"));
        check(&wanted, &volumes, Search::Promised, Some("to-c-1"));
        check(&wanted, &volumes[..3], Search::Anywhere, Some("fit"));
        check(&wanted, &[promised("c", "")], Search::Promised, Some("to-c-"));
        check(&wanted, &volumes, Search::Node(&|volume| &*volume.name == "fit"), None);
    }
}
