//! VolumeAttachment: that a volume is, or is to be, attached to a node.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_machinery::cells::{self, age, age_column, boolean, name_column, text};
use skiff_machinery::names::Form;
use skiff_machinery::{
    Column, Context, FieldError, FieldErrors, Kind, MetadataChecks, Object, Printer, Row, Scope, Strategy,
    Subresource,
};
use skiff_schema::Schema;

use crate::core::volume_spec::{self, Place};
use crate::groups::STORAGE;
use crate::row::stored;
use crate::shared::check::driver_name;
use crate::shared::go;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        columns: vec![
            name_column(),
            Column { format: "name".into(), ..text("Attacher", "The driver that attaches it.") },
            text("PV", "The volume."),
            text("Node", "The node that it is attached to."),
            boolean("Attached", "Whether it is attached."),
            age_column(),
        ],
        print: Printer::Fixed(print),
        ..stored(
            schema,
            STORAGE,
            "io.k8s.api.storage.v1.VolumeAttachment",
            Scope::Cluster,
            AttachmentStrategy,
        )
        .below(&[Subresource::Status])
    }
}

fn print(object: &Object, now: Timestamp) -> Row {
    cells::row([
        object.name().into(),
        object.str(&["spec", "attacher"]).into(),
        object.str(&["spec", "source", "persistentVolumeName"]).into(),
        object.str(&["spec", "nodeName"]).into(),
        object.get(&["status", "attached"]).and_then(Value::as_bool).unwrap_or_default().into(),
        age(object, now),
    ])
}

/// Keys and values of what is told of an attachment together, in bytes.
const LARGEST_METADATA: usize = 256 << 10;

/// Bytes in a message about a failure.
const LONGEST_MESSAGE: usize = 1024;

/// What is special about attachments.
struct AttachmentStrategy;

impl Strategy for AttachmentStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn status_changes_metadata(&self) -> bool {
        false
    }

    fn metadata_checks(&self) -> MetadataChecks {
        MetadataChecks::Object
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn prepare_create(&self, _: Context<'_>, object: &mut Object) {
        object.set(&["status"], json!({"attached": false}));
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let spec = spec(object);
        let mut errors = driver_name("spec.attacher", object.str(&["spec", "attacher"]));
        errors.extend(source(&spec["source"]));
        errors.extend(Form::Subdomain.check("spec.nodeName", object.str(&["spec", "nodeName"])));
        errors.extend(status(object));
        if let Some(volume) = spec.pointer("/source/persistentVolumeName").and_then(Value::as_str) {
            errors.extend(Form::Subdomain.check("spec.source.persistentVolumeName", volume));
        }
        errors
    }

    fn validate_update(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        let mut errors = self.validate(cx, new);
        if spec(new) != spec(old) {
            let error = FieldError::invalid("spec", Value::Null, "field is immutable");
            errors.push(error.showing(shown(spec(new))));
        }
        errors
    }

    /// What is wrong of a status is looked for in the whole object.
    fn validate_status(&self, cx: Context<'_>, new: &Object, old: &Object) -> FieldErrors {
        self.validate_update(cx, new, old)
    }
}

fn spec(object: &Object) -> &Value {
    object.get(&["spec"]).unwrap_or(&Value::Null)
}

/// What is attached: a volume, or one that a pod has within itself.
fn source(source: &Value) -> FieldErrors {
    const FIELD: &str = "spec.source";
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let (inline, volume) = (&source["inlineVolumeSpec"], source["persistentVolumeName"].as_str());
    match (inline.is_object(), volume) {
        (false, None) => [FieldError::required(FIELD, ONE)].into(),
        (true, Some(_)) => [FieldError::forbidden(FIELD, ONE)].into(),
        (false, Some("")) => {
            let detail = "must specify non empty persistentVolumeName";
            [FieldError::required("spec.source.persistentVolumeName", detail)].into()
        }
        (false, Some(_)) => FieldErrors::new(),
        (true, None) => volume_spec::check("spec.source.inlineVolumeSpec", inline, Place::Attachment),
    }
}

fn status(object: &Object) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let metadata = object.get(&["status", "attachmentMetadata"]).and_then(Value::as_object);
    let sizes = metadata.into_iter().flatten();
    let size: usize = sizes.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > LARGEST_METADATA {
        errors.push(FieldError::too_long("status.attachmentMetadata", LARGEST_METADATA));
    }
    for field in ["attachError", "detachError"] {
        let at = |part: &str| format!("status.{field}.{part}");
        if object.str(&["status", field, "message"]).len() > LONGEST_MESSAGE {
            // Kubernetes tells the bound of something else.
            errors.push(FieldError::too_long(at("message"), LARGEST_METADATA));
        }
        let code = object.get(&["status", field, "errorCode"]).and_then(Value::as_i64);
        if let Some(code) = code.filter(|code| *code < 0) {
            let detail = format!("must be between 0 and {}, inclusive", i32::MAX);
            errors.push(FieldError::invalid(at("errorCode"), code, detail));
        }
    }
    errors
}

/// A spec as Kubernetes' own type has it.
fn shown(spec: &Value) -> String {
    let source = go::object(&[
        ("PersistentVolumeName", go::plain(&spec["source"], "persistentVolumeName")),
        ("InlineVolumeSpec", go::plain(&spec["source"], "inlineVolumeSpec")),
    ]);
    go::object(&[
        ("Attacher", go::text(spec, "attacher")),
        ("Source", source),
        ("NodeName", go::text(spec, "nodeName")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, texts, with_context};

    fn attachment(source: Value) -> Object {
        object(json!({"spec": {"attacher": "a.example.com", "nodeName": "n", "source": source}}))
    }

    #[test]
    fn one_thing_is_attached_and_stays() {
        let check = |new: Value, expected: &[&str]| {
            let (new, old) = (attachment(new), attachment(json!({"persistentVolumeName": "v"})));
            assert_eq!(
                texts(with_context(|cx| AttachmentStrategy.validate_update(cx, &new, &old))),
                expected
            );
        };
        check(json!({"persistentVolumeName": "v"}), &[]);
        check(
            json!({"persistentVolumeName": "w"}),
            &[concat!(
                r#"spec: Invalid value: {"Attacher":"a.example.com","Source":{"PersistentVolumeName":"w","#,
                r#""InlineVolumeSpec":null},"NodeName":"n"}: field is immutable"#,
            )],
        );
        let errors = with_context(|cx| AttachmentStrategy.validate(cx, &attachment(json!({}))));
        assert_eq!(
            texts(errors),
            [
                "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            ]
        );
    }
}
