//! Whether a webhook is called for a request, and with objects of which version.

use std::borrow::Cow;

use skiff_machinery::Object;

use super::configuration::Webhook;
use crate::attributes::{Attributes, GroupVersionKind};
use crate::expressions::{Inputs, Match, request_json};
use crate::refusal::Refusal;
use crate::rules::{self, Matched};
use crate::selector;
use crate::surroundings::{Kinds, Surroundings};

/// The objects of a request in the version that a webhook asks for.
#[derive(Debug)]
pub(crate) struct Versioned<'a> {
    pub(crate) object: Option<Cow<'a, Object>>,
    pub(crate) old: Option<Cow<'a, Object>>,
}

impl<'a> Versioned<'a> {
    pub(crate) fn of(
        attributes: &'a Attributes,
        kind: &GroupVersionKind,
        kinds: &dyn Kinds,
    ) -> Result<Self, String> {
        let convert = |object: &'a Object| {
            if *kind == attributes.kind {
                return Ok(Cow::Borrowed(object));
            }
            kinds.convert(object, kind).map(Cow::Owned)
        };
        Ok(Self {
            old: attributes.old.as_deref().map(convert).transpose()?,
            object: attributes.object.as_ref().map(convert).transpose()?,
        })
    }
}

/// As what the request is sent to the webhook; `None` when the webhook has nothing to do with it. Selectors that fail do so only
/// for requests that the rules match.
pub(super) async fn select(
    hook: &Webhook,
    attributes: &Attributes,
    surroundings: &Surroundings,
) -> Result<Option<Matched>, Refusal> {
    let namespace =
        selector::selects_namespace(&hook.namespaces, attributes, &*surroundings.namespaces).await;
    let object = selector::selects_object(&hook.objects, attributes);
    if namespace == Ok(false) || object == Ok(false) {
        return Ok(None);
    }
    let kinds = &*surroundings.kinds;
    let found = rules::find(&hook.rules, hook.match_policy, attributes, kinds).map_err(Refusal::internal)?;
    let Some(matched) = found else { return Ok(None) };
    namespace?;
    object?;
    if hook.conditions.is_empty() {
        return Ok(Some(matched));
    }
    match check_conditions(hook, attributes, &matched, surroundings)? {
        Match::Yes => Ok(Some(matched)),
        Match::No => Ok(None),
        Match::Failed(why) => Err(Refusal::forbidden_object(&attributes.resource, &attributes.name, &why)),
    }
}

fn check_conditions(
    hook: &Webhook,
    attributes: &Attributes,
    matched: &Matched,
    surroundings: &Surroundings,
) -> Result<Match, Refusal> {
    let versioned = Versioned::of(attributes, &matched.kind, &*surroundings.kinds);
    let versioned = versioned.map_err(Refusal::internal)?;
    let authorizer = surroundings.authorizers.of(attributes);
    let request = request_json(attributes, matched);
    let inputs = Inputs {
        attributes,
        object: versioned.object.as_deref(),
        old: versioned.old.as_deref(),
        request: &request,
        params: None,
        namespace: None,
        authorizer: Some(&*authorizer),
    };
    Ok(hook.conditions.check(&inputs, &[]))
}
