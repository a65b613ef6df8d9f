//! What the registry needs of others, as narrow as it needs it. What calls webhooks is given as
//! [`skiff_admission::Webhooks`], what converts objects by one as [`skiff_machinery::Convert`].

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use skiff_admission::Webhooks;
use skiff_auth::{Attributes, Auth, Decision, Refusal};
use skiff_identity::UserInfo;
use skiff_machinery::{Catalogue, Convert, Kind, Namespace, Object, Part};
use tokio::sync::watch;

/// The kinds on offer, which change while the server runs.
pub trait Offer: Send + Sync {
    /// Those of now.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// Those of now and whenever they change.
    fn catalogues(&self) -> watch::Receiver<Arc<Catalogue>>;

    /// Offers these kinds besides those that are built in. When it returns, whoever asks is told of them.
    fn replace(&self, custom: &[Arc<Kind>]);
}

/// Who calls webhooks of admission, for each plugin.
pub struct Callers {
    /// Those that change objects.
    pub mutating: Arc<dyn Webhooks>,
    /// Those that only refuse.
    pub validating: Arc<dyn Webhooks>,
}

/// Who may do what, and who somebody is, as far as it is asked in the middle of a call.
#[async_trait]
pub trait Authority: Send + Sync {
    /// Whether somebody may do something. What has been written counts.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// The same by what is known now, which may be a moment old: for who cannot wait.
    fn decide(&self, attributes: &Attributes<'_>) -> Decision;

    /// The checks on a write that depend on who makes it; `new` is absent for deletions, `old` for creations.
    async fn admit(
        &self,
        attributes: &Attributes<'_>,
        new: Option<&Object>,
        old: Option<&Object>,
    ) -> Result<(), Refusal>;

    /// Answers a review; `shown` is its metadata as an error shows them.
    async fn review(
        &self,
        namespace: &str,
        request: Object,
        user: &UserInfo,
        shown: &str,
    ) -> Result<Object, Refusal>;

    /// Answers a TokenRequest.
    async fn issue_token(
        &self,
        namespace: Namespace<'_>,
        account: &str,
        request: Object,
    ) -> Result<Object, Refusal>;
}

#[async_trait]
impl Authority for Auth {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        Self::authorize(self, attributes).await
    }

    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        Self::decide(self, attributes)
    }

    async fn admit(
        &self,
        attributes: &Attributes<'_>,
        new: Option<&Object>,
        old: Option<&Object>,
    ) -> Result<(), Refusal> {
        Self::admit(self, attributes, new, old).await
    }

    async fn review(
        &self,
        namespace: &str,
        request: Object,
        user: &UserInfo,
        shown: &str,
    ) -> Result<Object, Refusal> {
        Self::review(self, namespace, request, user, shown).await
    }

    async fn issue_token(
        &self,
        namespace: Namespace<'_>,
        account: &str,
        request: Object,
    ) -> Result<Object, Refusal> {
        Self::issue_token(self, namespace, account, request).await
    }
}

/// Makes what converts the objects of a definition out of its `spec.conversion.webhook`.
pub type Converters = Arc<dyn Fn(&Value) -> Arc<dyn Convert> + Send + Sync>;

/// Tells how the parts of the control plane are.
pub type Parts = Arc<dyn Fn() -> Vec<Part> + Send + Sync>;
