//! From what a user types (`po`, `svc/kubia`, `all`) to paths on the server, by its discovery documents.

use serde_json::Value;

use crate::api::Api;
use crate::error::Error;

/// A kind that the server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) namespaced: bool,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) verbs: Vec<String>,
    /// Names of subresources.
    pub(crate) parts: Vec<String>,
}

/// A kind, and the object of it that is meant (all, when there is no name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    pub(crate) name: Option<String>,
}

/// All kinds, in the server's order.
#[derive(Debug)]
pub(crate) struct Resources(pub(crate) Vec<Resource>);

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

impl Resource {
    /// Path of the collection, or of one object. `namespace: None` means every namespace.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        let place = match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}"),
            None => root,
        };
        match name {
            Some(name) => format!("{place}/{}/{name}", self.plural),
            None => format!("{place}/{}", self.plural),
        }
    }

    /// As kubectl names it beside a name: `pod` or `endpointslice.discovery.k8s.io`.
    pub(crate) fn prefix(&self) -> String {
        if self.group.is_empty() {
            self.singular.clone()
        } else {
            format!("{}.{}", self.singular, self.group)
        }
    }

    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// As errors name it: `pods` or `deployments.apps`.
    pub(crate) fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    fn is_called(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let named =
            |name: &str| name == self.plural || name == self.singular || self.short.iter().any(|s| s == name);
        named(&word)
            || word.split_once('.').is_some_and(|(name, place)| {
                named(name) && (place == self.group || place == format!("{}.{}", self.version, self.group))
            })
    }
}

impl Resources {
    pub(crate) async fn discover(api: &Api) -> Result<Self, Error> {
        let mut all = Vec::new();
        for path in ["/api", "/apis"] {
            all.extend(parse(&api.get_as(path, AGGREGATED).await?));
        }
        Ok(Self(all))
    }

    /// The kind of a manifest.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Result<&Resource, Error> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = self.0.iter().find(|r| r.group == group && r.version == version && r.kind == kind);
        found.ok_or_else(|| {
            Error::Usage(format!(
                "resource mapping not found: no matches for kind \"{kind}\" in version \"{api_version}\""
            ))
        })
    }

    /// The kind that the object says it is of.
    pub(crate) fn of_object(&self, object: &Value) -> Result<&Resource, Error> {
        self.of_kind(object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""))
    }

    /// The kind that one word means.
    pub(crate) fn one(&self, word: &str) -> Option<&Resource> {
        self.0.iter().find(|resource| resource.is_called(word))
    }

    /// The kinds that one word means: a name, a short name, or a category such as `all`.
    fn named(&self, word: &str) -> Result<Vec<&Resource>, Error> {
        if let Some(resource) = self.0.iter().find(|resource| resource.is_called(word)) {
            return Ok(vec![resource]);
        }
        let category: Vec<&Resource> =
            self.0.iter().filter(|r| r.categories.iter().any(|c| c == word)).collect();
        if category.is_empty() {
            let name = word.split('.').next().unwrap_or(word);
            return Err(Error::Usage(format!("the server doesn't have a resource type \"{name}\"")));
        }
        Ok(category)
    }

    /// Reads `TYPE[,TYPE…] [NAME…]` or `TYPE/NAME…`.
    pub(crate) fn targets(&self, words: &[String]) -> Result<Vec<Target>, Error> {
        let Some((first, names)) = words.split_first() else { return Ok(Vec::new()) };
        if words.iter().any(|word| word.contains('/')) {
            return words.iter().map(|word| self.slashed(word)).collect();
        }
        let mut targets = Vec::new();
        for word in first.split(',') {
            for resource in self.named(word)? {
                let target =
                    |name: Option<&String>| Target { resource: resource.clone(), name: name.cloned() };
                if names.is_empty() {
                    targets.push(target(None));
                }
                targets.extend(names.iter().map(|name| target(Some(name))));
            }
        }
        Ok(targets)
    }

    fn slashed(&self, word: &str) -> Result<Target, Error> {
        let (kind, name) = word.split_once('/').ok_or_else(|| Error::usage(MIXED))?;
        if kind.is_empty() || name.is_empty() || name.contains('/') {
            return Err(Error::usage("arguments in resource/name form must have a single resource and name"));
        }
        let resources = self.named(kind)?;
        Ok(Target { resource: resources[0].clone(), name: Some(name.to_owned()) })
    }
}

const MIXED: &str = "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'";

fn parse(list: &Value) -> Vec<Resource> {
    let mut all = Vec::new();
    for group in array(&list["items"]) {
        for version in array(&group["versions"]) {
            for resource in array(&version["resources"]) {
                all.push(Resource {
                    group: text(&group["metadata"]["name"]),
                    version: text(&version["version"]),
                    kind: text(&resource["responseKind"]["kind"]),
                    plural: text(&resource["resource"]),
                    singular: text(&resource["singularResource"]),
                    namespaced: resource["scope"] == "Namespaced",
                    short: array(&resource["shortNames"]).iter().map(text).collect(),
                    categories: array(&resource["categories"]).iter().map(text).collect(),
                    verbs: array(&resource["verbs"]).iter().map(text).collect(),
                    parts: array(&resource["subresources"])
                        .iter()
                        .map(|part| text(&part["subresource"]))
                        .collect(),
                });
            }
        }
    }
    all
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resources() -> Resources {
        let core = |plural: &str, singular: &str, kind: &str, short: &str, all: bool| {
            json!({"resource": plural, "singularResource": singular, "responseKind": {"kind": kind}, "scope": "Namespaced",
                   "shortNames": [short], "categories": if all { vec!["all"] } else { vec![] }})
        };
        let list = json!({"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [
            core("pods", "pod", "Pod", "po", true), core("services", "service", "Service", "svc", true),
            core("configmaps", "configmap", "ConfigMap", "cm", false)]}]}]});
        Resources(parse(&list))
    }

    fn check(words: &[&str], expected: &[&str]) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let found: Vec<String> = match resources().targets(&words) {
            Ok(targets) => targets.iter().map(|t| t.resource.path(Some("n"), t.name.as_deref())).collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn reads_targets_as_kubectl_does() {
        check(&["po"], &["/api/v1/namespaces/n/pods"]);
        check(&["pods", "a", "b"], &["/api/v1/namespaces/n/pods/a", "/api/v1/namespaces/n/pods/b"]);
        check(&["svc/a", "cm/b"], &["/api/v1/namespaces/n/services/a", "/api/v1/namespaces/n/configmaps/b"]);
        check(&["all"], &["/api/v1/namespaces/n/pods", "/api/v1/namespaces/n/services"]);
        check(&["po,cm"], &["/api/v1/namespaces/n/pods", "/api/v1/namespaces/n/configmaps"]);
        check(&["foo"], &["error: the server doesn't have a resource type \"foo\""]);
    }
}
