//! Who comes in, and who decides: issuers of tokens, webhooks, and files that change while the server runs.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use common::hook::Hook;
use common::read;
use http::Request;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Secret;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use skiff_apiserver::testing::TestServer;
use skiff_apiserver::{
    Authentication, AuthenticationOptions, Authorization, AuthorizationOptions, Outcomes, UserInfo,
    WebhookOptions,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A server that listens on loopback.
struct Server {
    test: TestServer,
    url: String,
    _stop: DropGuard,
}

/// What somebody with a token is answered.
struct Said {
    status: u16,
    warnings: Vec<String>,
    body: Value,
}

impl Server {
    async fn start(authentication: Authentication, authorization: Authorization) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let test = TestServer::with_access(address.ip(), authentication, authorization).await;
        let shutdown = CancellationToken::new();
        tokio::spawn(test.server.clone().serve(listener, shutdown.clone()));
        Self { test, url: format!("https://{address}"), _stop: shutdown.drop_guard() }
    }

    /// A request with a token; without one if that is empty.
    async fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> Said {
        let mut kubeconfig = Kubeconfig::from_yaml(&self.test.pki.kubeconfig(&self.url, "skiff")).unwrap();
        let credentials = if token.is_empty() { json!({}) } else { json!({"token": token}) };
        kubeconfig.auth_infos[0].auth_info = Some(serde_json::from_value(credentials).unwrap());
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer =
            client.send(request.body(kube::client::Body::from(text.into_bytes())).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let warnings = answer.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| value.to_str().unwrap().to_owned()).collect();
        let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        Said { status, warnings, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// As whom a token comes; the status of the refusal else.
    async fn who(&self, token: &str) -> Result<Value, u16> {
        let said = self.ask(token, "POST", REVIEWS, json!({})).await;
        if said.status == 201 { Ok(said.body["status"]["userInfo"].clone()) } else { Err(said.status) }
    }

    /// A request of the administrator's, in process.
    async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        use tower::ServiceExt as _;
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Full::from(Bytes::from(body.to_string()))).unwrap();
        let answer =
            read(self.test.server.service(UserInfo::api_server()).oneshot(request).await.unwrap()).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        answer.body
    }
}

/// An issuer of tokens.
struct Issuer {
    told: Told,
    certificate: String,
    _stop: DropGuard,
}

/// What an issuer tells.
#[derive(Clone)]
struct Told {
    url: String,
    keys: Arc<Mutex<Vec<(String, EcdsaKeyPair)>>>,
    /// At `/groups`, to whom shows this.
    groups: Arc<Mutex<(String, String)>>,
}

impl Issuer {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (told, stop) =
            (Told { url, keys: Arc::default(), groups: Arc::default() }, CancellationToken::new());
        let serve = serve(listener, TlsAcceptor::from(Arc::new(config)), told.clone());
        let ended = stop.clone();
        tokio::spawn(async move { ended.run_until_cancelled(serve).await });
        let issuer = Self { told, certificate: made.cert.pem(), _stop: stop.drop_guard() };
        issuer.rotate("one");
        issuer
    }

    /// Has another key from now on.
    fn rotate(&self, id: &str) {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        *self.told.keys.lock().unwrap() = vec![(id.to_owned(), pair)];
    }

    fn token(&self, more: Value) -> String {
        let keys = self.told.keys.lock().unwrap();
        let (id, pair) = &keys[0];
        let mut claims =
            json!({"iss": self.told.url, "aud": "skiff", "exp": 4_000_000_000_u64, "sub": "bob"});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let header = json!({"alg": "ES256", "kid": id}).to_string();
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Says these groups to whom shows a token of its own, and what other issuers say of where they are.
    fn say_groups(&self, groups: Value) -> Value {
        let said = self.token(json!({"groups": groups, "sub": "groups"}));
        *self.told.groups.lock().unwrap() = ("Bearer secret".to_owned(), said);
        let source = json!({"endpoint": format!("{}/groups", self.told.url), "access_token": "secret"});
        json!({"_claim_names": {"groups": "there"}, "_claim_sources": {"there": source}})
    }

    /// An AuthenticationConfiguration with it.
    fn configuration(&self, prefix: &str) -> Value {
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": self.told.url, "audiences": ["skiff"], "certificateAuthority": self.certificate},
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": prefix},
                    "groups": {"expression": "claims.?roles.orValue([])"},
                },
                "userValidationRules": [{"expression": "user.username != 'x:mallory'", "message": "not her"}],
            }],
            "anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]},
        })
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, told: Told) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, Told { url, keys, groups }) = (tls.clone(), told.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let shown =
                    request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
                if request.uri().path() == "/groups" {
                    let (wanted, said) = groups.lock().unwrap().clone();
                    let answer = if shown == Some(wanted) { (200, said) } else { (401, String::new()) };
                    return std::future::ready(Ok::<_, hyper::Error>(respond(answer)));
                }
                let told = match request.uri().path() {
                    "/.well-known/openid-configuration" => {
                        json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
                    }
                    "/keys" => {
                        let keys = keys.lock().unwrap();
                        let jwk = |(id, pair): &(String, EcdsaKeyPair)| {
                            let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                            json!({"kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y, "use": "sig", "alg": "ES256"})
                        };
                        json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()})
                    }
                    other => json!({"nothing at": other}),
                };
                std::future::ready(Ok(respond((200, told.to_string()))))
            });
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

fn respond((status, text): (u16, String)) -> http::Response<Full<Bytes>> {
    http::Response::builder().status(status).body(Full::from(text)).unwrap()
}

fn written(dir: &TempDir, name: &str, value: &Value) -> PathBuf {
    let file = dir.path().join(name);
    std::fs::write(&file, value.to_string()).unwrap();
    file
}

/// The same, in one step, so that nobody reads half of it.
fn replaced(dir: &TempDir, name: &str, value: &Value) {
    let whole = written(dir, "whole", value);
    std::fs::rename(whole, dir.path().join(name)).unwrap();
}

/// A kubeconfig of a hook.
fn kubeconfig(dir: &TempDir, hook: &Hook) -> PathBuf {
    let value = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("https://{}/x", hook.address), "certificate-authority-data": hook.ca}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    written(dir, "kubeconfig.yaml", &value)
}

#[tokio::test(flavor = "multi_thread")]
async fn issuers_vouch_for_users_and_may_change_their_keys() {
    let (issuer, dir) = (Issuer::start().await, tempfile::tempdir().unwrap());
    let file = written(&dir, "authentication.yaml", &issuer.configuration("x:"));
    let options = AuthenticationOptions { file: Some(file.clone()), ..AuthenticationOptions::default() };
    let server = Server::start(options.read().unwrap(), Authorization::default()).await;
    let user = server.who(&issuer.token(json!({"roles": ["a"]}))).await.unwrap();
    assert_eq!(user["username"], "x:bob");
    assert_eq!(user["groups"], json!(["a", "system:authenticated"]));
    assert_eq!(server.who(&issuer.token(json!({"sub": "mallory"}))).await, Err(401));
    assert_eq!(server.who(&issuer.token(json!({"aud": "other"}))).await, Err(401));
    assert_eq!(server.who(&issuer.token(json!({"exp": 5}))).await, Err(401));

    let review = json!({"spec": {"token": issuer.token(json!({}))}});
    let answer = server.admin("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).await;
    assert_eq!(answer["status"]["user"]["username"], "x:bob", "{answer}");
    let review = json!({"spec": {"token": issuer.token(json!({})), "audiences": ["vault"]}});
    let answer = server.admin("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).await;
    assert_eq!(answer["status"]["authenticated"], Value::Null, "{answer}");

    issuer.rotate("two");
    // An issuer is asked for its keys once in a second at most.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(server.who(&issuer.token(json!({}))).await.is_ok(), "the key is fetched");

    assert_eq!(server.ask("", "GET", "/livez", Value::Null).await.status, 200);
    assert_eq!(server.ask("", "GET", "/version", Value::Null).await.status, 401);

    let mut reloads = server.test.server.reloads();
    let mut reloaded = async |success: u64, failure: u64| {
        let wait = reloads.wait_for(|reloads| reloads.authentication == Outcomes { success, failure });
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it is read again").unwrap();
    };
    let write = |value: Value| replaced(&dir, "authentication.yaml", &value);
    let token = issuer.token(json!({}));
    write(json!({"kind": "Nonsense"}));
    reloaded(0, 1).await;
    assert!(server.who(&token).await.is_ok(), "what cannot be used changes nothing");
    write(json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}));
    reloaded(1, 1).await;
    assert_eq!(server.who(&token).await, Err(401));
    assert_eq!(server.ask("", "GET", "/version", Value::Null).await.status, 200);
    write(issuer.configuration("y:"));
    reloaded(2, 1).await;
    assert_eq!(server.who(&token).await.unwrap()["username"], "y:bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_may_be_said_by_another_issuer() {
    let (issuer, other, dir) = (Issuer::start().await, Issuer::start().await, tempfile::tempdir().unwrap());
    let mut configuration = issuer.configuration("x:");
    let jwt = &mut configuration["jwt"][0];
    jwt["issuer"]["certificateAuthority"] = (issuer.certificate.clone() + &other.certificate).into();
    jwt["claimMappings"]["groups"] = json!({"claim": "groups", "prefix": "g:"});
    let file = written(&dir, "authentication.yaml", &configuration);
    let options = AuthenticationOptions { file: Some(file), ..AuthenticationOptions::default() };
    let server = Server::start(options.read().unwrap(), Authorization::default()).await;
    let groups = async |more: Value| server.who(&issuer.token(more)).await.map(|user| user["groups"].clone());

    let elsewhere = other.say_groups(json!(["a", "b"]));
    assert_eq!(groups(elsewhere.clone()).await, Ok(json!(["g:a", "g:b", "system:authenticated"])));
    let itself = issuer.say_groups(json!("c"));
    assert_eq!(groups(itself).await, Ok(json!(["g:c", "system:authenticated"])));
    let mut both = elsewhere.clone();
    both["groups"] = json!(["own"]);
    assert_eq!(groups(both).await, Ok(json!(["g:own", "system:authenticated"])));
    // Somebody else's signature, a token that is not shown, and a source that there is not.
    other.told.groups.lock().unwrap().1 = issuer.token(json!({"iss": other.told.url, "groups": ["root"]}));
    assert_eq!(groups(elsewhere.clone()).await, Err(401));
    let mut unknown = other.say_groups(json!(["a"]));
    unknown["_claim_sources"]["there"]["access_token"] = json!("wrong");
    assert_eq!(groups(unknown).await, Err(401));
    assert_eq!(groups(json!({"_claim_names": {"groups": "nowhere"}})).await, Err(401));
    other.say_groups(json!(["d"]));
    let token = issuer.token(elsewhere);
    let user = server.who(&token).await.unwrap();
    assert_eq!(user["groups"], json!(["g:d", "system:authenticated"]));
    other.say_groups(json!(["e"]));
    assert_eq!(server.who(&token).await.unwrap(), user, "what was fetched just now is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_knows_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(|review| {
        let user = json!({"username": "carol", "groups": ["g"], "extra": {"acme.io/k": ["v"]}});
        let known = review["spec"]["token"] == "letmein";
        let status = if known {
            json!({"authenticated": true, "user": user})
        } else {
            json!({"authenticated": false})
        };
        json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
    })
    .await;
    let webhook = WebhookOptions {
        file: Some(kubeconfig(&dir, &hook)),
        version: "v1".to_owned(),
        ttl: Duration::from_secs(120),
        ..WebhookOptions::default()
    };
    let options = AuthenticationOptions { webhook, ..AuthenticationOptions::default() };
    let server = Server::start(options.read().unwrap(), Authorization::default()).await;
    for _ in 0..2 {
        let user = server.who("letmein").await.unwrap();
        assert_eq!(user["username"], "carol");
        assert_eq!(user["groups"], json!(["g", "system:authenticated"]));
        assert_eq!(user["extra"], json!({"acme.io/k": ["v"]}));
    }
    assert_eq!(server.who("other").await, Err(401));
    let asked = hook.asked();
    assert_eq!(asked.len(), 2, "what is known is not asked again: {asked:?}");
    assert_eq!(asked[0]["spec"]["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
}

/// An AuthorizationConfiguration of Node, RBAC and a webhook.
fn authorization(kubeconfig: &Path, policy: &str, conditions: Value) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "Webhook", "name": "hook", "webhook": {
                "timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
                "authorizedTTL": "1m", "unauthorizedTTL": "1m", "failurePolicy": policy,
                "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": kubeconfig},
                "matchConditions": conditions,
            }},
            {"type": "Node", "name": "node"},
            {"type": "RBAC", "name": "rbac"},
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_decides_what_conditions_lead_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let hook = Hook::start(|review| {
        let status = match review["spec"]["resourceAttributes"]["resource"].as_str() {
            Some("configmaps") => json!({"allowed": true, "reason": "why not"}),
            Some("secrets") => json!({"allowed": false, "denied": true, "reason": "never"}),
            Some("pods") => json!({"httpCode": 400, "text": "broken"}),
            _ => json!({"allowed": false}),
        };
        if status["httpCode"].is_u64() {
            return status;
        }
        json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": status})
    })
    .await;
    let conditions = json!([
        {"expression": "has(request.resourceAttributes)"},
        {"expression": "request.resourceAttributes.resource != 'selfsubjectreviews'"},
    ]);
    let kubeconfig = kubeconfig(&dir, &hook);
    let file = written(&dir, "authorization.yaml", &authorization(&kubeconfig, "NoOpinion", conditions));
    let options = AuthorizationOptions { file: Some(file), ..AuthorizationOptions::default() };
    let server = Server::start(Authentication::default(), options.read().unwrap()).await;
    server
        .admin("POST", "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "robot"}}))
        .await;
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let token = server.admin("POST", path, json!({"spec": {"audiences": []}})).await;
    let token = token["status"]["token"].as_str().unwrap().to_owned();
    let get = async |resource: &str| {
        server.ask(&token, "GET", &format!("/api/v1/namespaces/default/{resource}"), Value::Null).await
    };
    hook.asked();
    assert_eq!(get("configmaps").await.status, 200);
    assert_eq!(get("configmaps").await.status, 200);
    let asked = hook.asked();
    assert_eq!(asked.len(), 1, "what is allowed is remembered: {asked:?}");
    assert_eq!(asked[0]["spec"]["user"], "system:serviceaccount:default:robot");
    assert_eq!(get("configmaps?labelSelector=a%3Db,!c").await.status, 200);
    let asked = hook.asked();
    let requirements =
        json!([{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "DoesNotExist"}]);
    let attributes = &asked[0]["spec"]["resourceAttributes"];
    assert_eq!(attributes["labelSelector"], json!({"requirements": requirements}));
    assert!(attributes["fieldSelector"].is_null(), "{attributes}");
    let secrets = get("secrets").await;
    assert_eq!(secrets.status, 403);
    assert!(secrets.body["message"].as_str().unwrap().ends_with(": never"), "{}", secrets.body);
    let pods = get("pods").await;
    assert_eq!(pods.status, 500, "{}", pods.body);
    assert_eq!(get("services").await.status, 403);
    assert!(server.who(&token).await.is_ok(), "the webhook is not asked about this");

    let attributes = json!({"verb": "get", "resource": "secrets", "namespace": "default"});
    let review = json!({"spec": {"user": "x", "resourceAttributes": attributes}});
    let answer = server.admin("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review).await;
    assert_eq!(answer["status"], json!({"allowed": false, "denied": true, "reason": "never"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_a_file_decide() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policies.jsonl");
    let kind = r#""apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy""#;
    let spec = r#"{"group": "system:unauthenticated", "namespace": "default", "resource": "configmaps", "readonly": true}"#;
    std::fs::write(&file, format!("# strangers\n{{{kind}, \"spec\": {spec}}}\n")).unwrap();
    let options = AuthorizationOptions {
        modes: vec!["ABAC".to_owned()],
        policies: Some(file),
        ..AuthorizationOptions::default()
    };
    let server = Server::start(Authentication::default(), options.read().unwrap()).await;
    let get = async |path: &str| server.ask("", "GET", path, Value::Null).await;
    assert_eq!(get("/api/v1/namespaces/default/configmaps").await.status, 200);
    let refused = get("/api/v1/namespaces/default/secrets").await;
    assert_eq!(refused.status, 403);
    assert!(refused.body["message"].as_str().unwrap().ends_with(": No policy matched."), "{}", refused.body);
    assert_eq!(get("/api/v1/configmaps").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_decides_may_change_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let only = |of: &str| {
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
            "authorizers": [{"type": of, "name": "one"}],
        })
    };
    let file = written(&dir, "authorization.yaml", &only("AlwaysAllow"));
    let options = AuthorizationOptions { file: Some(file), ..AuthorizationOptions::default() };
    let server = Server::start(Authentication::default(), options.read().unwrap()).await;
    let secrets = async || server.ask("", "GET", "/api/v1/secrets", Value::Null).await.status;
    assert_eq!(secrets().await, 200);
    let mut reloads = server.test.server.reloads();
    replaced(&dir, "authorization.yaml", &only("RBAC"));
    let wait = reloads.wait_for(|reloads| reloads.authorization.success == 1);
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it is read again").unwrap();
    assert_eq!(secrets().await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_of_tokens_in_secrets_are_noted() {
    let server = Server::start(Authentication::default(), Authorization::default()).await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = server.admin("POST", accounts, json!({"metadata": {"name": "robot"}})).await;
    let uid = account["metadata"]["uid"].as_str().unwrap();
    let token = server.test.server.secret_token("default", "robot", uid, "t").unwrap();
    let secret = json!({
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token", "data": {"token": STANDARD.encode(&token)},
    });
    server.admin("POST", "/api/v1/namespaces/default/secrets", secret).await;
    let user = server.who(&token).await.unwrap();
    assert_eq!(user["username"], "system:serviceaccount:default:robot");
    let secrets =
        Api::<Secret>::namespaced(server.test.server.client(UserInfo::api_server(), "test"), "default");
    let label = "kubernetes.io/legacy-token-last-used";
    let is_noted = |secret: Option<&Secret>| secret.is_some_and(|secret| secret.labels().contains_key(label));
    let noted = tokio::time::timeout(Duration::from_secs(20), await_condition(secrets, "t", is_noted)).await;
    let noted = noted.expect("the use is noted").unwrap().unwrap();
    assert!(noted.labels()[label].parse::<jiff::civil::Date>().is_ok(), "{noted:?}");
    let named = json!({"metadata": {"name": "robot"}, "secrets": [{"name": "t"}]});
    server.admin("PUT", &format!("{accounts}/robot"), named).await;
    let said = server.ask(&token, "POST", REVIEWS, json!({})).await;
    assert!(said.warnings[0].contains("Use tokens from the TokenRequest API"), "{:?}", said.warnings);
    let tracked =
        "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";
    let since = server.admin("GET", tracked, Value::Null).await;
    assert!(since["data"]["since"].as_str().unwrap().parse::<jiff::civil::Date>().is_ok(), "{since}");
}
