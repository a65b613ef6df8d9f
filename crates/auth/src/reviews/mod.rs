//! Kinds that are answered and not kept: reviews of users and permissions, and requests for tokens.

mod access;
mod authentication;
mod selectors;
mod token_request;

use jiff::Timestamp;
use serde_json::{Map, Value};
use skiff_identity::UserInfo;
use skiff_machinery::Object;
use skiff_ordered::Ordered as _;

use super::{Auth, Refusal};

impl Auth {
    /// Answers a review: `TokenReview`, `SelfSubjectReview`, `SubjectAccessReview`,
    /// `LocalSubjectAccessReview`, `SelfSubjectAccessReview` or `SelfSubjectRulesReview`. The answer is the
    /// request with its `status` set. `namespace` is that of the URL (LocalSubjectAccessReview); `shown` is what an error
    /// shows of the request's metadata.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a request that asks nothing, [`Refusal::BadRequest`] for another kind.
    pub async fn review(
        &self,
        namespace: &str,
        mut request: Object,
        user: &UserInfo,
        shown: &str,
    ) -> Result<Object, Refusal> {
        let status = match request.kind() {
            "TokenReview" => self.token_review(&request).await?,
            "SelfSubjectReview" => {
                // What was asked is not told again.
                request.set(&["metadata"], Map::new());
                request.set(&["metadata", "creationTimestamp"], format!("{:.0}", Timestamp::now()));
                authentication::self_review(user)
            }
            "SubjectAccessReview" => self.subject_access(&request, None, shown).await?,
            "LocalSubjectAccessReview" => self.subject_access(&request, Some(namespace), shown).await?,
            "SelfSubjectAccessReview" => self.self_access(&request, user, shown).await?,
            "SelfSubjectRulesReview" => {
                let rules = self.self_rules(&request, user).await?;
                request.set(&["metadata"], Map::new());
                request.set(&["spec"], Map::new());
                rules
            }
            other => return Err(Refusal::BadRequest(format!("{other:?} is not a review"))),
        };
        request.set(&["status"], status);
        Ok(request)
    }
}

/// A user as `username`, `uid`, `groups` and `extra`; what is empty is left out.
fn user_info(user: &UserInfo) -> Value {
    let mut out = Map::new();
    out.insert("username".to_owned(), user.name.clone().into());
    if !user.uid.is_empty() {
        out.insert("uid".to_owned(), user.uid.clone().into());
    }
    if !user.groups.is_empty() {
        out.insert("groups".to_owned(), user.groups.clone().into());
    }
    if !user.extra.is_empty() {
        let extra = user.extra.iter().map(|(key, values)| (key.clone(), Value::from(values.clone())));
        out.insert("extra".to_owned(), Value::Object(extra.one_by_one()));
    }
    Value::Object(out)
}

/// A list of strings at a path; empty when absent.
fn strings(object: &Object, path: &[&str]) -> Vec<String> {
    let list = object.get(path).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
