//! Defaults of policies and bindings.

use serde_json::{Map, Value};
use skiff_machinery::Object;

use crate::fields::{everything, fill, list_mut};

/// Fills the defaults of a ValidatingAdmissionPolicy or MutatingAdmissionPolicy.
pub fn default_policy(object: &mut Object) {
    let Some(spec) = object.as_map_mut().get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill(spec, "failurePolicy", "Fail");
    default_resources(spec.get_mut("matchConstraints"));
}

/// Fills the defaults of a ValidatingAdmissionPolicyBinding or MutatingAdmissionPolicyBinding.
pub fn default_binding(object: &mut Object) {
    let spec = object.as_map_mut().get_mut("spec").and_then(Value::as_object_mut);
    default_resources(spec.and_then(|spec| spec.get_mut("matchResources")));
}

fn default_resources(resources: Option<&mut Value>) {
    let Some(resources) = resources.and_then(Value::as_object_mut) else { return };
    fill(resources, "matchPolicy", "Equivalent");
    fill(resources, "namespaceSelector", everything());
    fill(resources, "objectSelector", everything());
    for field in ["resourceRules", "excludeResourceRules"] {
        list_mut(resources, field).for_each(|rule: &mut Map<String, Value>| fill(rule, "scope", "*"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::object;

    #[test]
    fn defaults_are_those_of_the_api() {
        let resources = || json!({"resourceRules": [{}], "excludeResourceRules": [{"scope": "Cluster"}]});
        let filled = json!({
            "resourceRules": [{"scope": "*"}], "excludeResourceRules": [{"scope": "Cluster"}],
            "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        });
        let mut policy = object(json!({"spec": {"matchConstraints": resources()}}));
        default_policy(&mut policy);
        let expected = json!({"spec": {"failurePolicy": "Fail", "matchConstraints": filled}});
        assert_eq!(policy.into_value(), expected);
        let mut binding = object(json!({"spec": {"matchResources": resources()}}));
        default_binding(&mut binding);
        assert_eq!(binding.into_value(), json!({"spec": {"matchResources": filled}}));
        let mut bare = object(json!({"spec": {"policyName": "p"}}));
        default_binding(&mut bare);
        assert_eq!(bare.into_value(), json!({"spec": {"policyName": "p"}}));
    }
}
