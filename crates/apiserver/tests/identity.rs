//! Who a client is, seen from outside: certificates of the kubeconfig, tokens, nobody; over TLS.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{ListParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use skiff_apiserver::testing::TestServer;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

struct Server {
    test: TestServer,
    url: String,
    _shutdown: DropGuard,
}

async fn server() -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port on loopback");
    let address = listener.local_addr().expect("a bound socket has an address");
    let test = TestServer::start(address.ip()).await;
    let shutdown = CancellationToken::new();
    tokio::spawn(test.server.clone().serve(listener, shutdown.clone()));
    Server { test, url: format!("https://{address}"), _shutdown: shutdown.drop_guard() }
}

impl Server {
    /// A client as the kubeconfig has it, with other credentials if given.
    async fn client(&self, credentials: Option<AuthInfo>) -> Client {
        let mut kubeconfig =
            Kubeconfig::from_yaml(&self.test.pki.kubeconfig(&self.url, "skiff")).expect("YAML");
        if let Some(credentials) = credentials {
            kubeconfig.auth_infos[0].auth_info = Some(credentials);
        }
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a usable kubeconfig");
        Client::try_from(config).expect("a client")
    }

    async fn admin(&self) -> Client {
        self.client(None).await
    }

    async fn with_token(&self, token: &str) -> Client {
        let credentials = json!({"token": token});
        self.client(Some(serde_json::from_value(credentials).expect("credentials"))).await
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of the kind")
}

async fn who(client: &Client) -> kube::Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let info = review.status.and_then(|status| status.user_info).unwrap_or_default();
    Ok(format!("{} {:?}", info.username.unwrap_or_default(), info.groups.unwrap_or_default()))
}

async fn may(client: &Client, verb: &str, resource: &str) -> bool {
    let attributes = json!({"namespace": "default", "verb": verb, "resource": resource});
    let review = typed(json!({"spec": {"resourceAttributes": attributes}}));
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await.expect("everybody may ask");
    answer.status.is_some_and(|status| status.allowed)
}

async fn token(client: &Client) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let account = typed(json!({"metadata": {"name": "robot"}}));
    accounts.create(&PostParams::default(), &account).await.expect("an account");
    let request = TokenRequest { spec: Some(TokenRequestSpec::default()), ..TokenRequest::default() };
    let answer = accounts.create_token_request("robot", &PostParams::default(), &request).await;
    answer.expect("an answer").status.and_then(|status| status.token).expect("a token")
}

fn code(error: &kube::Error) -> u16 {
    if let kube::Error::Api(status) = error { status.code } else { 0 }
}

#[tokio::test]
async fn the_kubeconfig_makes_an_administrator() {
    let server = server().await;
    let admin = server.admin().await;
    let expected = r#"skiff-admin ["system:masters", "system:authenticated"]"#;
    assert_eq!(who(&admin).await.expect("an answer"), expected);
    assert!(may(&admin, "delete", "nodes").await);
    let namespaces: Api<Namespace> = Api::all(admin);
    let list = namespaces.list(&ListParams::default()).await.expect("a list");
    let names: Vec<String> = list.items.into_iter().filter_map(|n| n.metadata.name).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
}

#[tokio::test]
async fn tokens_make_service_accounts_and_bindings_count_at_once() {
    let server = server().await;
    let admin = server.admin().await;
    let robot = server.with_token(&token(&admin).await).await;
    let name = who(&robot).await.expect("an answer");
    assert!(name.starts_with("system:serviceaccount:default:robot "), "{name}");

    let maps: Api<ConfigMap> = Api::namespaced(robot.clone(), "default");
    let error = maps.list(&ListParams::default()).await.expect_err("not allowed yet");
    assert_eq!(code(&error), 403);
    let text = r#"configmaps is forbidden: User "system:serviceaccount:default:robot" cannot list resource "configmaps" in API group "" in the namespace "default""#;
    assert!(error.to_string().contains(text), "{error}");

    let bindings: Api<RoleBinding> = Api::namespaced(admin, "default");
    let binding = typed(json!({
        "metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
    }));
    bindings.create(&PostParams::default(), &binding).await.expect("a binding");
    maps.list(&ListParams::default()).await.expect("allowed from now on");
    assert!(may(&robot, "list", "pods").await && !may(&robot, "create", "pods").await);

    let roles: Api<ClusterRole> = Api::all(robot.clone());
    let error = roles.list(&ListParams::default()).await.expect_err("the binding is for a namespace");
    assert_eq!(code(&error), 403);
}

#[tokio::test]
async fn nobody_and_impostors() {
    let server = server().await;
    let nobody = server.client(Some(AuthInfo::default())).await;
    nobody.apiserver_version().await.expect("the version is public");
    let error = who(&nobody).await.expect_err("reviews are not public");
    assert_eq!(code(&error), 403);
    assert!(
        error.to_string().contains(r#"User "system:anonymous" cannot create resource "selfsubjectreviews""#)
    );
    let impostor = server.with_token("eyJhbGciOiJub25lIn0.e30.").await;
    let error = impostor.apiserver_version().await.expect_err("a bad token is refused everywhere");
    assert_eq!(code(&error), 401);
}
