//! `MatchResources`: which requests a policy or binding is about.

use serde_json::Value;

use crate::attributes::Attributes;
use crate::rules::{self, MatchPolicy, Matched, Rule};
use crate::selector::{self, Selector};
use crate::surroundings::{Surroundings, items};

/// `matchConstraints` of a policy, or `matchResources` of a binding.
#[derive(Debug)]
pub(super) struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    policy: MatchPolicy,
    namespaces: Option<Selector>,
    objects: Option<Selector>,
}

impl Matching {
    pub(super) fn compile(resources: &Value) -> Self {
        let rules = |field: &str| items(resources, field).iter().map(Rule::of).collect();
        let selector =
            |field: &str| resources.get(field).filter(|selector| !selector.is_null()).map(selector::compile);
        Self {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            policy: MatchPolicy::of(resources),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// As what the request matches; `None` when it does not. Selectors that fail do so only for requests that the rules match.
    pub(super) async fn find(
        &self,
        attributes: &Attributes,
        surroundings: &Surroundings,
    ) -> Result<Option<Matched>, String> {
        let missing = |which: &str| {
            format!("a nil {which} selector was passed, please ensure selectors are initialized properly")
        };
        let namespaces = self.namespaces.as_ref().ok_or_else(|| missing("namespace"))?;
        let objects = self.objects.as_ref().ok_or_else(|| missing("object"))?;
        let namespace = selector::selects_namespace(namespaces, attributes, &*surroundings.namespaces).await;
        let object = selector::selects_object(objects, attributes);
        if namespace == Ok(false) || object == Ok(false) {
            return Ok(None);
        }
        let found = |rules: &[Rule]| rules::find(rules, self.policy, attributes, &*surroundings.kinds);
        if found(&self.excluded)?.is_some() {
            return Ok(None);
        }
        let matched = if self.rules.is_empty() {
            Some(Matched { resource: attributes.resource.clone(), kind: attributes.kind.clone() })
        } else {
            found(&self.rules)?
        };
        let Some(matched) = matched else { return Ok(None) };
        namespace.map_err(|refusal| refusal.message)?;
        object.map_err(|refusal| refusal.message)?;
        Ok(Some(matched))
    }
}
