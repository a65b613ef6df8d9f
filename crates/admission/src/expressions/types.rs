//! The types of variables whose form is fixed: the request and the namespace.

use skiff_cel::{DeclaredType, Field, ListKind};

fn string() -> DeclaredType {
    DeclaredType::string(None, [])
}

fn strings() -> DeclaredType {
    DeclaredType::list(string(), None, ListKind::Atomic)
}

fn string_map(values: DeclaredType) -> DeclaredType {
    DeclaredType::map(values, None)
}

/// An object type with fields of which the names with a `?` may be absent.
fn object(name: &str, fields: Vec<(&str, DeclaredType)>) -> DeclaredType {
    let field = |(name, declared): (&str, DeclaredType)| match name.strip_suffix('?') {
        Some(name) => (name.to_owned(), Field::optional(declared)),
        None => (name.to_owned(), Field::required(declared)),
    };
    DeclaredType::named_object(name, fields.into_iter().map(field))
}

/// `request`: an AdmissionRequest without UID and objects.
pub(super) fn request() -> DeclaredType {
    let named =
        |name: &str, of: &str| object(name, vec![("group", string()), ("version", string()), (of, string())]);
    let kind = || named("kubernetes.GroupVersionKind", "kind");
    let resource = || named("kubernetes.GroupVersionResource", "resource");
    let user = object(
        "kubernetes.UserInfo",
        vec![
            ("username?", string()),
            ("uid?", string()),
            ("groups?", strings()),
            ("extra?", string_map(strings())),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        vec![
            ("kind", kind()),
            ("resource", resource()),
            ("subResource?", string()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource?", string()),
            ("name", string()),
            ("namespace?", string()),
            ("operation", string()),
            ("userInfo", user),
            ("dryRun?", DeclaredType::boolean()),
            ("options?", DeclaredType::any()),
        ],
    )
}

/// `namespaceObject`: a Namespace without what expressions have no use for.
pub(super) fn namespace() -> DeclaredType {
    let condition = object(
        "kubernetes.NamespaceCondition",
        vec![
            ("status", string()),
            ("type", string()),
            ("lastTransitionTime", DeclaredType::date_time()),
            ("message", string()),
            ("reason", string()),
        ],
    );
    let conditions = DeclaredType::list(condition, None, ListKind::Atomic);
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        vec![
            ("name", string()),
            ("generateName", string()),
            ("namespace", string()),
            ("labels", string_map(string())),
            ("annotations", string_map(string())),
            ("UID", string()),
            ("creationTimestamp", DeclaredType::date_time()),
            ("deletionGracePeriodSeconds", DeclaredType::integer()),
            ("deletionTimestamp", DeclaredType::date_time()),
            ("generation", DeclaredType::integer()),
            ("resourceVersion", string()),
            ("finalizers", strings()),
        ],
    );
    object(
        "kubernetes.Namespace",
        vec![
            ("metadata", metadata),
            ("spec", object("kubernetes.NamespaceSpec", vec![("finalizers", strings())])),
            (
                "status",
                object("kubernetes.NamespaceStatus", vec![("conditions", conditions), ("phase", string())]),
            ),
        ],
    )
}
