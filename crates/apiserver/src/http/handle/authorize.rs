//! Who makes a request, and whether they may.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use skiff_audit::Level;
use skiff_auth::{Attributes, AuthnError, Decision, Identified};
use skiff_identity::UserInfo;
use skiff_machinery::Verb;
use skiff_machinery::selector::{FieldSelector, LabelSelector};
use skiff_registry::{ApiError, Subject};

use super::exchange::Exchange;
use crate::audit::trail::Trail;
use crate::http::caller::Caller;
use crate::http::gate::Share;
use crate::http::metrics;
use crate::http::path::{RequestInfo, ResourcePath};

impl Exchange {
    /// Who asks, and whose places the request takes.
    pub(super) async fn caller(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<(UserInfo, Share), ApiError> {
        let ((fields, labels), nobody) = (self.selectors(), UserInfo::default());
        let verb = self.method.as_str().to_ascii_lowercase();
        let wanted = match &self.info {
            RequestInfo::Resource(path) => self.attributes(&nobody, path, (fields.as_ref(), labels.as_ref())),
            RequestInfo::NonResource => Attributes::non_resource(&nobody, &verb, path),
        };
        let begin = |user: &UserInfo| self.trail.iter().for_each(|trail| trail.begin(user, &wanted));
        let (identity, peer) = match caller {
            Caller::InProcess { user, .. } => {
                begin(&user);
                return Ok(((*user).clone(), Share::Exempt));
            }
            Caller::Network { identity, peer } => (identity, peer),
        };
        let began = Instant::now();
        let known = self.server.auth.authenticate(headers, identity.as_deref(), path).await;
        metrics::authenticated(known.as_ref().ok().map(|known| &*known.user.name), began.elapsed());
        let known = known.map_err(|error| match error {
            AuthnError::Unauthorized(_) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "request not authenticated");
                let refused =
                    |trail: &Arc<Trail>| trail.unauthenticated(headers, identity.is_some(), &wanted);
                self.trail.iter().for_each(refused);
                ApiError::Unauthorized
            }
            AuthnError::Refused(refusal) => refusal.into(),
        })?;
        begin(&known.user);
        let user = self.told(known);
        let user = match self.server.auth.impersonate(headers, &user, &wanted).await? {
            Some(other) => {
                self.trail.iter().for_each(|trail| trail.impersonates(&other));
                other
            }
            None => user,
        };
        let share = if self.asks_for_health() { Share::Exempt } else { Share::of(&user) };
        if share != Share::Strangers && !user.is_in(skiff_identity::UNAUTHENTICATED) {
            peer.known();
        }
        Ok((user, share))
    }

    pub(super) async fn authorize(&self, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        let began = Instant::now();
        let decision = self.server.auth.authorize(attributes).await;
        metrics::authorized(decision.is_allowed(), began.elapsed());
        self.note(&decision);
        if decision.is_allowed() {
            return Ok(());
        }
        if let Some(error) = decision.error() {
            return Err(ApiError::Internal(error.to_owned()));
        }
        let subject =
            Subject { group: attributes.group.into(), ..Subject::core(attributes.resource, attributes.name) };
        let message = attributes.forbidden_message(decision.reason());
        Err(ApiError::Forbidden { subject, message, causes: Vec::new() })
    }

    /// The user, after what is to be said of its credentials was said.
    fn told(&self, known: Identified) -> UserInfo {
        known.warnings.into_iter().for_each(|text| self.warnings.lock().add(text));
        if let Some(trail) = &self.trail {
            for (key, value) in known.annotations {
                trail.record.annotate(Level::Metadata, key, value);
            }
        }
        known.user
    }

    /// Notes what was decided for the audit log.
    fn note(&self, decision: &Decision) {
        let Some(trail) = &self.trail else { return };
        let (word, reason) = match decision {
            _ if decision.is_allowed() => ("allow", decision.reason()),
            _ if decision.error().is_some() => {
                trail.record.annotate(Level::Metadata, "authorization.k8s.io/reason", "internal error");
                return;
            }
            _ => ("forbid", decision.reason()),
        };
        trail.record.annotate(Level::Metadata, "authorization.k8s.io/decision", word);
        trail.record.annotate(Level::Metadata, "authorization.k8s.io/reason", reason);
    }

    pub(super) async fn authorize_resource(
        &self,
        user: &UserInfo,
        path: &ResourcePath,
    ) -> Result<(), ApiError> {
        let (fields, labels) = self.selectors();
        let attributes = self.attributes(user, path, (fields.as_ref(), labels.as_ref()));
        self.authorize(&attributes).await?;
        // A stream into a container is more than a read, whatever the HTTP method of its handshake.
        let streams = matches!(path.subresource.as_str(), "exec" | "attach" | "portforward");
        if streams && attributes.verb == Verb::Get.as_str() {
            self.authorize(&Attributes { verb: Verb::Create.as_str(), ..attributes }).await?;
        }
        Ok(())
    }

    /// A request for a resource as authorisation sees it.
    fn attributes<'a>(
        &self,
        user: &'a UserInfo,
        path: &'a ResourcePath,
        (fields, labels): (Option<&'a FieldSelector>, Option<&'a LabelSelector>),
    ) -> Attributes<'a> {
        let selected = fields.map_or("", selected_name);
        Attributes {
            version: &path.version,
            subresource: &path.subresource,
            namespace: &path.namespace,
            name: if path.name.is_empty() { selected } else { &path.name },
            fields,
            labels,
            ..Attributes::resource(user, self.word(path), &path.group, &path.resource)
        }
    }

    /// What a request selects by fields and by labels, where that means anything and can be understood.
    fn selectors(&self) -> (Option<FieldSelector>, Option<LabelSelector>) {
        let RequestInfo::Resource(path) = &self.info else { return (None, None) };
        if !matches!(self.word(path), "list" | "watch" | "deletecollection") {
            return (None, None);
        }
        let fields = FieldSelector::parse(self.query.get("fieldSelector")).ok();
        (fields, LabelSelector::parse(self.query.get("labelSelector")).ok())
    }

    /// What authorisation calls the request.
    pub(super) fn word(&self, path: &ResourcePath) -> &'static str {
        path.word(&self.method, self.query.flag("watch"))
    }
}

/// The value of `metadata.name` in a field selector, if it can be a name; authorisation by name looks at it.
fn selected_name(fields: &FieldSelector) -> &str {
    let is_name = |name: &&str| !matches!(*name, "." | "..") && !name.contains(['/', '%']);
    fields.exact("metadata.name").filter(is_name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_selected_name() {
        let check = |selector: &str, name: &str| {
            assert_eq!(selected_name(&FieldSelector::parse(selector).unwrap()), name);
        };
        check("", "");
        check("metadata.name=a", "a");
        check("spec.nodeName=n,metadata.name==a", "a");
        check("metadata.name!=a", "");
        check("spec.x=metadata.name\\=a", "");
        check("metadata.name=a/b", "");
    }
}
