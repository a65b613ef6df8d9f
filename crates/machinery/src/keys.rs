//! Where objects and claims are kept in a store. Keys are texts; what a store takes for one is made from them.

use crate::{Claim, Kind, Namespace, Scope};

/// Key of an object; `namespace` is not looked at for cluster-scoped kinds.
pub fn object<K: From<String>>(kind: &Kind, namespace: Namespace<'_>, name: &str) -> K {
    let mut key = collection(kind, namespace);
    key.push_str(name);
    K::from(key)
}

/// Prefix of a kind's objects, in one namespace or (when empty) in all.
pub fn collection(kind: &Kind, namespace: Namespace<'_>) -> String {
    let stored = kind.versions.storage.as_ref().unwrap_or(&kind.gv);
    let group = if stored.group.is_empty() { "core" } else { &*stored.group };
    match (kind.scope, namespace) {
        (Scope::Namespaced, namespace) if !namespace.is_none() => {
            format!("/registry/{group}/{}/{namespace}/", kind.names.plural)
        }
        _ => format!("/registry/{group}/{}/", kind.names.plural),
    }
}

/// Key of an object of the core group, for kinds that the pipeline itself reads.
pub fn core<K: From<String>>(resource: &str, namespace: Namespace<'_>, name: &str) -> K {
    K::from(if namespace.is_none() {
        format!("/registry/core/{resource}/{name}")
    } else {
        format!("/registry/core/{resource}/{namespace}/{name}")
    })
}

/// Key of a cluster-scoped object of a group with a name, for kinds that others read while they are admitted; without a name,
/// the prefix of all.
pub fn cluster<K: From<String>>(group: &str, resource: &str, name: &str) -> K {
    K::from(format!("/registry/{group}/{resource}/{name}"))
}

/// Where Kubernetes keeps an object in etcd, as its errors tell.
pub fn registry(kind: &Kind, namespace: Namespace<'_>, name: &str) -> String {
    let folder = match kind.strategy.folder() {
        Some(folder) => folder.to_owned(),
        None if kind.strategy.is_typed() => kind.names.plural.to_string(),
        None => format!("{}/{}", kind.gv.group, kind.names.plural),
    };
    match kind.scope {
        Scope::Namespaced => format!("/registry/{folder}/{namespace}/{name}"),
        Scope::Cluster => format!("/registry/{folder}/{name}"),
    }
}

/// Prefix of the CustomResourceDefinitions.
pub const DEFINITIONS: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// Prefix of the APIServices.
pub const API_SERVICES: &str = "/registry/apiregistration.k8s.io/apiservices/";

/// Prefix of the ServiceCIDRs.
pub const SERVICE_CIDRS: &str = "/registry/networking.k8s.io/servicecidrs/";

/// Key of a claim.
pub fn claim<K: From<String>>(claim: Claim) -> K {
    K::from(match claim {
        Claim::Ip(address) => format!("{}{address}", claims(claim)),
        Claim::NodePort(port) => format!("{}{port}", claims(claim)),
    })
}

/// Prefix of all claims of the same sort.
pub fn claims(claim: Claim) -> &'static str {
    match claim {
        Claim::Ip(_) => "/registry/networking.k8s.io/ipaddresses/",
        Claim::NodePort(_) => "/skiff/nodeports/",
    }
}

/// Namespace and name in the key of an object of this kind.
pub fn parts<'a>(kind: &Kind, key: &'a str) -> (Namespace<'a>, &'a str) {
    let tail = key.get(collection(kind, Namespace::NONE).len()..).unwrap_or_default();
    let (namespace, name) = match kind.scope {
        Scope::Namespaced => tail.split_once('/').unwrap_or(("", tail)),
        Scope::Cluster => ("", tail),
    };
    (Namespace::new(namespace), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_have_readable_keys() {
        let check = |c: Claim, key: &str| assert_eq!(claim::<String>(c), key);
        check(Claim::Ip([10, 96, 0, 1].into()), "/registry/networking.k8s.io/ipaddresses/10.96.0.1");
        check(Claim::NodePort("30001".parse().unwrap()), "/skiff/nodeports/30001");
    }
}
