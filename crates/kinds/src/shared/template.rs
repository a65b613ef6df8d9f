//! The template of the pods that a kind makes: defaults, fields that are off, checks, warnings and cells, as far as they are the
//! same wherever it is.

use k8s_openapi::api::core::v1::PodSpec;
use serde::Deserialize;
use serde_json::{Map, Value};
use skiff_machinery::cells::{str_of, wide};
use skiff_machinery::{Cell, Column, FieldError, FieldErrorKind, FieldErrors, Object, selector};

use super::check;
use super::defaults::object_mut;
use crate::core::pod;

/// Where the template is in objects of a kind.
#[derive(Clone, Copy)]
pub(crate) struct Template(pub(crate) &'static [&'static str]);

/// Where most kinds have it.
pub(crate) const TEMPLATE: Template = Template(&["spec", "template"]);

impl Template {
    /// The template; null if there is none.
    pub(crate) fn get(self, object: &Object) -> &Value {
        object.get(self.0).unwrap_or(&Value::Null)
    }

    /// Its path, as errors name it.
    pub(crate) fn path(self) -> String {
        self.0.join(".")
    }

    /// The spec in a template that is there.
    fn spec_mut(self, object: &mut Object) -> Option<&mut Map<String, Value>> {
        let (first, rest) = self.0.split_first()?;
        let root = object.as_map_mut().get_mut(*first)?;
        let template = rest.iter().try_fold(root, |value, key| value.get_mut(*key))?;
        Some(object_mut(template.as_object_mut()?, "spec"))
    }

    /// Fills the defaults of the pods.
    pub(crate) fn default(self, object: &mut Object) {
        self.spec_mut(object).map(pod::default_spec).unwrap_or_default();
    }

    /// Takes out what belongs to features that are off, unless it was there before.
    pub(crate) fn drop_disabled(self, object: &mut Object, old: Option<&Object>) {
        let old = old.and_then(|old| self.get(old).get("spec"));
        self.spec_mut(object).map(|spec| pod::drop_disabled(spec, old)).unwrap_or_default();
    }

    /// Checks labels and annotations of the pods, at the paths that Kubernetes gives them.
    pub(crate) fn validate_metadata(self, object: &Object) -> FieldErrors {
        let (template, path) = (self.get(object), self.path());
        let metadata = |field: &str| {
            let map = template["metadata"][field].as_object().into_iter().flatten();
            map.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        };
        let mut errors = check::labels(&format!("{path}.labels"), metadata("labels"));
        errors.extend(check::annotations(&format!("{path}.annotations"), metadata("annotations")));
        errors
    }

    /// Checks the template.
    pub(crate) fn validate(self, object: &Object) -> FieldErrors {
        let mut errors = self.validate_metadata(object);
        let spec = self.get(object).get("spec").unwrap_or(&Value::Null);
        let path = format!("{}.spec", self.path());
        match PodSpec::deserialize(spec) {
            Ok(typed) => errors.extend(pod::validate_spec(&path, &typed, spec, pod::Subject::Template)),
            Err(error) => {
                let kind = FieldErrorKind::TypeInvalid;
                errors.push(FieldError::new(kind, &path, Value::Null, error.to_string()));
            }
        }
        if spec["ephemeralContainers"].as_array().is_some_and(|list| !list.is_empty()) {
            let detail = "ephemeral containers not allowed in pod template";
            errors.push(FieldError::forbidden(format!("{path}.ephemeralContainers"), detail));
        }
        errors
    }

    /// What the writer is warned of.
    pub(crate) fn warnings(self, object: &Object) -> Vec<String> {
        pod::template_warnings(&self.path(), self.get(object))
    }

    /// The cells Containers and Images.
    pub(crate) fn cells(self, object: &Object) -> [Cell; 2] {
        let containers = self.get(object)["spec"]["containers"].as_array();
        ["name", "image"].map(|field| {
            let all = containers.into_iter().flatten().map(|container| str_of(container, field));
            all.collect::<Vec<_>>().join(",").into()
        })
    }
}

/// Columns, and behind them those of [`Template::cells`].
pub(crate) fn with_template(mut columns: Vec<Column>) -> Vec<Column> {
    columns.push(wide("Containers", "Names of the template's containers."));
    columns.push(wide("Images", "Images of the template's containers."));
    columns
}

/// Columns, and behind them those of [`Template::cells`] and of [`selector_cell`].
pub(crate) fn with_selector(columns: Vec<Column>) -> Vec<Column> {
    let mut columns = with_template(columns);
    columns.push(wide("Selector", "Which pods are its own."));
    columns
}

/// The cell Selector, of a selector of labels.
pub(crate) fn selector_cell(selector: Option<&Value>) -> Cell {
    let shown = selector.filter(|selector| !selector.is_null()).map(selector::shown);
    match shown {
        None => "<none>".into(),
        Some(None) => "<error>".into(),
        Some(Some(text)) if text.is_empty() => "<none>".into(),
        Some(Some(text)) => text.into(),
    }
}
