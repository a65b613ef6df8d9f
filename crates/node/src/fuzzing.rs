//! Decoders of this crate for the fuzz targets.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};

use crate::container::downward;
use crate::container::keyring::Keyring;
use crate::pod::local::LocalPod;

/// Reads a Secret's credentials for registries in both of docker's formats, and looks one up for `repository`.
pub fn pull_secret(content: &[u8], repository: &str) {
    let formats =
        [("kubernetes.io/dockerconfigjson", ".dockerconfigjson"), ("kubernetes.io/dockercfg", ".dockercfg")];
    for (kind, key) in formats {
        let secret = Secret {
            type_: Some(kind.to_owned()),
            data: Some([(key.to_owned(), ByteString(content.to_vec()))].into()),
            ..Secret::default()
        };
        if let Ok(keyring) = Keyring::of(std::iter::once(&secret)) {
            drop(keyring.lookup(repository));
        }
    }
}

/// Reads a field of a pod by its path.
pub fn field_path(path: &str) {
    let mut pod = Pod::default();
    pod.metadata.name = Some("p".to_owned());
    pod.metadata.uid = Some("u".to_owned());
    pod.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    pod.metadata.namespace = Some("n".to_owned());
    pod.spec = Some(Default::default());
    if let Some(pod) = LocalPod::new(pod) {
        drop(downward::env_field(&pod, path, &[], &[]));
    }
}
