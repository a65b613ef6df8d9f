//! The whole of it over the real store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::json;
use skiff_identity::{PeerIdentity, UserInfo};
use skiff_machinery::Namespace;
use skiff_pki::testing::pki;
use skiff_store::{Embedded, Key, Op, Txn, no_terms};
use tempfile::TempDir;

use super::*;

struct Cluster {
    auth: Auth,
    store: Arc<dyn Store>,
    _dir: TempDir,
}

async fn cluster() -> Cluster {
    cluster_with(Access::default()).await
}

async fn cluster_with(access: Access) -> Cluster {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Embedded::open(dir.path().join("store"), no_terms).unwrap());
    let pki = pki(dir.path(), [192, 0, 2, 1].into());
    let issuer = Issuer::new("cluster.local", [192, 0, 2, 1].into(), 6443);
    let auth = Auth::start(Arc::clone(&store), pki, issuer, access).await.unwrap();
    Cluster { auth, store, _dir: dir }
}

impl Cluster {
    async fn put(&self, path: &str, value: Value) {
        let key = Key::from(format!("/registry/{path}"));
        let op = Op::Put { key, value: value.to_string().into() };
        self.store.commit(Txn { expect: Vec::new(), ops: vec![op] }).await.unwrap();
    }

    async fn delete(&self, path: &str) {
        let key = Key::from(format!("/registry/{path}"));
        self.store.commit(Txn { expect: Vec::new(), ops: vec![Op::Delete { key }] }).await.unwrap();
    }

    /// ServiceAccount `ns/sa` (UID `s1`) and pod `ns/p` (UID `p1`), which runs as it on node `n` (UID `n1`).
    async fn populate(&self) {
        self.put("core/serviceaccounts/ns/sa", json!({"metadata": {"name": "sa", "uid": "s1"}})).await;
        self.put("core/nodes/n", json!({"metadata": {"name": "n", "uid": "n1"}})).await;
        let volume =
            json!({"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}});
        let spec = json!({"nodeName": "n", "serviceAccountName": "sa", "volumes": [volume]});
        self.put("core/pods/ns/p", json!({"metadata": {"name": "p", "uid": "p1"}, "spec": spec})).await;
    }

    async fn token(&self, spec: Value) -> Result<String, Refusal> {
        let request = Object::from_value(json!({"kind": "TokenRequest", "spec": spec})).unwrap();
        let answer = self.auth.issue_token(Namespace::new("ns"), "sa", request).await?;
        Ok(answer.str(&["status", "token"]).to_owned())
    }

    async fn user_of(&self, token: &str) -> Result<UserInfo, AuthnError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        Ok(self.auth.authenticate(&headers, None, "/").await?.user)
    }

    /// As whom a request is made.
    async fn acting(
        &self,
        headers: &HeaderMap,
        peer: &PeerIdentity,
        request: &Attributes<'_>,
    ) -> Result<UserInfo, Refusal> {
        let user = self.auth.authenticate(headers, Some(peer), "/").await.unwrap().user;
        Ok(self.auth.impersonate(headers, &user, request).await?.unwrap_or(user))
    }

    async fn review(&self, request: Value, user: &UserInfo) -> Value {
        let request = Object::from_value(request).unwrap();
        let answer = self.auth.review("ns", request, user, "").await.unwrap();
        answer.get(&["status"]).unwrap().clone()
    }
}

fn pods(user: &UserInfo) -> Attributes<'_> {
    Attributes { namespace: "ns", ..Attributes::resource(user, "list", "", "pods") }
}

fn bound_to_pod(uid: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}})
}

#[tokio::test]
async fn tokens_stand_for_their_service_account() {
    let cluster = cluster().await;
    cluster.populate().await;
    let user = cluster.user_of(&cluster.token(bound_to_pod("p1")).await.unwrap()).await.unwrap();
    assert_eq!(user.name, "system:serviceaccount:ns:sa");
    assert_eq!(user.uid, "s1");
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(user.extra["authentication.kubernetes.io/pod-uid"], ["p1"]);
    assert_eq!(user.extra["authentication.kubernetes.io/node-name"], ["n"]);
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
    assert!(matches!(cluster.user_of("rubbish").await, Err(AuthnError::Unauthorized(_))));
    let anonymous = cluster.auth.authenticate(&HeaderMap::new(), None, "/").await.unwrap().user;
    assert_eq!(anonymous, UserInfo::anonymous());
}

#[tokio::test]
async fn tokens_die_with_what_they_are_bound_to() {
    let cluster = cluster().await;
    cluster.populate().await;
    let bound = cluster.token(bound_to_pod("p1")).await.unwrap();
    let free = cluster.token(json!({})).await.unwrap();
    cluster.delete("core/pods/ns/p").await;
    assert!(cluster.user_of(&bound).await.is_err());
    assert!(cluster.user_of(&free).await.is_ok());
    cluster.put("core/serviceaccounts/ns/sa", json!({"metadata": {"name": "sa", "uid": "s2"}})).await;
    assert!(cluster.user_of(&free).await.is_err(), "another account of the same name");
}

#[tokio::test]
async fn token_requests_are_checked() {
    let cluster = cluster().await;
    let check = async |spec: Value, expected: &str| {
        let error = cluster.token(spec).await.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(json!({}), r#"serviceaccounts "sa" not found"#).await;
    cluster.populate().await;
    check(
        json!({"expirationSeconds": 599}),
        r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"#,
    )
    .await;
    check(bound_to_pod("other"), "does not match the UID in record").await;
    check(
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "none"}}),
        r#"pods "none" not found"#,
    )
    .await;
    check(
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "x"}}),
        "cannot bind token to object of type /v1, Kind=Service",
    )
    .await;
    let other = json!({"nodeName": "n", "serviceAccountName": "other"});
    cluster.put("core/pods/ns/p", json!({"metadata": {"name": "p", "uid": "p1"}, "spec": other})).await;
    check(bound_to_pod("p1"), "different serviceaccount name").await;
}

#[tokio::test]
async fn reviews_of_tokens() {
    let cluster = cluster().await;
    cluster.populate().await;
    let review = async |token: &str, audiences: Value| {
        let spec = json!({"token": token, "audiences": audiences});
        cluster.review(json!({"kind": "TokenReview", "spec": spec}), &UserInfo::api_server()).await
    };
    let vault = cluster.token(json!({"audiences": ["vault"]})).await.unwrap();
    let status = review(&vault, json!(["vault", "x"])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    assert_eq!(status["user"]["username"], "system:serviceaccount:ns:sa");
    assert_eq!(review(&vault, Value::Null).await["authenticated"], Value::Null, "not for the API server");
    assert!(cluster.user_of(&vault).await.is_err(), "not for the API server");
}

#[tokio::test]
async fn a_permission_counts_from_its_acknowledgement() {
    let cluster = cluster().await;
    let user = UserInfo::authenticated("u", []);
    let request = Attributes { namespace: "ns", ..Attributes::resource(&user, "get", "", "pods") };
    assert!(!cluster.auth.authorize(&request).await.is_allowed());
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    cluster.put("rbac.authorization.k8s.io/clusterroles/r", role).await;
    for number in 0..50 {
        let subject = json!({"kind": "User", "name": "u"});
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [subject]});
        let path = format!("rbac.authorization.k8s.io/rolebindings/ns/b{number}");
        cluster.put(&path, binding).await;
        assert!(cluster.auth.authorize(&request).await.is_allowed(), "binding {number}");
        cluster.delete(&path).await;
        cluster.put("core/configmaps/ns/unrelated", json!({"metadata": {}})).await;
        cluster.auth.catch_up().await;
        assert!(!cluster.auth.authorize(&request).await.is_allowed(), "binding {number} is gone");
    }
}

#[tokio::test]
async fn nodes_ask_for_tokens_of_their_pods() {
    let cluster = cluster().await;
    cluster.populate().await;
    let check = async |node: &str, spec: Value, expected: bool| {
        let user = UserInfo::node(node);
        let request = Attributes {
            subresource: "token",
            namespace: "ns",
            name: "sa",
            ..Attributes::resource(&user, "create", "", "serviceaccounts")
        };
        let token_request = Object::from_value(json!({"spec": spec})).unwrap();
        let allowed = cluster.auth.authorize(&request).await.is_allowed()
            && cluster.auth.admit(&request, Some(&token_request), None).await.is_ok();
        assert_eq!(allowed, expected, "{node} {token_request:?}");
    };
    check("n", bound_to_pod("p1"), true).await;
    check("n", json!({}), false).await;
    check("m", bound_to_pod("p1"), false).await;
}

#[tokio::test]
async fn reviews_of_access() {
    let cluster = cluster().await;
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]);
    cluster.put("rbac.authorization.k8s.io/clusterroles/r", json!({"metadata": {}, "rules": rules})).await;
    let subject = json!({"kind": "Group", "name": "g"});
    let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [subject]});
    cluster.put("rbac.authorization.k8s.io/clusterrolebindings/b", binding).await;
    let user = UserInfo::authenticated("u", ["g".to_owned()]);
    let pods = |verb: &str| json!({"namespace": "ns", "verb": verb, "resource": "pods"});

    let request = json!({"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": pods("get")}});
    let reason = r#"RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "g""#;
    assert_eq!(cluster.review(request, &user).await, json!({"allowed": true, "reason": reason}));

    let spec = json!({"user": "x", "groups": ["g"], "resourceAttributes": pods("list")});
    let request = json!({"kind": "LocalSubjectAccessReview", "spec": spec});
    assert_eq!(cluster.review(request, &user).await, json!({"allowed": false}));

    let path = json!({"path": "/metrics", "verb": "get"});
    let spec = json!({"user": "x", "groups": ["g"], "nonResourceAttributes": path});
    let request = json!({"kind": "SubjectAccessReview", "spec": spec});
    assert_eq!(cluster.review(request, &user).await["allowed"], true);

    let request = json!({"kind": "SelfSubjectRulesReview", "spec": {"namespace": "ns"}});
    assert_eq!(
        cluster.review(request, &user).await,
        json!({
            "resourceRules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
            "nonResourceRules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
            "incomplete": false,
        })
    );

    let lost = |number: u32| format!("rbac.authorization.k8s.io/rolebindings/ns/b{number}");
    for (number, name) in [(1, "gone"), (2, "gone"), (3, "lost")] {
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [subject]});
        cluster.put(&lost(number), binding).await;
    }
    let request = json!({"kind": "SelfSubjectRulesReview", "spec": {"namespace": "ns"}});
    let missing = |name: &str| format!("clusterrole.rbac.authorization.k8s.io {name:?} not found");
    let rules = cluster.review(request.clone(), &user).await;
    let why = format!("[{}, {}]", missing("gone"), missing("lost"));
    assert_eq!((&rules["incomplete"], &rules["evaluationError"]), (&json!(false), &json!(why)));
    let rules = cluster.review(request, &UserInfo::node("n")).await;
    let why = "node authorizer does not support user rule resolution";
    assert_eq!((&rules["incomplete"], &rules["evaluationError"]), (&json!(true), &json!(why)));
    assert_eq!(rules["nonResourceRules"], json!([]));

    let request = json!({"kind": "SelfSubjectReview"});
    let expected = json!({"userInfo": {"username": "u", "groups": ["g", "system:authenticated"]}});
    assert_eq!(cluster.review(request, &user).await, expected);

    let empty = Object::from_value(json!({"kind": "SubjectAccessReview", "spec": {"user": "x"}})).unwrap();
    let error = cluster.auth.review("", empty, &user, "").await.unwrap_err().to_string();
    assert_eq!(
        error,
        ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: null: \
         exactly one of nonResourceAttributes or resourceAttributes must be specified"
    );
}

#[tokio::test]
async fn a_certificate_that_ends_under_a_connection_proves_nothing_from_then_on() {
    let cluster = cluster().await;
    let now = jiff::Timestamp::now().as_second();
    let asked = async |end: i64| {
        let peer = PeerIdentity {
            common_name: "alice".into(),
            organizations: vec![],
            credential: String::new(),
            end,
            is_front_proxy: false,
        };
        let found = cluster.auth.authenticate(&HeaderMap::new(), Some(&peer), "/api").await;
        found.map(|found| found.user.name).map_err(|error| error.to_string())
    };
    assert_eq!(asked(now + 3600).await, Ok("alice".to_owned()));
    assert_eq!(asked(now - 1).await, Err("Unauthorized".to_owned()));
}

#[tokio::test]
async fn impersonation_needs_permission() {
    let cluster = cluster().await;
    let mut headers = HeaderMap::new();
    headers.insert("Impersonate-User", HeaderValue::from_static("bob"));
    let peer = |organization: &str| PeerIdentity {
        common_name: "alice".to_owned(),
        organizations: vec![organization.to_owned()],
        credential: String::new(),
        end: i64::MAX,
        is_front_proxy: false,
    };
    let nobody = UserInfo::default();
    let act = async |as_member_of: &str| cluster.acting(&headers, &peer(as_member_of), &pods(&nobody)).await;
    let user = act("system:masters").await.unwrap();
    assert_eq!((user.name.as_str(), user.groups), ("bob", vec!["system:authenticated".to_owned()]));
    let error = act("x").await.unwrap_err().to_string();
    assert_eq!(
        error,
        r#"pods is forbidden: User "alice" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "ns""#
    );
}

#[tokio::test]
async fn impersonation_may_be_for_some_requests_alone() {
    let cluster = cluster().await;
    let role = json!({"metadata": {"name": "r"}, "rules": [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["users"], "resourceNames": ["bob"], "verbs": ["impersonate:user-info"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["impersonate-on:user-info:list"]},
    ]});
    cluster.put("rbac.authorization.k8s.io/clusterroles/r", role).await;
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    });
    cluster.put("rbac.authorization.k8s.io/clusterrolebindings/b", binding).await;
    let (nobody, alice) = (
        UserInfo::default(),
        PeerIdentity {
            common_name: "alice".into(),
            organizations: vec![],
            credential: String::new(),
            end: i64::MAX,
            is_front_proxy: false,
        },
    );
    let mut headers = HeaderMap::new();
    headers.insert("Impersonate-User", HeaderValue::from_static("bob"));
    let list = pods(&nobody);
    let user = cluster.acting(&headers, &alice, &list).await.unwrap();
    assert_eq!(user.name, "bob");
    let delete = Attributes { verb: "delete", ..list };
    assert!(cluster.acting(&headers, &alice, &delete).await.is_err());
    headers.insert("Impersonate-User", HeaderValue::from_static("carol"));
    assert!(cluster.acting(&headers, &alice, &list).await.is_err());
}

/// A Secret of a token of `ns/sa` as its controller leaves it.
async fn put_token(cluster: &Cluster, token: &str, labels: Value) {
    let secret = json!({
        "metadata": {"name": "t", "uid": "t1", "labels": labels},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": STANDARD.encode(token)},
    });
    cluster.put("core/secrets/ns/t", secret).await;
}

#[tokio::test]
async fn tokens_in_secrets_hold_as_long_as_secret_and_account() {
    let (uses, mut used) = tokio::sync::mpsc::channel(8);
    let cluster = cluster_with(Access { uses: Some(uses), ..Access::default() }).await;
    cluster.populate().await;
    let token = cluster.auth.secret_token("ns", "sa", "s1", "t").unwrap();
    put_token(&cluster, &token, json!({})).await;
    let user = cluster.user_of(&token).await.unwrap();
    assert_eq!((&*user.name, &*user.uid), ("system:serviceaccount:ns:sa", "s1"));
    let noted = used.try_recv().unwrap();
    assert_eq!((&*noted.namespace, &*noted.name, &*noted.uid), ("ns", "t", "t1"));
    put_token(&cluster, &token, json!({LAST_USED: noted.day})).await;
    cluster.user_of(&token).await.unwrap();
    assert!(used.try_recv().is_err(), "this day is noted");

    let why = async |token: &str| match cluster.user_of(token).await {
        Err(AuthnError::Unauthorized(why)) => why.to_string(),
        other => panic!("{other:?}"),
    };
    put_token(&cluster, &token, json!({INVALID_SINCE: "2026-01-01"})).await;
    assert!(why(&token).await.contains("has been marked invalid"));
    let unlike = json!({
        "metadata": {"name": "t", "uid": "t1"}, "type": "kubernetes.io/service-account-token",
        "data": {"token": STANDARD.encode("another")},
    });
    cluster.put("core/secrets/ns/t", unlike).await;
    assert!(why(&token).await.contains("does not match server's copy"));
    cluster.delete("core/secrets/ns/t").await;
    assert!(why(&token).await.contains("has been invalidated"));
    put_token(&cluster, &token, json!({})).await;
    cluster.put("core/serviceaccounts/ns/sa", json!({"metadata": {"name": "sa", "uid": "s2"}})).await;
    assert!(why(&token).await.contains("UID (s2) does not match claim (s1)"));
    cluster.delete("core/serviceaccounts/ns/sa").await;
    assert!(why(&token).await.contains("has been deleted"));
}

#[tokio::test]
async fn clients_are_warned_of_tokens_that_nobody_asked_for() {
    let cluster = cluster().await;
    cluster.populate().await;
    let token = cluster.auth.secret_token("ns", "sa", "s1", "t").unwrap();
    put_token(&cluster, &token, json!({})).await;
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    let known = cluster.auth.authenticate(&headers, None, "/").await.unwrap();
    assert_eq!(known.warnings, Vec::<String>::new());
    assert!(
        known.annotations.contains(&("authentication.k8s.io/legacy-token-manual-secret", "t".to_owned()))
    );
    let account = json!({"metadata": {"name": "sa", "uid": "s1"}, "secrets": [{"name": "t"}]});
    cluster.put("core/serviceaccounts/ns/sa", account).await;
    let known = cluster.auth.authenticate(&headers, None, "/").await.unwrap();
    assert!(known.warnings[0].starts_with("Use tokens from the TokenRequest API"), "{known:?}");
}

#[tokio::test]
async fn bootstrap_tokens_are_taken_where_they_are_turned_on() {
    let data: serde_json::Map<String, Value> = [
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-authentication", "true"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), STANDARD.encode(value).into()))
    .collect();
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": data});
    for bootstrap_tokens in [true, false] {
        let cluster = cluster_with(Access { bootstrap_tokens, ..Access::default() }).await;
        cluster.put("core/secrets/kube-system/bootstrap-token-abcdef", secret.clone()).await;
        let user = cluster.user_of("abcdef.0123456789abcdef").await;
        assert_eq!(user.is_ok(), bootstrap_tokens, "{user:?}");
        assert!(cluster.user_of("abcdef.0123456789abcdeg").await.is_err());
        assert!(user.is_ok_and(|user| user.name == "system:bootstrap:abcdef") || !bootstrap_tokens);
    }
}

#[tokio::test]
async fn strangers_come_where_they_may() {
    let paths = ["/livez".to_owned()].into();
    let cluster = cluster_with(Access { anonymous: Anonymous::At(paths), ..Access::default() }).await;
    let come = async |path: &str| cluster.auth.authenticate(&HeaderMap::new(), None, path).await.is_ok();
    assert!(come("/livez").await && !come("/livez/x").await && !come("/version").await);
    cluster.auth.set_anonymous(Anonymous::Nowhere);
    assert!(!come("/livez").await);
}

#[tokio::test]
async fn authorisers_are_asked_in_order() {
    let cluster = cluster().await;
    let user = UserInfo::authenticated("u", []);
    let ask = async || cluster.auth.authorize(&pods(&user)).await;
    cluster.auth.set_authorizers(vec![Authorizer::AlwaysDeny]);
    assert_eq!(ask().await, Decision::NoOpinion("Everything is forbidden.".to_owned()));
    assert_eq!(cluster.auth.decide(&pods(&UserInfo::api_server())), Decision::Allow(String::new()));
    cluster.auth.set_authorizers(vec![Authorizer::AlwaysDeny, Authorizer::AlwaysAllow]);
    assert_eq!(ask().await, Decision::Allow(String::new()));
}
