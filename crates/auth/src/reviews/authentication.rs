//! TokenReview and SelfSubjectReview.

use serde_json::{Value, json};
use skiff_identity::UserInfo;
use skiff_machinery::Object;

use super::{strings, user_info};
use crate::{Auth, AuthnError, Identified, Refusal};

impl Auth {
    /// Whose token it is, and for which of the asked audiences.
    pub(super) async fn token_review(&self, request: &Object) -> Result<Value, Refusal> {
        let token = request.str(&["spec", "token"]);
        if token.is_empty() {
            return Err(Refusal::BadRequest(
                "token is required for TokenReview in authentication".to_owned(),
            ));
        }
        let asked = strings(request, &["spec", "audiences"]);
        let own = vec![self.0.issuer.url.clone()];
        let audiences = if asked.is_empty() { &own } else { &asked };
        match self.token_user(token, audiences).await {
            Ok(Identified { user, audiences, .. }) => {
                Ok(json!({"authenticated": true, "user": user_info(&user), "audiences": audiences}))
            }
            Err(AuthnError::Unauthorized(reason)) => Ok(json!({"user": {}, "error": reason.to_string()})),
            Err(AuthnError::Refused(refusal)) => Err(refusal),
        }
    }
}

/// Who the caller is.
pub(super) fn self_review(user: &UserInfo) -> Value {
    json!({"userInfo": user_info(user)})
}
