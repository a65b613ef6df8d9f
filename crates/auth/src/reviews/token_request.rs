//! TokenRequest: tokens for a ServiceAccount, bound to what they are for.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use skiff_identity::UserInfo;
use skiff_machinery::{FieldError, Namespace, Object};

use super::strings;
use crate::live::{self, Live};
use crate::token::{self, Bound, Claims, Reference};
use crate::{Auth, Refusal};

const DEFAULT_SECONDS: i64 = 3600;
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

impl Auth {
    /// Issues a token for a ServiceAccount; the answer is the TokenRequest with its `status` set. The
    /// caller must be authorised to create `serviceaccounts/token`, and have passed [`Auth::admit`].
    ///
    /// # Errors
    /// 404 for a missing ServiceAccount or bound object, 409 if the bound object is another one, 422 for
    /// bad durations, 400 for what tokens cannot be bound to.
    pub async fn issue_token(
        &self,
        namespace: Namespace<'_>,
        account: &str,
        mut request: Object,
    ) -> Result<Object, Refusal> {
        let now = Timestamp::now();
        let seconds = duration(&request)?;
        let store = &*self.0.store;
        let live = live::read(store, "serviceaccounts", namespace, account).await?;
        let live = live.ok_or_else(|| not_found("serviceaccounts", account))?;
        let mut bound = Bound {
            namespace: namespace.as_str().to_owned(),
            serviceaccount: Reference { name: account.to_owned(), uid: live.metadata.uid },
            ..Bound::default()
        };
        self.bind(&request, &mut bound).await?;
        let mut audiences = strings(&request, &["spec", "audiences"]);
        if audiences.is_empty() {
            audiences.push(self.0.issuer.url.clone());
        }
        let claims = Claims {
            aud: audiences.clone(),
            exp: now.as_second() + seconds,
            iat: now.as_second(),
            iss: self.0.issuer.url.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            nbf: now.as_second(),
            sub: UserInfo::service_account(namespace.as_str(), account).name,
            bound,
        };
        let keys = self.0.pki.token_keys();
        let token = token::sign(keys.signing(), &claims).map_err(|error| Refusal::Internal {
            what: format!("the key for tokens of serviceaccount {account:?}"),
            source: error.into(),
        })?;
        let second = |time: Timestamp| format!("{time:.0}");
        request.set(&["metadata", "name"], account);
        request.set(&["metadata", "namespace"], namespace.as_str());
        request.set(&["metadata", "creationTimestamp"], second(now));
        request.set(&["spec", "audiences"], audiences);
        request.set(&["spec", "expirationSeconds"], seconds);
        let expires = second(now + SignedDuration::from_secs(seconds));
        request.set(&["status"], json!({"token": token, "expirationTimestamp": expires}));
        Ok(request)
    }

    /// Fills in what `spec.boundObjectRef` names, after checking that it is there.
    async fn bind(&self, request: &Object, bound: &mut Bound) -> Result<(), Refusal> {
        if !request.get(&["spec", "boundObjectRef"]).is_some_and(Value::is_object) {
            return Ok(());
        }
        let field = |name: &str| request.str(&["spec", "boundObjectRef", name]);
        let (kind, name, uid) = (field("kind"), field("name"), field("uid"));
        let store = &*self.0.store;
        let version = field("apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let (resource, namespace) = match (group, kind) {
            ("", "Pod") => ("pods", Namespace::new(&bound.namespace)),
            ("", "Secret") => ("secrets", Namespace::new(&bound.namespace)),
            ("", "Node") => ("nodes", Namespace::NONE),
            _ => {
                let text = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                return Err(Refusal::BadRequest(text));
            }
        };
        if name.is_empty() {
            return Err(Refusal::BadRequest("Name parameter required.".to_owned()));
        }
        let live = live::read(store, resource, namespace, name).await?;
        let live = live.ok_or_else(|| not_found(resource, name))?;
        if !uid.is_empty() && uid != live.metadata.uid {
            return Err(Refusal::Conflict {
                resource,
                name: name.to_owned(),
                message: format!(
                    "the UID in the bound object reference ({uid}) does not match the UID in record. \
                     The object might have been deleted and then recreated"
                ),
            });
        }
        let reference = Reference { name: name.to_owned(), uid: live.metadata.uid.clone() };
        match kind {
            "Pod" => {
                bound.node = self.node_of(&live, &bound.serviceaccount.name).await?;
                bound.pod = Some(reference);
            }
            "Secret" => bound.secret = Some(reference),
            _ => bound.node = Some(reference),
        }
        Ok(())
    }

    /// The node that a pod is bound to, after checking that the pod runs under the ServiceAccount.
    async fn node_of(&self, pod: &Live, account: &str) -> Result<Option<Reference>, Refusal> {
        if pod.spec.service_account_name.as_deref() != Some(account) {
            let text = format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            );
            return Err(Refusal::BadRequest(text));
        }
        let Some(name) = pod.spec.node_name.clone().filter(|name| !name.is_empty()) else { return Ok(None) };
        let node = live::read(&*self.0.store, "nodes", Namespace::NONE, &name).await?;
        Ok(node.map(|node| Reference { name, uid: node.metadata.uid }))
    }
}

fn not_found(resource: &'static str, name: &str) -> Refusal {
    Refusal::NotFound { group: "", resource, name: name.to_owned() }
}

/// `spec.expirationSeconds`, checked.
fn duration(request: &Object) -> Result<i64, Refusal> {
    let asked = request.get(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    let seconds = asked.unwrap_or(DEFAULT_SECONDS);
    let problem = match seconds {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let errors = [FieldError::invalid("spec.expirationSeconds", seconds, problem)].into();
    let (group, kind) = ("authentication.k8s.io", "TokenRequest");
    Err(Refusal::Invalid { group, kind, name: String::new(), errors })
}
