//! What the graph needs to know of an object, read from its metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::{Deserialize, Deserializer};

/// An object of any kind by its links. Every write of the cluster comes by here: the rest of the metadata, of which most are
/// managed fields, is passed over.
#[derive(Clone, Debug)]
pub(super) struct Linked {
    pub(super) metadata: ObjectMeta,
}

impl<'de> Deserialize<'de> for Linked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Partial {
            metadata: Links,
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Links {
            name: Option<String>,
            namespace: Option<String>,
            uid: Option<String>,
            resource_version: Option<String>,
            deletion_timestamp: Option<Time>,
            finalizers: Option<Vec<String>>,
            owner_references: Option<Vec<OwnerReference>>,
        }

        let Partial { metadata } = Partial::deserialize(deserializer)?;
        let Links { name, namespace, uid, resource_version, .. } = metadata;
        let Links { deletion_timestamp, finalizers, owner_references, .. } = metadata;
        Ok(Self {
            metadata: ObjectMeta {
                name,
                namespace,
                uid,
                resource_version,
                deletion_timestamp,
                finalizers,
                owner_references,
                ..ObjectMeta::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_links_and_nothing_else() {
        let text = r#"{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {
            "resourceVersion": "7", "name": "n", "namespace": "ns", "uid": "u", "labels": {"a": "b"},
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["orphan"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "o"}],
            "managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": {"f:data": {}}}]}}"#;
        let read: Linked = serde_json::from_str(text).unwrap();
        let whole: kube::core::PartialObjectMeta = serde_json::from_str(text).unwrap();
        let expected = ObjectMeta { labels: None, managed_fields: None, ..whole.metadata };
        assert_eq!(read.metadata, expected);
        let bare: Linked = serde_json::from_str(r#"{"metadata": {}}"#).unwrap();
        assert_eq!(bare.metadata, ObjectMeta::default());
    }
}
