//! A request as priority and fairness see it.

use http::{HeaderMap, HeaderValue, Method};
use skiff_fairness::{Asked, Classified, Details, Listed, Target, list_seats};
use skiff_identity::UserInfo;
use skiff_machinery::{Kind, Verb, keys, selector::FieldSelector};
use skiff_registry::Query;
use skiff_store::Store;

use super::path::RequestInfo;

/// What is asked for.
pub(super) struct Order<'a> {
    pub(super) info: &'a RequestInfo,
    pub(super) method: &'a Method,
    /// Of requests for objects; none where there is none for the method.
    pub(super) verb: Option<Verb>,
    pub(super) query: &'a Query,
}

/// The UIDs of the FlowSchema and the level of a request, as answers tell them.
pub(super) struct Matched {
    schema: HeaderValue,
    level: HeaderValue,
}

impl Matched {
    pub(super) fn new(classified: &Classified) -> Self {
        // UIDs are made by the server; one that is none is as good as missing.
        let value = |uid: &str| HeaderValue::from_str(uid).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { schema: value(classified.schema_uid()), level: value(classified.level_uid()) }
    }

    /// Adds the headers.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert("x-kubernetes-pf-flowschema-uid", self.schema.clone());
        headers.insert("x-kubernetes-pf-prioritylevel-uid", self.level.clone());
    }
}

/// HTTP methods as verbs.
fn lower(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "",
    }
}

impl Order<'_> {
    fn word(&self) -> &'static str {
        match self.info {
            RequestInfo::Resource(_) => self.verb.map_or("", Verb::as_str),
            RequestInfo::NonResource => lower(self.method),
        }
    }

    /// What FlowSchemas match.
    pub(super) fn asked<'a>(&'a self, user: &'a UserInfo, path: &'a str) -> Asked<'a> {
        let target = match self.info {
            RequestInfo::Resource(path) => Target::Resource {
                group: &path.group,
                resource: &path.resource,
                subresource: &path.subresource,
                namespace: &path.namespace,
            },
            RequestInfo::NonResource => Target::Path(path),
        };
        Asked { user: &user.name, groups: &user.groups, verb: self.word(), target }
    }

    /// What administrators are told of it.
    pub(super) fn details(&self, user: &UserInfo, path: &str) -> Details {
        let (user, verb, path) = (user.name.clone(), self.word().to_owned(), path.to_owned());
        let base = Details { user, verb, path, ..Details::default() };
        let RequestInfo::Resource(asked) = self.info else { return base };
        let api_version = if asked.group.is_empty() {
            asked.version.clone()
        } else {
            format!("{}/{}", asked.group, asked.version)
        };
        Details {
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            api_version,
            resource: asked.resource.clone(),
            subresource: asked.subresource.clone(),
            ..base
        }
    }

    /// How many seats it takes: more than one are for lists, and for watches that begin with one.
    pub(super) fn seats(&self, store: &dyn Store, kind: &Kind, widest: u32) -> u32 {
        let RequestInfo::Resource(path) = self.info else { return 1 };
        let lists = match self.verb {
            Some(Verb::List) => true,
            Some(Verb::Watch) => self.begins_with_a_list(),
            _ => false,
        };
        if widest <= 1 || !lists || !path.name.is_empty() || self.selects_one() {
            return 1;
        }
        let extent = store.extent(keys::collection(kind, &path.namespace).as_str().into());
        let listed = Listed {
            count: extent.count as u64,
            size: extent.average as u64,
            limit: self.query.get("limit").parse().ok(),
        };
        list_seats(listed, widest)
    }

    fn begins_with_a_list(&self) -> bool {
        self.query.flag("sendInitialEvents") || matches!(self.query.get("resourceVersion"), "" | "0")
    }

    fn selects_one(&self) -> bool {
        let fields = self.query.get("fieldSelector");
        fields.contains("metadata.name")
            && FieldSelector::parse(fields).is_ok_and(|fields| fields.exact("metadata.name").is_some())
    }
}
