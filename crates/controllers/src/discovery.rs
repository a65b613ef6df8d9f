//! Which kinds of objects the API server has.

use std::collections::BTreeSet;

use http::Request;
use kube::Client;
use kube::discovery::ApiResource;
use serde_json::Value;

/// How the API server is asked for all kinds at once.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind of object.
#[derive(Clone, Debug)]
pub(crate) struct ResourceKind {
    /// Group, version, kind and plural.
    pub(crate) api: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    verbs: Vec<String>,
    subresources: Vec<String>,
}

impl ResourceKind {
    /// Whether the API server offers `verb` for the kind.
    pub(crate) fn supports(&self, verb: &str) -> bool {
        self.verbs.iter().any(|supported| supported == verb)
    }

    /// Whether its objects have that subresource.
    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|one| one == subresource)
    }

    /// `pods`, `endpointslices.discovery.k8s.io`.
    pub(crate) fn name(&self) -> String {
        if self.api.group.is_empty() {
            self.api.plural.clone()
        } else {
            format!("{}.{}", self.api.plural, self.api.group)
        }
    }
}

/// What the API server told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovered {
    /// All kinds, each in the most preferred version that has it.
    pub(crate) kinds: Vec<ResourceKind>,
    /// Groups and versions of which it cannot tell what there is at present: another server serves them.
    pub(crate) failed: BTreeSet<(String, String)>,
}

impl Discovered {
    /// What is missing, as Kubernetes' clients word it.
    pub(crate) fn failure(&self) -> Option<String> {
        let version = |(group, version): &(String, String)| {
            format!("{group}/{version}: stale GroupVersion discovery: {group}/{version}")
        };
        let all: Vec<String> = self.failed.iter().map(version).collect();
        let text = format!("unable to retrieve the complete list of server APIs: {}", all.join(", "));
        (!all.is_empty()).then_some(text)
    }

    /// Whether there may be more kinds in a group.
    pub(crate) fn is_incomplete(&self, group: &str) -> bool {
        self.failed.iter().any(|(failed, _)| failed == group)
    }
}

/// Asks the API server.
pub(crate) async fn discover(client: &Client) -> kube::Result<Discovered> {
    let mut found = Discovered::default();
    for path in ["/api", "/apis"] {
        let request = Request::get(path).header("accept", AGGREGATED).body(Vec::new());
        let document: Value = client.request(request.map_err(kube::Error::HttpError)?).await?;
        read(&document, &mut found);
    }
    Ok(found)
}

/// Adds what a document tells.
fn read(document: &Value, found: &mut Discovered) {
    for group in array(document, "items") {
        let name = text(&group["metadata"], "name");
        let mut known = BTreeSet::new();
        for version in array(group, "versions") {
            let of = (name.to_owned(), text(version, "version").to_owned());
            if version["freshness"] == "Stale" {
                found.failed.insert(of);
                continue;
            }
            let resources = array(version, "resources").map(|resource| kind(&of, resource));
            found.kinds.extend(resources.filter(|kind| known.insert(kind.api.plural.clone())));
        }
    }
}

fn kind((group, version): &(String, String), resource: &Value) -> ResourceKind {
    let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    let verbs = array(resource, "verbs").filter_map(Value::as_str).map(str::to_owned).collect();
    let api = ApiResource {
        group: group.clone(),
        version: version.clone(),
        api_version,
        kind: text(&resource["responseKind"], "kind").to_owned(),
        plural: text(resource, "resource").to_owned(),
    };
    let subresources =
        array(resource, "subresources").map(|one| text(one, "subresource").to_owned()).collect();
    ResourceKind { api, namespaced: resource["scope"] == "Namespaced", verbs, subresources }
}

fn array<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value[field].as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_come_in_their_best_version_and_what_is_stale_is_missing() {
        let resource = |plural: &str, verbs: &[&str]| json!({"resource": plural, "responseKind": {"kind": "K"}, "scope": "Namespaced", "verbs": verbs});
        let (all, some) = (resource("as", &["list", "delete"]), resource("bs", &["list"]));
        let document = json!({"items": [
            {"metadata": {"name": "g"}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": [all]},
                {"version": "v1", "freshness": "Current", "resources": [all, some]},
            ]},
            {"metadata": {"name": "bad"}, "versions": [
                {"version": "v1", "freshness": "Stale", "resources": [all]},
                {"version": "v1alpha1", "freshness": "Current"},
            ]},
        ]});
        let mut found = Discovered::default();
        read(&document, &mut found);
        let kinds: Vec<String> =
            found.kinds.iter().map(|kind| format!("{} {}", kind.name(), kind.api.api_version)).collect();
        assert_eq!(kinds, ["as.g g/v2", "bs.g g/v1"]);
        assert!(found.kinds[0].supports("delete") && !found.kinds[1].supports("delete"));
        assert!(found.is_incomplete("bad") && !found.is_incomplete("g"));
        assert_eq!(
            found.failure().unwrap(),
            "unable to retrieve the complete list of server APIs: bad/v1: stale GroupVersion discovery: bad/v1"
        );
        assert_eq!(Discovered::default().failure(), None);
    }
}
