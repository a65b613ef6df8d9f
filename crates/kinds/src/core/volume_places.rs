//! Checks of places that both pods and persistent volumes name in the same words.

use serde_json::Value;
use skiff_machinery::cells::str_of;
use skiff_machinery::{FieldError, FieldErrors};

use crate::shared::check::one_of_optional;

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// A file system of a server in the network.
pub(super) fn nfs(path: &str, source: &Value) -> FieldErrors {
    let mut errors = required(path, source, &["server", "path"]);
    let location = str_of(source, "path");
    if !location.is_empty() && !location.starts_with('/') {
        errors.push(FieldError::invalid(format!("{path}.path"), location, "must be an absolute path"));
    }
    errors
}

/// A disk of Azure.
pub(super) fn azure_disk(path: &str, source: &Value) -> FieldErrors {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let text = |field: &str| source.get(field).and_then(Value::as_str);
    let mut errors = required(path, source, &["diskName", "diskURI"]);
    let modes = ["None", "ReadOnly", "ReadWrite"];
    errors.extend(one_of_optional(&format!("{path}.cachingMode"), text("cachingMode"), &modes));
    let kinds = ["Dedicated", "Managed", "Shared"];
    errors.extend(one_of_optional(&format!("{path}.kind"), text("kind"), &kinds));
    let location = str_of(source, "diskURI");
    let form = match text("kind") {
        Some("Managed") if !location.starts_with("/subscriptions/") => MANAGED,
        Some("Dedicated" | "Shared") if !location.starts_with("https://") => BLOB,
        _ => return errors,
    };
    errors.push(FieldError::not_supported(format!("{path}.diskURI"), location, &[form]));
    errors
}

/// A file or directory of the node.
pub(super) fn host_path(path: &str, source: &Value) -> FieldErrors {
    let location = str_of(source, "path");
    if location.is_empty() {
        return required(path, source, &["path"]);
    }
    let mut errors = FieldErrors::new();
    if location.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(format!("{path}.path"), location, "must not contain '..'"));
    }
    let kind = source.get("type").and_then(Value::as_str);
    errors.extend(one_of_optional(&format!("{path}.type"), kind, HOST_PATH_TYPES));
    errors
}

/// Fields whose text must not be empty.
pub(super) fn required(path: &str, source: &Value, fields: &[&str]) -> FieldErrors {
    let missing = fields.iter().filter(|field| str_of(source, field).is_empty());
    missing.map(|field| FieldError::required(format!("{path}.{field}"), "")).collect()
}
