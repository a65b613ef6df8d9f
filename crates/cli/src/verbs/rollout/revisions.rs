//! The versions of a workload that the cluster remembers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::select::Item;
use crate::selector;
use crate::uri::with_query;

/// A version of a workload.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    /// The ReplicaSet or ControllerRevision.
    pub(super) object: Value,
    /// The template of its pods.
    pub(super) template: Value,
}

impl Revision {
    pub(super) fn change_cause(&self) -> Option<&str> {
        self.object["metadata"]["annotations"]["kubernetes.io/change-cause"]
            .as_str()
            .filter(|cause| !cause.is_empty())
    }
}

/// The versions by their numbers.
pub(super) type Revisions = BTreeMap<i64, Revision>;

/// Reads the versions of a workload. `failed`: what is missing when the kind has none.
pub(super) async fn of(cx: &Context, item: &Item, failed: &str) -> Result<Revisions, Error> {
    let resource = match (item.resource.group.as_str(), item.resource.kind.as_str()) {
        ("apps", "Deployment") => "replicasets",
        ("apps", "DaemonSet" | "StatefulSet") => "controllerrevisions",
        (group, kind) => {
            let name = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
            return Err(Error::Usage(format!("no {failed} has been implemented for \"{name}\"")));
        }
    };
    let namespace = item.namespace.as_deref().unwrap_or_default();
    let selector = selector::text(&item.object["spec"]["selector"]);
    let path = format!("/apis/apps/v1/namespaces/{namespace}/{resource}");
    let list = cx.api().await?.get(&with_query(&path, &[("labelSelector", Some(&selector))])).await?;
    let uid = &item.object["metadata"]["uid"];
    Ok(list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|owned| is_owned(owned, uid))
        .filter_map(read)
        .collect())
}

fn is_owned(object: &Value, uid: &Value) -> bool {
    let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.any(|owner| owner["uid"] == *uid && owner["controller"] == true)
}

fn read(object: &Value) -> Option<(i64, Revision)> {
    if let Some(number) = object["revision"].as_i64() {
        let mut template = object["data"]["spec"]["template"].clone();
        template.as_object_mut().map(|template| template.remove("$patch"));
        return Some((number, Revision { object: object.clone(), template }));
    }
    let number =
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str()?.parse().ok()?;
    Some((number, Revision { object: object.clone(), template: object["spec"]["template"].clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_replica_sets_and_controller_revisions() {
        let set = json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3"}}, "spec": {"template": {"a": 1}}});
        let revision = json!({"revision": 4, "data": {"spec": {"template": {"a": 2, "$patch": "replace"}}}});
        let numbers: Vec<(i64, Value)> = [set, revision]
            .iter()
            .filter_map(read)
            .map(|(number, revision)| (number, revision.template))
            .collect();
        assert_eq!(numbers, [(3, json!({"a": 1})), (4, json!({"a": 2}))]);
    }
}
