//! AdmissionReview: what a webhook is asked.

use serde_json::{Map, Value, json};

use super::configuration::Webhook;
use super::select::Versioned;
use crate::attributes::Attributes;
use crate::rules::Matched;

/// The version of the API that a webhook speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1Beta1,
}

impl Version {
    /// The first that the webhook wants and that is spoken here.
    pub(super) fn of(hook: &Webhook) -> Option<Self> {
        hook.review_versions.iter().find_map(|version| match version.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }

    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// The review that asks about a request. Texts that are empty are left out; objects that are not there are null.
pub(super) fn request(
    version: Version,
    uid: &str,
    attributes: &Attributes,
    matched: &Matched,
    versioned: &Versioned<'_>,
) -> Value {
    let mut request = Map::new();
    let mut put = |field: &str, value: Value| request.insert(field.to_owned(), value);
    put("uid", uid.into());
    put("kind", matched.kind.to_json());
    put("resource", matched.resource.to_json());
    put("requestKind", attributes.kind.to_json());
    put("requestResource", attributes.resource.to_json());
    let texts = [
        ("subResource", &attributes.subresource),
        ("requestSubResource", &attributes.subresource),
        ("name", &attributes.name),
        ("namespace", &attributes.namespace),
    ];
    for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        put(field, text.as_str().into());
    }
    put("operation", attributes.operation.as_str().into());
    put("userInfo", attributes.user.to_json());
    put("object", json!(versioned.object.as_deref().map(skiff_machinery::Object::as_map)));
    put("oldObject", json!(versioned.old.as_deref().map(skiff_machinery::Object::as_map)));
    put("dryRun", attributes.dry_run.into());
    put("options", attributes.options.clone().unwrap_or_default());
    json!({"kind": "AdmissionReview", "apiVersion": version.api_version(), "request": request})
}

#[cfg(test)]
mod tests {
    use skiff_machinery::Object;

    use super::*;
    use crate::attributes::{GroupVersionKind, GroupVersionResource};
    use crate::testing::request as pod;

    #[test]
    fn a_review_has_all_that_is_known() {
        let mut attributes = pod();
        attributes.subresource = "scale".to_owned();
        attributes.user.groups = vec!["g".to_owned()];
        attributes.user.extra.insert("k".to_owned(), vec!["v".to_owned()]);
        attributes.options = Some(json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}));
        let object = Object::from_value(json!({"metadata": {"name": "web"}})).unwrap();
        let versioned = Versioned { object: Some(std::borrow::Cow::Owned(object)), old: None };
        let matched = Matched {
            resource: GroupVersionResource::new("other", "v2", "things"),
            kind: GroupVersionKind::new("other", "v2", "Thing"),
        };
        let expected = json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "u",
                "kind": {"group": "other", "version": "v2", "kind": "Thing"},
                "resource": {"group": "other", "version": "v2", "resource": "things"},
                "subResource": "scale",
                "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
                "requestResource": {"group": "", "version": "v1", "resource": "pods"},
                "requestSubResource": "scale",
                "name": "web",
                "namespace": "default",
                "operation": "CREATE",
                "userInfo": {"username": "alice", "groups": ["g"], "extra": {"k": ["v"]}},
                "object": {"metadata": {"name": "web"}},
                "oldObject": null,
                "dryRun": false,
                "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            },
        });
        assert_eq!(request(Version::V1, "u", &attributes, &matched, &versioned), expected);
        let beta = request(Version::V1Beta1, "u", &attributes, &matched, &versioned);
        assert_eq!(beta["apiVersion"], "admission.k8s.io/v1beta1");
        assert_eq!(beta["request"], expected["request"]);
    }
}
