//! One version of a custom kind.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use skiff_machinery::discovery::prefer;
use skiff_machinery::{
    Getter, Kind, Native, Object, Persistence, Selectable, Subresource, Verb, Versions, scale,
};
use skiff_schema::{Schema, Text};
use skiff_structural::jsonpath::{self, JsonPath};
use skiff_structural::{KindName, ObjectMeta, ScalePaths, Structural, Validator};

use super::columns;
use super::definition::{DefinitionError, array, gv, is_terminating, names, scope, text};
use super::strategy::CustomStrategy;

/// A version of a definition.
pub(super) struct ServedVersion<'d> {
    pub(super) definition: &'d Object,
    pub(super) spec: &'d Value,
    pub(super) version: &'d Value,
}

impl<'d> ServedVersion<'d> {
    pub(super) fn name(&self) -> &'d str {
        text(self.version, "name")
    }

    pub(super) fn kind(&self, kubernetes: &Arc<Schema>, versions: Versions) -> Result<Kind, DefinitionError> {
        let refuse = |why: String| DefinitionError { version: self.name().to_owned(), why };
        let structural = Structural::parse(&self.version["schema"]["openAPIV3Schema"]);
        let structural = Arc::new(structural.map_err(|error| refuse(error.to_string()))?);
        let (gv, names) = (gv(self.spec, self.name()), names(self.definition));
        let name = KindName { group: &gv.group, version: &gv.version, kind: &names.kind };
        let too_large = || refuse("the schema has too many types".to_owned());
        let root = skiff_structural::schema(&structural, name, kubernetes).ok_or_else(too_large)?;
        let meta = ObjectMeta::of(kubernetes).ok_or_else(|| refuse("no ObjectMeta".to_owned()))?;
        let subresources = &self.version["subresources"];
        let has_status = !subresources["status"].is_null();
        let (columns, print) = columns::of(array(&self.version["additionalPrinterColumns"]));
        Ok(Kind {
            scope: scope(self.spec),
            verbs: if is_terminating(self.definition) { NO_CREATE } else { ALL },
            persistence: Persistence::Stored,
            subresources: subresource_list(subresources).into(),
            scale: scale_paths(&subresources["scale"]),
            counts_generations: true,
            columns,
            print,
            selectable: array(&self.version["selectableFields"]).filter_map(selectable).collect(),
            deprecation: self.deprecation(),
            strategy: Arc::new(CustomStrategy {
                validator: Validator::new(structural, checked_scale(&subresources["scale"])),
                meta,
                has_status,
            }),
            edition: self.edition(),
            gv,
            names,
            root,
            versions,
        })
    }

    /// Another one when the definition is another one, or says something else or under other names. That it is being deleted
    /// changes nothing yet.
    fn edition(&self) -> String {
        let names = self.definition.get(&["status", "acceptedNames"]).unwrap_or(&Value::Null);
        let said = Sha256::digest(format!("{} {names}", self.spec));
        let said: String = said.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {said}", self.definition.uid())
    }

    /// What every request for a deprecated version is told.
    fn deprecation(&self) -> Option<Text> {
        if self.version["deprecated"] != true {
            return None;
        }
        if let Some(warning) = self.version["deprecationWarning"].as_str() {
            return Some(warning.to_owned().into());
        }
        let (group, kind) = (text(self.spec, "group"), text(&self.spec["names"], "kind"));
        let better = array(&self.spec["versions"])
            .filter(|version| version["served"] == true && version["deprecated"] != true)
            .map(|version| text(version, "name"))
            .filter(|name| prefer(name, self.name()).is_lt())
            .min_by(|a, b| prefer(a, b));
        let instead = better.map(|name| format!("; use {group}/{name} {kind}")).unwrap_or_default();
        Some(format!("{group}/{} {kind} is deprecated{instead}", self.name()).into())
    }
}

/// What is offered, in the order in which Kubernetes tells it of such kinds.
const ALL: &[Verb] = &[
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Create,
    Verb::Update,
    Verb::Watch,
];

/// What is offered of a kind that is going away.
const NO_CREATE: &[Verb] =
    &[Verb::Delete, Verb::DeleteCollection, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];

fn subresource_list(subresources: &Value) -> Vec<Subresource> {
    let known = [("scale", Subresource::Scale), ("status", Subresource::Status)];
    known.into_iter().filter(|(name, _)| !subresources[*name].is_null()).map(|(_, known)| known).collect()
}

/// The paths of a Scale; simple ones, such as `.spec.replicas`, are all that definitions may have there.
fn scale_paths(scale: &Value) -> scale::Paths {
    let path = |field: &str| -> Option<Vec<String>> {
        let path = scale[field].as_str().filter(|path| !path.is_empty())?;
        Some(path.trim_start_matches('.').split('.').map(str::to_owned).collect())
    };
    let usual = scale::Paths::default();
    scale::Paths {
        spec: path("specReplicasPath").unwrap_or(usual.spec),
        status: path("statusReplicasPath").unwrap_or(usual.status),
        selector: path("labelSelectorPath"),
        must_say: true,
    }
}

/// The same paths, as they are checked.
fn checked_scale(scale: &Value) -> Option<ScalePaths> {
    let selector = scale["labelSelectorPath"].as_str().filter(|path| !path.is_empty());
    let of = |field| text(scale, field);
    (!scale.is_null()).then(|| ScalePaths::new(of("specReplicasPath"), of("statusReplicasPath"), selector))
}

/// A field that selectors may name: its label is its path without the first dot.
fn selectable(field: &Value) -> Option<Selectable> {
    let path = text(field, "jsonPath");
    let parsed = JsonPath::parse(path).ok()?;
    let value = move |object: &Object| {
        let found = parsed.first(&Value::Object(object.as_map().clone()));
        found.filter(|value| !value.is_null()).map(|value| jsonpath::print(&value)).unwrap_or_default()
    };
    let getter: Getter = Native::Made(Arc::new(value));
    Some(Selectable { label: path.trim_start_matches('.').to_owned().into(), getter, indexed: false })
}
