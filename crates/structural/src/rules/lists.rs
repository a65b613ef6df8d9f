//! How lists and maps are merged: `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and `x-kubernetes-map-type`.

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use crate::model::{ListType, MapType, Structural, Type};
use crate::path::Path;

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const KEYS: &str = "x-kubernetes-list-map-keys";

pub(super) fn check(schema: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    check_types(schema, path, errors);
    check_keys(schema, path, errors);
    check_items(schema, path, errors);
}

fn wrong_type(path: &Path<'_>, ty: &Type, detail: &str) -> FieldError {
    match ty {
        Type::Any => FieldError::required(path.child("type"), detail),
        other => FieldError::invalid(path.child("type"), other.name(), detail),
    }
}

fn check_types(schema: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    if schema.map_type.is_some() && schema.ty != Type::Object {
        errors.push(wrong_type(path, &schema.ty, "must be object if x-kubernetes-map-type is specified"));
    }
    if let Some(MapType::Other(name)) = &schema.map_type {
        let supported = ["atomic", "granular"];
        errors.push(FieldError::not_supported(path.child(MAP_TYPE), name.as_str(), &supported));
    }
    if schema.list_type.is_some() && schema.ty != Type::Array {
        errors.push(wrong_type(path, &schema.ty, "must be array if x-kubernetes-list-type is specified"));
    } else if let (Some(ListType::Set), Some(items)) = (&schema.list_type, &schema.items) {
        check_set(items, path, errors);
    }
    if let Some(ListType::Other(name)) = &schema.list_type {
        let supported = ["atomic", "set", "map"];
        errors.push(FieldError::not_supported(path.child(LIST_TYPE), name.as_str(), &supported));
    }
}

/// What a set holds is compared as a whole.
fn check_set(items: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    let list_type = items.list_type.as_ref().map_or(Value::Null, |ty| ty.name().into());
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let path = path.child("items");
    match items.ty {
        Type::Array if items.list_type.as_ref().is_some_and(|ty| *ty != ListType::Atomic) => {
            errors.push(FieldError::invalid(path.child(LIST_TYPE), list_type, detail));
        }
        Type::Object if items.map_type != Some(MapType::Atomic) => {
            errors.push(FieldError::invalid(path.child(MAP_TYPE), list_type, detail));
        }
        _ => {}
    }
}

fn check_keys(schema: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    let keys = &schema.list_map_keys;
    if !keys.is_empty() && schema.list_type != Some(ListType::Map) {
        let path = path.child(LIST_TYPE);
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match &schema.list_type {
            None => FieldError::required(path, detail),
            Some(other) => FieldError::invalid(path, other.name(), detail),
        });
    }
    if schema.list_type != Some(ListType::Map) {
        return;
    }
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(path.child(KEYS), detail));
    }
    let of_items = path.child("items");
    let Some(items) = &schema.items else {
        let is_list = schema.extras.as_ref().is_some_and(|extras| !extras.unsupported.items.is_empty());
        errors.push(if is_list {
            let detail = "must only have a single schema if x-kubernetes-list-type is map";
            FieldError::invalid(of_items, Value::Null, detail)
        } else {
            FieldError::required(of_items, "must have a schema if x-kubernetes-list-type is map")
        });
        return;
    };
    if items.ty != Type::Object {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(of_items.child("type"), items.ty.name(), detail));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        let of_keys = |detail| FieldError::invalid(path.child(KEYS), keys.clone(), detail);
        match items.properties.get(key) {
            None => errors.push(of_keys("entries must all be names of item properties")),
            Some(field) if matches!(field.ty, Type::Array | Type::Object) => {
                let path = of_items.child("properties");
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(path.key(key).child("type"), items.ty.name(), detail));
            }
            Some(_) => {}
        }
        if keys[..index].contains(key) {
            errors.push(of_keys("must not contain duplicate entries"));
        }
    }
}

/// What identifies an item must be there.
fn check_items(schema: &Structural, path: &Path<'_>, errors: &mut FieldErrors) {
    let (Some(items), Some(ty @ (ListType::Set | ListType::Map))) = (&schema.items, &schema.list_type) else {
        return;
    };
    let path = path.child("items");
    if items.nullable {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {}", ty.name());
        errors.push(FieldError::forbidden(path.child("nullable"), detail));
    }
    if *ty == ListType::Set {
        return;
    }
    let properties = path.child("properties");
    for key in &schema.list_map_keys {
        let Some(field) = items.properties.get(key) else { continue };
        let path = properties.key(key);
        if !items.checks().required.contains(key) && field.default.is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(path.child("default"), detail));
        }
        if field.nullable {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(path.child("nullable"), detail));
        }
    }
}
