//! Parameters: objects that a binding names and a policy's expressions use.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use skiff_machinery::selector::LabelSelector;
use skiff_machinery::{Namespace, Object, Scope};

use crate::attributes::GroupVersionKind;
use crate::selector::{self, Selector};
use crate::surroundings::text;

/// The objects that policies use as parameters.
#[async_trait]
pub trait Params: Send + Sync {
    /// Where objects of the kind live; `None` when there is no such kind (yet).
    fn scope(&self, kind: &GroupVersionKind) -> Option<Scope>;

    /// The object with this name; there is no namespace for kinds of the cluster.
    ///
    /// # Errors
    /// When it cannot be read now; the text says why.
    async fn get(
        &self,
        kind: &GroupVersionKind,
        namespace: Namespace<'_>,
        name: &str,
    ) -> Result<Option<Arc<Object>>, String>;

    /// The objects with these labels; there is no namespace for kinds of the cluster.
    ///
    /// # Errors
    /// When they cannot be read now; the text says why.
    async fn list(
        &self,
        kind: &GroupVersionKind,
        namespace: Namespace<'_>,
        selector: &LabelSelector,
    ) -> Result<Vec<Arc<Object>>, String>;
}

/// `paramRef` of a binding.
#[derive(Debug)]
pub(super) struct ParamRef {
    name: String,
    namespace: String,
    selector: Option<Selector>,
    /// Whether to refuse when there are none.
    denies: bool,
}

impl ParamRef {
    pub(super) fn of(reference: &Value) -> Self {
        Self {
            name: text(reference, "name").to_owned(),
            namespace: text(reference, "namespace").to_owned(),
            selector: reference.get("selector").filter(|selector| !selector.is_null()).map(selector::compile),
            denies: text(reference, "parameterNotFoundAction") == "Deny",
        }
    }
}

/// The parameters to look at a request with, one after the other; `None` in the list for a look without any. An empty list: the
/// binding has nothing to say.
pub(super) async fn collect(
    kind: Option<&GroupVersionKind>,
    reference: Option<&ParamRef>,
    namespace: &str,
    params: &dyn Params,
) -> Result<Vec<Option<Arc<Object>>>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(vec![None]) };
    let scope = params.scope(kind).ok_or_else(|| unknown(kind))?;
    let namespace = namespace_of(scope, reference, namespace)?;
    let found: Vec<Arc<Object>> = match (&reference.selector, reference.name.as_str()) {
        (Some(_), name) if !name.is_empty() => {
            return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned());
        }
        (Some(selector), _) => {
            params.list(kind, Namespace::new(namespace), selector.as_ref().map_err(String::clone)?).await?
        }
        (None, "") => return Err("one of name or selector must be provided".to_owned()),
        (None, name) => params.get(kind, Namespace::new(namespace), name).await?.into_iter().collect(),
    };
    if found.is_empty() && reference.denies {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found.into_iter().map(|object| Some(typed(object, kind))).collect())
}

fn namespace_of<'a>(scope: Scope, reference: &'a ParamRef, namespace: &'a str) -> Result<&'a str, String> {
    match scope {
        Scope::Cluster if !reference.namespace.is_empty() => {
            Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned())
        }
        Scope::Cluster => Ok(""),
        Scope::Namespaced if !reference.namespace.is_empty() => Ok(&reference.namespace),
        Scope::Namespaced if namespace.is_empty() => {
            Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                .to_owned())
        }
        Scope::Namespaced => Ok(namespace),
    }
}

fn unknown(kind: &GroupVersionKind) -> String {
    format!("paramKind kind `&ParamKind{{APIVersion:{},Kind:{},}}` not known", kind.api_version(), kind.kind)
}

/// Why a policy with this kind of parameters cannot be used at all.
pub(super) fn configuration_error(kind: &GroupVersionKind) -> String {
    format!("failed to find resource referenced by paramKind: '{kind}'")
}

/// With its kind, which not every list gives.
fn typed(object: Arc<Object>, kind: &GroupVersionKind) -> Arc<Object> {
    if !object.kind().is_empty() {
        return object;
    }
    let mut object = Arc::unwrap_or_clone(object);
    object.set(&["apiVersion"], kind.api_version());
    object.set(&["kind"], kind.kind.as_str());
    Arc::new(object)
}
