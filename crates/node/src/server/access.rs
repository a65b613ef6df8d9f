//! Whether a client may: the API server says who a token belongs to and what everybody may do, as it does for the kubelet.
//! Its words are remembered for as long as the kubelet remembers them.

use super::identity::Identity;
use super::respond::Refusal;
use super::wanted::Wanted;
use http::StatusCode;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Defaults of the kubelet's configuration: `authentication.webhook.cacheTTL`, `authorization.webhook.cacheAuthorizedTTL` and
/// `cacheUnauthorizedTTL`.
pub(super) const TOKEN_TTL: Duration = Duration::from_secs(120);
pub(super) const AUTHORIZED_TTL: Duration = Duration::from_secs(300);
pub(super) const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);
/// Most answers that are remembered of each kind.
const MOST: usize = 1024;
/// Most questions to the API server at once; strangers' requests wait for a place.
const QUESTIONS: usize = 16;

/// The API server's word on clients.
pub(crate) struct Access {
    client: Client,
    node: String,
    places: Semaphore,
    /// By a digest of the token; `None` for nobody's.
    tokens: Mutex<Remembered<[u8; 32], Option<User>>>,
    rights: Mutex<Remembered<(User, &'static str, &'static str), bool>>,
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct User {
    name: String,
    uid: Option<String>,
    groups: Vec<String>,
    /// Sorted by name.
    extra: Vec<(String, Vec<String>)>,
}

impl Access {
    pub(crate) fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
            places: Semaphore::new(QUESTIONS),
            tokens: Mutex::default(),
            rights: Mutex::default(),
        }
    }

    /// Refuses a client that may not.
    pub(crate) async fn check(&self, identity: Identity, wanted: &Wanted) -> Result<(), Refusal> {
        if identity.is_master() {
            return Ok(());
        }
        let user = match identity {
            Identity::Anonymous => None,
            Identity::Certified { name, mut groups } => {
                groups.push("system:authenticated".to_owned());
                Some(User { name, uid: None, groups, extra: Vec::new() })
            }
            Identity::Bearer(token) => self.user_of(token).await?,
        };
        let user = user.ok_or_else(|| Refusal(StatusCode::UNAUTHORIZED, "Unauthorized".into()))?;
        for subresource in wanted.subresources {
            if self.may(&user, wanted.verb, subresource).await? {
                return Ok(());
            }
        }
        Err(Refusal(
            StatusCode::FORBIDDEN,
            format!(
                "Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[{}])\n",
                user.name,
                wanted.verb,
                wanted.subresources.join(" ")
            ),
        ))
    }

    /// Whose token it is.
    async fn user_of(&self, token: String) -> Result<Option<User>, Refusal> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.tokens.lock().get(&digest) {
            return Ok(known);
        }
        let spec = TokenReviewSpec { token, ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = self.ask(&review).await?.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true)).map(User::from);
        let ttl = if user.is_some() { TOKEN_TTL } else { UNAUTHORIZED_TTL };
        self.tokens.lock().put(digest, user.clone(), ttl);
        Ok(user)
    }

    async fn may(&self, user: &User, verb: &'static str, subresource: &'static str) -> Result<bool, Refusal> {
        let key = (user.clone(), verb, subresource);
        if let Some(known) = self.rights.lock().get(&key) {
            return Ok(known);
        }
        let review =
            SubjectAccessReview { spec: question(user, verb, subresource, &self.node), ..Default::default() };
        let allowed = self.ask(&review).await?.status.is_some_and(|status| status.allowed);
        let ttl = if allowed { AUTHORIZED_TTL } else { UNAUTHORIZED_TTL };
        self.rights.lock().put(key, allowed, ttl);
        Ok(allowed)
    }

    async fn ask<K>(&self, review: &K) -> Result<K, Refusal>
    where
        K: kube::Resource<DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope>,
    {
        let failed = |why: String| {
            tracing::warn!(why, "the API server cannot be asked about a client of the kubelet API");
            Refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Authorization error: the API server cannot be asked\n".into(),
            )
        };
        let _place = self.places.acquire().await.map_err(|closed| failed(closed.to_string()))?;
        let api: Api<K> = Api::all(self.client.clone());
        api.create(&PostParams::default(), review)
            .await
            .map_err(|error| failed(skiff_informer::describe(&error)))
    }
}

fn question(user: &User, verb: &str, subresource: &str, node: &str) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: user.uid.clone(),
        groups: Some(user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.iter().cloned().collect()),
        resource_attributes: Some(ResourceAttributes {
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(subresource.to_owned()),
            name: Some(node.to_owned()),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    }
}

impl From<UserInfo> for User {
    fn from(user: UserInfo) -> Self {
        Self {
            name: user.username.unwrap_or_default(),
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default().into_iter().collect(),
        }
    }
}

/// Answers that hold for a time; at most [`MOST`].
struct Remembered<K, V>(HashMap<K, (Instant, V)>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    fn put(&mut self, key: K, value: V, ttl: Duration) {
        let now = Instant::now();
        if self.0.len() >= MOST {
            self.0.retain(|_, (until, _)| *until > now);
        }
        if self.0.len() >= MOST {
            self.0.clear(); // asking again is always right
        }
        self.0.insert(key, (now + ttl, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_few_and_hold_for_a_time() {
        let mut remembered = Remembered::default();
        remembered.put(0, "a", TOKEN_TTL);
        assert_eq!(remembered.get(&0), Some("a"));
        tokio::time::advance(TOKEN_TTL).await;
        assert_eq!(remembered.get(&0), None);
        for key in 0..=MOST {
            remembered.put(key, "b", TOKEN_TTL);
        }
        assert!(remembered.0.len() <= MOST);
        assert_eq!(remembered.get(&MOST), Some("b"));
    }

    /// Answers like an API server on which only the token `good` is somebody's, and that somebody may only get
    /// nodes/metrics. Counts the questions.
    fn access() -> (Access, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
        use serde_json::{Value, json};
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = asked.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                let bytes = request.into_body().collect_bytes().await.unwrap();
                let mut review: Value = serde_json::from_slice(&bytes).unwrap();
                let spec = &review["spec"];
                let status = if let Some(token) = spec.get("token") {
                    json!({"authenticated": token == "good", "user": {"username": "u", "groups": ["g"]}})
                } else {
                    let attributes = &spec["resourceAttributes"];
                    let right = attributes["verb"] == "get" && attributes["subresource"] == "metrics";
                    json!({"allowed": right && spec["user"] == "u" && attributes["name"] == "n"})
                };
                review["status"] = status;
                let body = kube::client::Body::from(serde_json::to_vec(&review).unwrap());
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            }
        });
        (Access::new(Client::new(service, "default"), "n"), asked)
    }

    #[tokio::test]
    async fn the_api_server_decides_and_is_asked_once() {
        let (access, asked) = access();
        let check = async |token: &str, path: &str, expected: Option<u16>| {
            let wanted = Wanted::of(&http::Method::GET, path);
            let answer = access.check(Identity::Bearer(token.into()), &wanted).await;
            assert_eq!(answer.err().map(|refusal| refusal.0.as_u16()), expected, "{token} {path}");
        };
        for _ in 0..2 {
            check("good", "/metrics/resource", None).await;
            check("good", "/pods", Some(403)).await;
            check("bad", "/metrics", Some(401)).await;
        }
        // Two tokens; metrics once, pods by two rules.
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 5);
        let wanted = Wanted::of(&http::Method::GET, "/metrics");
        let anonymous = access.check(Identity::Anonymous, &wanted).await.unwrap_err();
        assert_eq!(anonymous.0, StatusCode::UNAUTHORIZED);
    }
}
