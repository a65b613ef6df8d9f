//! Defaults of webhook configurations.

use serde_json::{Map, Value};
use skiff_machinery::Object;

use super::configuration::Type;
use crate::fields::{everything, fill, list_mut};

/// Seconds that a call may take.
const TIMEOUT: u64 = 10;
const PORT: u64 = 443;

/// Fills the defaults of a MutatingWebhookConfiguration or ValidatingWebhookConfiguration.
pub fn default_configuration(object: &mut Object, of: Type) {
    for hook in list_mut(object.as_map_mut(), "webhooks") {
        fill(hook, "failurePolicy", "Fail");
        fill(hook, "matchPolicy", "Equivalent");
        fill(hook, "namespaceSelector", everything());
        fill(hook, "objectSelector", everything());
        fill(hook, "timeoutSeconds", TIMEOUT);
        if of == Type::Mutating {
            fill(hook, "reinvocationPolicy", "Never");
        }
        list_mut(hook, "rules").for_each(|rule| fill(rule, "scope", "*"));
        let service = hook.get_mut("clientConfig").and_then(|config| config.get_mut("service"));
        if let Some(service) = service.and_then(Value::as_object_mut) {
            default_service(service);
        }
    }
}

fn default_service(service: &mut Map<String, Value>) {
    fill(service, "port", PORT);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::object;

    #[test]
    fn defaults_are_those_of_the_api() {
        let hook = || json!({"name": "a.b.c", "clientConfig": {"service": {"name": "s"}}, "rules": [{}]});
        let filled = |of| {
            let mut configuration = object(json!({"webhooks": [hook()]}));
            default_configuration(&mut configuration, of);
            configuration.into_value()["webhooks"][0].clone()
        };
        let expected = json!({
            "name": "a.b.c", "clientConfig": {"service": {"name": "s", "port": 443}}, "rules": [{"scope": "*"}],
            "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
            "timeoutSeconds": 10,
        });
        assert_eq!(filled(Type::Validating), expected);
        assert_eq!(filled(Type::Mutating)["reinvocationPolicy"], "Never");
    }

    #[test]
    fn what_is_given_stays() {
        let given = json!({"webhooks": [{
            "failurePolicy": "Ignore", "matchPolicy": "Exact", "namespaceSelector": {"matchLabels": {}},
            "objectSelector": {"matchLabels": {}}, "timeoutSeconds": 1, "reinvocationPolicy": "IfNeeded",
            "clientConfig": {"url": "https://a"},
        }]});
        let mut configuration = object(given.clone());
        default_configuration(&mut configuration, Type::Mutating);
        assert_eq!(configuration.into_value(), given);
    }
}
