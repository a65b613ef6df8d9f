//! Service account tokens of a pod: issued by the API, bound to the pod, renewed in time.

use super::content::{TokenKey, tokens};
use crate::pod::local::LocalPod;
use crate::time::{after, seconds};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::time::Duration;

/// A token is renewed at the latest when it is this old.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// The tokens of a pod and when to issue the next ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct IssuedTokens {
    pub(crate) tokens: BTreeMap<TokenKey, String>,
    pub(crate) renew_at: Option<Timestamp>,
}

/// Issues every token the pod's volumes show and `issued` lacks; on failure says why.
pub(crate) async fn issue(
    client: &Client,
    pod: &LocalPod,
    mut issued: IssuedTokens,
) -> Result<IssuedTokens, String> {
    let account = pod.spec.service_account_name.as_deref().unwrap_or("default");
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &pod.namespace);
    for key in tokens(pod) {
        if issued.tokens.contains_key(&key) {
            continue;
        }
        let now = Timestamp::now();
        let answer = api.create_token_request(account, &PostParams::default(), &request(pod, &key)).await;
        let status = answer
            .map_err(|error| format!("failed to fetch token: {error}"))?
            .status
            .ok_or_else(|| "failed to fetch token: the answer has no status".to_owned())?;
        let missing = || "failed to fetch token: the answer has no token".to_owned();
        let renew_at = renewal(now, status.expiration_timestamp.ok_or_else(missing)?.0);
        issued.renew_at = Some(issued.renew_at.map_or(renew_at, |known: Timestamp| known.min(renew_at)));
        issued.tokens.insert(key, status.token.ok_or_else(missing)?);
    }
    Ok(issued)
}

fn request(pod: &LocalPod, key: &TokenKey) -> TokenRequest {
    TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: (!key.audience.is_empty()).then(|| vec![key.audience.clone()]),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.name.clone()),
                uid: Some(pod.uid.to_string()),
            }),
            expiration_seconds: Some(key.seconds),
        }),
        ..TokenRequest::default()
    }
}

/// At four fifths of the token's life, and never later than after a day.
fn renewal(issued: Timestamp, expires: Timestamp) -> Timestamp {
    let life = seconds(expires.as_second().saturating_sub(issued.as_second()));
    after(issued, (life * 4 / 5).min(OLDEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::at;

    #[test]
    fn tokens_are_renewed_at_four_fifths() {
        assert_eq!(renewal(at(0), at(1000)), at(800));
        assert_eq!(renewal(at(0), at(10_000_000)), at(86_400));
    }
}
