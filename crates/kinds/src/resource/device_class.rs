//! DeviceClass: a name for devices that claims may ask for.

use std::sync::Arc;

use serde_json::Value;
use skiff_machinery::cells::items;
use skiff_machinery::names::Form;
use skiff_machinery::{Context, FieldError, FieldErrors, Kind, Object, Scope, Strategy};
use skiff_schema::Schema;

use super::devices;
use crate::groups::RESOURCE;
use crate::row::stored;
use crate::shared::check;

pub(crate) fn row(schema: &Arc<Schema>) -> Kind {
    Kind {
        counts_generations: true,
        ..stored(schema, RESOURCE, "io.k8s.api.resource.v1.DeviceClass", Scope::Cluster, ClassStrategy)
            .plural("deviceclasses")
    }
}

const MOST_CONFIGURATIONS: usize = 32;

/// What is special about classes of devices.
struct ClassStrategy;

impl Strategy for ClassStrategy {
    fn answers_deleted(&self) -> bool {
        true
    }

    fn validate_name(&self, name: &str) -> FieldErrors {
        check::long_name("metadata.name", name)
    }

    fn checks_generate_name(&self) -> bool {
        false
    }

    fn validate(&self, _: Context<'_>, object: &Object) -> FieldErrors {
        let spec = object.get(&["spec"]).unwrap_or(&Value::Null);
        let mut errors = devices::selectors("spec.selectors", spec);
        let configurations = items(object, &["spec", "config"]);
        errors.extend(devices::each(
            "spec.config",
            configurations,
            MOST_CONFIGURATIONS,
            devices::configuration,
        ));
        if let Some(name) = spec["extendedResourceName"].as_str().filter(|name| !is_extended(name)) {
            let detail = "must be a valid extended resource name";
            errors.push(FieldError::invalid("spec.extendedResourceName", name, detail));
        }
        errors
    }
}

/// Whether pods can ask for it by this name: one with a domain that is not Kubernetes' own.
fn is_extended(name: &str) -> bool {
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    !is_native && !name.starts_with("requests.") && Form::QualifiedName.fits(&format!("requests.{name}"))
}
