//! The environment of a container, as its specification and the cluster make it.

use super::downward::{env_field, resource_field};
use super::env_file::{self, EnvFiles};
use super::error::ConfigError;
use super::expand::expand;
use super::references::Sources;
use crate::pod::local::{LocalContainer, LocalPod};
use crate::quantity::Amounts;
use k8s_openapi::api::core::v1::{Container, EnvVarSource};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// What the values of variables may refer to.
pub(crate) struct EnvContext<'a> {
    pub(crate) pod: &'a LocalPod,
    pub(crate) pod_ips: &'a [IpAddr],
    pub(crate) host_ips: &'a [IpAddr],
    pub(crate) allocatable: &'a Amounts,
    pub(crate) services: &'a BTreeMap<String, String>,
    pub(crate) sources: &'a Sources,
    pub(crate) files: &'a EnvFiles,
}

/// Variables in the order they are set; a later setting of a name replaces the earlier one in place.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    order: Vec<String>,
    values: HashMap<String, String>,
}

impl Environment {
    /// Sets one variable.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        if self.values.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// `NAME=value` of each variable.
    pub(crate) fn to_strings(&self) -> Vec<String> {
        self.order.iter().map(|name| format!("{name}={}", self.values[name])).collect()
    }

    /// Replaces references in `text`.
    pub(crate) fn expand(&self, text: &str) -> String {
        expand(text, |name| self.get(name).map(str::to_owned))
    }
}

/// The environment of `container`: Services first, then `envFrom`, then `env`, each able to override what came
/// before and to refer to it.
pub(crate) fn environment(
    container: &Container,
    context: &EnvContext<'_>,
) -> Result<Environment, ConfigError> {
    let mut environment = Environment::default();
    for (name, value) in context.services {
        environment.set(name, value.clone());
    }
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let optional = |reference: Option<bool>| reference == Some(true);
        if let Some(reference) = &from.config_map_ref {
            match context.sources.config_maps.get(&reference.name) {
                Some(map) => {
                    set_all(&mut environment, prefix, map.data.iter().flatten().map(|(k, v)| (k, v.clone())))
                }
                None if optional(reference.optional) => {}
                None => return Err(no_source("ConfigMap", &reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match context.sources.secrets.get(&reference.name) {
                Some(secret) => {
                    let entries = secret.data.iter().flatten().map(|(k, v)| (k, text(&v.0)));
                    set_all(&mut environment, prefix, entries);
                }
                None if optional(reference.optional) => {}
                None => return Err(no_source("Secret", &reference.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => Some(environment.expand(value)),
            (_, Some(source)) => referenced(container, source, context)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            environment.set(&variable.name, value);
        }
    }
    Ok(environment)
}

fn set_all<'a>(
    environment: &mut Environment,
    prefix: &str,
    entries: impl Iterator<Item = (&'a String, String)>,
) {
    for (key, value) in entries {
        let name = format!("{prefix}{key}");
        if !name.is_empty() && !name.contains(['=', '\0']) {
            environment.set(&name, value);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn no_source(kind: &'static str, name: &str) -> ConfigError {
    ConfigError::NoSource { kind, name: name.into() }
}

/// The value `source` refers to; `None` when it is optional and missing.
fn referenced(
    container: &Container,
    source: &EnvVarSource,
    context: &EnvContext<'_>,
) -> Result<Option<String>, ConfigError> {
    let namespace = &context.pod.namespace;
    let no_key = |kind, name: &str, key: &str| ConfigError::NoKey {
        kind,
        namespace: namespace.clone(),
        name: name.into(),
        key: key.into(),
    };
    if let Some(field) = &source.field_ref {
        let path = &field.field_path;
        let value = env_field(context.pod, path, context.pod_ips, context.host_ips);
        return value.map(Some).ok_or_else(|| ConfigError::Field { path: path.clone() });
    }
    if let Some(selector) = &source.resource_field_ref {
        let of = match &selector.container_name {
            Some(name) => find(context.pod, name).map(|c| &c.spec),
            None => Some(container),
        };
        let value = of.and_then(|of| resource_field(of, selector, context.allocatable));
        return value.map(Some).ok_or_else(|| ConfigError::Resource {
            container: container.name.clone(),
            resource: selector.resource.clone(),
        });
    }
    if let Some(reference) = &source.config_map_key_ref {
        let optional = reference.optional == Some(true);
        let Some(map) = context.sources.config_maps.get(&reference.name) else {
            return if optional { Ok(None) } else { Err(no_source("ConfigMap", &reference.name)) };
        };
        let value = map.data.as_ref().and_then(|data| data.get(&reference.key)).cloned();
        return match value {
            None if !optional => Err(no_key("ConfigMap", &reference.name, &reference.key)),
            value => Ok(value),
        };
    }
    if let Some(reference) = &source.secret_key_ref {
        let optional = reference.optional == Some(true);
        let Some(secret) = context.sources.secrets.get(&reference.name) else {
            return if optional { Ok(None) } else { Err(no_source("Secret", &reference.name)) };
        };
        let value =
            secret.data.as_ref().and_then(|data| data.get(&reference.key)).map(|value| text(&value.0));
        return match value {
            None if !optional => Err(no_key("Secret", &reference.name, &reference.key)),
            value => Ok(value),
        };
    }
    match &source.file_key_ref {
        Some(reference) => env_file::value(reference, context.files),
        None => Ok(None),
    }
}

fn find<'a>(pod: &'a LocalPod, name: &str) -> Option<&'a LocalContainer> {
    pod.containers.iter().find(|container| container.name.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;
    use std::sync::Arc;

    fn sources() -> Sources {
        let map = serde_json::from_str(r#"{"data": {"a": "1", "b": "2"}}"#).unwrap();
        let secret = serde_json::from_str(r#"{"data": {"key": "dmFsdWU="}}"#).unwrap();
        Sources {
            config_maps: [("m".to_owned(), Arc::new(map))].into(),
            secrets: [("s".to_owned(), Arc::new(secret))].into(),
        }
    }

    fn check(container: &str, expected: Result<&[&str], &str>) {
        let pod = pod_of(&format!(r#"{{"containers": [{{"name": "c", {container}}}]}}"#));
        let services = BTreeMap::from([("X_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned())]);
        let ips = ["10.244.0.5".parse().unwrap()];
        let context = EnvContext {
            pod: &pod,
            pod_ips: &ips,
            host_ips: &ips,
            allocatable: &Amounts::new(),
            services: &services,
            sources: &sources(),
            files: &EnvFiles::new(),
        };
        let actual = environment(&pod.containers[0].spec, &context);
        match (actual, expected) {
            (Ok(environment), Ok(lines)) => assert_eq!(environment.to_strings(), lines),
            (Err(error), Err(text)) => assert_eq!(error.to_string(), text),
            (actual, expected) => panic!("{actual:?} is not {expected:?}"),
        }
    }

    #[test]
    fn later_variables_see_and_replace_earlier_ones() {
        check(
            r#""envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}, {"secretRef": {"name": "s"}}],
               "env": [{"name": "A", "value": "$(P_a)-$(X_SERVICE_HOST)-$(LATER)"}, {"name": "LATER", "value": "z"},
                       {"name": "X_SERVICE_HOST", "value": "mine"}, {"name": "P_b"}]"#,
            Ok(&["X_SERVICE_HOST=mine", "P_a=1", "P_b=", "key=value", "A=1-10.0.0.1-$(LATER)", "LATER=z"]),
        );
    }

    #[test]
    fn references_are_resolved_or_named_when_missing() {
        check(
            r#""env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a"}}},
                       {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
                       {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a", "optional": true}}},
                       {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]"#,
            Ok(&["X_SERVICE_HOST=10.0.0.1", "A=1", "B=value", "D=10.244.0.5"]),
        );
        let missing = |reference: &str, text: &str| {
            check(&format!(r#""env": [{{"name": "A", "valueFrom": {reference}}}]"#), Err(text))
        };
        missing(r#"{"configMapKeyRef": {"name": "no", "key": "a"}}"#, "configmap \"no\" not found");
        missing(r#"{"secretKeyRef": {"name": "no", "key": "a"}}"#, "secret \"no\" not found");
        missing(r#"{"configMapKeyRef": {"name": "m", "key": "z"}}"#, "couldn't find key z in ConfigMap ns/m");
        missing(r#"{"fieldRef": {"fieldPath": "status.phase"}}"#, "unsupported fieldPath: status.phase");
        check(r#""envFrom": [{"configMapRef": {"name": "no"}}]"#, Err("configmap \"no\" not found"));
    }
}
