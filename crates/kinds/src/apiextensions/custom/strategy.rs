//! The behaviour of custom kinds: all of it comes from their schemas.

use serde_json::{Value, json};
use skiff_machinery::openapi::{Dialect, Publication};
use skiff_machinery::strict::{self, DecodeFailure, Decoded};
use skiff_machinery::{Context, FieldErrors, Findings, MetadataChecks, Object, Strategy, Subresource};
use skiff_schema::Root;
use skiff_structural::openapi::{self, Texts};
use skiff_structural::{KindName, Malformed, ObjectMeta, Validator};

/// What is special about a custom kind.
pub(super) struct CustomStrategy {
    pub(super) validator: Validator,
    pub(super) meta: ObjectMeta,
    /// Whether there is a status subresource.
    pub(super) has_status: bool,
}

impl CustomStrategy {
    /// An object in the form of its schema, with its defaults; the fields that went are told of.
    fn read(&self, mut tree: Value, malformed: Malformed) -> Result<Decoded, DecodeFailure> {
        let schema = &**self.validator.schema();
        let unknown = self.meta.read(&mut tree, schema, malformed);
        let unknown = unknown.map_err(|error| DecodeFailure::Mismatch(error.to_string()))?;
        skiff_structural::default(&mut tree, schema);
        let object = Object::from_value(tree).map_err(|error| DecodeFailure::Mismatch(error.to_string()))?;
        let problems = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        Ok(Decoded { object, problems })
    }
}

fn tree(object: &Object) -> Value {
    Value::Object(object.as_map().clone())
}

impl Strategy for CustomStrategy {
    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Change
    }

    fn decode(&self, text: &[u8], _: &Root) -> Result<Decoded, DecodeFailure> {
        let mut decoded = self.read(serde_json::from_slice(text)?, Malformed::Refuse)?;
        let twice = strict::duplicates(text).into_iter().map(|path| format!("duplicate field {path:?}"));
        decoded.problems = twice.chain(decoded.problems).collect();
        Ok(decoded)
    }

    fn prune(&self, tree: Value, _: &Root) -> Result<Decoded, DecodeFailure> {
        self.read(tree, Malformed::Refuse)
    }

    fn reads_anew(&self) -> bool {
        true
    }

    fn is_settled(&self, text: &[u8], api_version: &str) -> bool {
        skiff_structural::is_settled(text, self.validator.schema(), api_version)
    }

    fn revive(&self, object: &mut Object) {
        let tree = Value::Object(object.as_map().clone());
        // Malformed metadata is dropped, so nothing is left that could be refused.
        if let Ok(decoded) = self.read(tree, Malformed::Drop) {
            *object = decoded.object;
        }
    }

    fn publish(&self, publication: &Publication<'_>) -> Option<Value> {
        let Publication { gv, kind, selectable, dialect, common } = publication;
        let texts = Texts {
            api_version: common.text("apiVersion"),
            kind: common.text("kind"),
            metadata: common.text("metadata"),
        };
        let name = KindName { group: &gv.group, version: &gv.version, kind };
        let form = match dialect {
            Dialect::V2 => openapi::Dialect::V2,
            Dialect::V3 => openapi::Dialect::V3,
        };
        let mut published = openapi::published(self.validator.schema(), name, form, &texts);
        if !selectable.is_empty() {
            let fields: Vec<Value> =
                selectable.iter().map(|field| json!({"fieldPath": field.label})).collect();
            published["x-kubernetes-selectable-fields"] = fields.into();
        }
        Some(published)
    }

    fn is_typed(&self) -> bool {
        false
    }

    fn counts_status(&self) -> bool {
        !self.has_status
    }

    fn default(&self, object: &mut Object) {
        let mut tree = std::mem::take(object).into_value();
        skiff_structural::default(&mut tree, self.validator.schema());
        *object = Object::from_value(tree).unwrap_or_default();
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        if self.has_status {
            object.remove(&["status"]);
        }
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        self.validator.create(&tree(object)).errors
    }

    /// The rules of the schema say both what is refused and what is warned of. A Scale changes the object as an update does.
    fn check_change(
        &self,
        _: Context<'_>,
        part: Option<Subresource>,
        new: &Object,
        old: &Object,
    ) -> Findings {
        let (new, old) = (tree(new), tree(old));
        match part {
            Some(Subresource::Status) => self.validator.update_status(&new, &old),
            _ => self.validator.update(&new, &old),
        }
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }
}
