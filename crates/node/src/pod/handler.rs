//! Which runtime a pod's RuntimeClass asks for. The node has one, which answers to several names.

use k8s_openapi::api::node::v1::RuntimeClass;
use kube::{Api, Client};

use super::local::LocalPod;
use skiff_errors::error_text;

/// The names of the node's runtime: that of pods without a class, its own, and the one by which manifests usually ask for containers
/// of this kind.
pub(crate) const HANDLERS: [&str; 3] = ["", "runc", "skiff"];

/// Makes sure that the node's runtime is what the pod asks for.
///
/// # Errors
/// In the words of the kubelet and of containerd: when its class is gone, or asks for a runtime that is not here.
pub(crate) async fn check(client: &Client, pod: &LocalPod) -> Result<(), String> {
    let Some(class) = pod.spec.runtime_class_name.as_deref().filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let api: Api<RuntimeClass> = Api::all(client.clone());
    match api.get_opt(class).await {
        Ok(Some(class)) => served(&class.handler),
        Ok(None) => Err(format!("runtimeclass.node.k8s.io \"{class}\" not found")),
        Err(error) => Err(format!("failed to lookup RuntimeClass {class}: {}", error_text(&error))),
    }
}

fn served(handler: &str) -> Result<(), String> {
    if HANDLERS.contains(&handler) {
        return Ok(());
    }
    Err(format!(
        "rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for {handler:?} is configured"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_answers_to_its_names_alone() {
        for handler in ["", "runc", "skiff"] {
            assert_eq!(served(handler), Ok(()));
        }
        let refused = served("vm").unwrap_err();
        assert!(refused.ends_with(r#"no runtime for "vm" is configured"#), "{refused}");
    }
}
