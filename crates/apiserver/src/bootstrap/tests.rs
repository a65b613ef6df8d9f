//! The first start and the next ones, against the real store.

use skiff_auth::{Access, Attributes, Auth, Issuer};
use skiff_identity::UserInfo;
use skiff_machinery::keys;
use skiff_store::Page;

use super::*;
use crate::testing;

fn cluster() -> Bootstrap {
    Bootstrap {
        service_cidrs: vec!["10.96.0.0/12".to_owned()],
        client_ca_pem: "ca".to_owned(),
        front_proxy_ca_pem: "front-proxy".to_owned(),
        versions: vec![GroupVersion::fixed("", "v1"), GroupVersion::fixed("discovery.k8s.io", "v1")],
    }
}

#[tokio::test]
async fn the_first_start_is_one_transaction_and_the_next_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = testing::store(dir.path());
    run(&*store, &cluster()).await.unwrap();
    let first = store.revision();
    assert_eq!(first.get(), 1);
    run(&*store, &cluster()).await.unwrap();
    assert_eq!(store.revision(), first);
    let objects = store.list("/registry/".into(), Page::default()).await.unwrap();
    for entry in &objects.entries {
        assert!(entry.value.bytes().starts_with(br#"{"metadata":{"#), "{}", entry.key);
    }
}

#[tokio::test]
async fn what_was_deleted_comes_back_and_what_was_changed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = testing::store(dir.path());
    run(&*store, &cluster()).await.unwrap();
    let deleted = Key::from("/registry/rbac.authorization.k8s.io/clusterroles/view");
    let changed = Key::from("/registry/core/namespaces/default");
    let ops = vec![
        Op::Delete { key: deleted.clone() },
        Op::Put { key: changed.clone(), value: r#"{"metadata":{"name":"default"}}"#.into() },
    ];
    store.commit(Txn { expect: Vec::new(), ops }).await.unwrap();
    run(&*store, &cluster()).await.unwrap();
    assert!(store.get(&deleted).await.unwrap().is_some());
    let value = store.get(&changed).await.unwrap().unwrap().value;
    assert_eq!(value.bytes(), r#"{"metadata":{"name":"default"}}"#);
}

#[tokio::test]
async fn built_in_versions_have_api_services_that_users_may_take_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = testing::store(dir.path());
    run(&*store, &cluster()).await.unwrap();
    let key = |name: &str| Key::from(format!("{}{name}", keys::API_SERVICES));
    let read = async |name: &str| {
        let entry = store.get(&key(name)).await.unwrap();
        entry.map(|entry| serde_json::from_slice::<serde_json::Value>(&entry.value.bytes()).unwrap())
    };
    let core = read("v1.").await.unwrap();
    assert_eq!(core["spec"]["groupPriorityMinimum"], 18000);
    assert_eq!(core["status"]["conditions"][0]["reason"], "Local");
    let mut slices = read("v1.discovery.k8s.io").await.unwrap();
    let uid = slices["metadata"]["uid"].clone();
    slices["spec"]["versionPriority"] = 3.into();
    let mut taken = core.clone();
    taken["metadata"]["labels"] = serde_json::json!({});
    taken["spec"]["versionPriority"] = 7.into();
    let mut gone = core.clone();
    gone["metadata"]["name"] = "v1.gone".into();
    let put =
        |name: &str, value: &serde_json::Value| Op::Put { key: key(name), value: value.to_string().into() };
    let ops = vec![put("v1.", &taken), put("v1.discovery.k8s.io", &slices), put("v1.gone", &gone)];
    store.commit(Txn { expect: Vec::new(), ops }).await.unwrap();
    run(&*store, &cluster()).await.unwrap();
    assert_eq!(read("v1.").await.unwrap(), taken);
    let again = read("v1.discovery.k8s.io").await.unwrap();
    assert_eq!((&again["spec"]["versionPriority"], &again["metadata"]["uid"]), (&15.into(), &uid));
    assert_eq!(read("v1.gone").await, None);
}

#[test]
fn typed_clients_can_read_the_roles() {
    use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
    for (key, object) in objects::all(&cluster(), Timestamp::now()) {
        let result = match object.kind() {
            "ClusterRole" => object.decode::<ClusterRole>().map(drop),
            "ClusterRoleBinding" => object.decode::<ClusterRoleBinding>().map(drop),
            "Role" => object.decode::<Role>().map(drop),
            "RoleBinding" => object.decode::<RoleBinding>().map(drop),
            _ => Ok(()),
        };
        result.unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

/// `user: verb group/resource[/subresource] namespace/name` or `user: verb /path`; `-` is empty.
#[tokio::test]
async fn default_roles_allow_what_kubernetes_allows() {
    let dir = tempfile::tempdir().unwrap();
    let store = testing::store(dir.path());
    run(&*store, &cluster()).await.unwrap();
    let pki = skiff_pki::testing::pki(dir.path(), [192, 0, 2, 1].into());
    let auth =
        Auth::start(store, pki, Issuer::new("cluster.local", [192, 0, 2, 1].into(), 6443), Access::default())
            .await
            .unwrap();
    let controller = |name: &str| UserInfo::controller(name);
    let check = async |user: UserInfo, request: &str, expected: bool| {
        let (verb, target) = request.split_once(' ').unwrap();
        let attributes = match target.split_once(' ') {
            None => Attributes::non_resource(&user, verb, target),
            Some((resource, place)) => {
                let mut parts = resource.split('/');
                let group = parts.next().filter(|group| *group != "core").unwrap_or("");
                let plural = parts.next().unwrap();
                let dash = |text| if text == "-" { "" } else { text };
                let (namespace, name) = place.split_once('/').unwrap();
                Attributes {
                    subresource: parts.next().unwrap_or(""),
                    namespace: dash(namespace),
                    name: dash(name),
                    ..Attributes::resource(&user, verb, group, plural)
                }
            }
        };
        let decision = auth.authorize(&attributes).await;
        assert_eq!(decision.is_allowed(), expected, "{}: {request}: {decision:?}", user.name);
    };
    check(UserInfo::anonymous(), "get /healthz", true).await;
    check(UserInfo::anonymous(), "get /version", true).await;
    check(UserInfo::anonymous(), "get /api", false).await;
    check(UserInfo::anonymous(), "list core/pods default/-", false).await;
    check(UserInfo::service_account("default", "default"), "get /apis", true).await;
    check(UserInfo::service_account("default", "default"), "get /openid/v1/jwks", true).await;
    check(UserInfo::service_account("default", "default"), "get core/secrets default/x", false).await;
    check(UserInfo::api_server(), "escalate rbac.authorization.k8s.io/roles -/-", true).await;
    check(UserInfo::scheduler(), "create core/pods/binding default/p", true).await;
    check(UserInfo::scheduler(), "patch core/pods/status default/p", true).await;
    check(UserInfo::scheduler(), "create core/pods default/-", false).await;
    check(controller("replication-controller"), "create core/pods default/-", true).await;
    check(controller("replication-controller"), "create core/secrets default/-", false).await;
    check(controller("replication-controller"), "create core/events default/-", true).await;
    check(controller("namespace-controller"), "deletecollection apps/deployments a/-", true).await;
    check(controller("node-controller"), "patch core/nodes -/n", true).await;
    check(
        UserInfo::service_account("kube-system", "coredns"),
        "watch discovery.k8s.io/endpointslices -/-",
        true,
    )
    .await;
    check(UserInfo::service_account("default", "coredns"), "watch core/services -/-", false).await;
    check(UserInfo::node("n"), "watch core/services -/-", true).await;
    check(UserInfo::node("n"), "get core/secrets default/x", false).await;
}
