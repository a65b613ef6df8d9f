//! Strategic merge patch: maps merge, lists merge by the keys of the schema or are replaced, and
//! directives (`$patch`, `$retainKeys`, `$deleteFromPrimitiveList/F`, `$setElementOrder/F`) say the rest.

use serde_json::{Map, Value};

use skiff_schema::{PatchRule, Schema, Text, Type};

use super::error::PatchError;
use crate::go;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

type Tree = Map<String, Value>;

/// The object that the patch makes of `original`, both of type `ty`.
pub(super) fn apply(schema: &Schema, ty: Type, original: Tree, patch: Tree) -> Result<Tree, PatchError> {
    Merger { schema }.map(ty, original, patch)
}

struct Merger<'s> {
    schema: &'s Schema,
}

/// What a field that the schema does not know is treated by.
static NO_RULE: PatchRule = PatchRule { strategy: Text::Borrowed(""), key: None };

/// What a directive says of the map or list item that carries it.
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl<'s> Merger<'s> {
    fn map(&self, ty: Type, mut original: Tree, mut patch: Tree) -> Result<Tree, PatchError> {
        if patch.get(PATCH).is_some_and(|directive| directive == "merge") {
            return Err(unknown(&patch));
        }
        match take_directive(&mut patch)? {
            Directive::Replace => return Ok(patch),
            Directive::Delete => return Ok(Tree::new()),
            Directive::Merge => {}
        }
        retain_keys(&mut original, &mut patch)?;
        let orders = take_prefixed(&mut patch, ELEMENT_ORDER)?;
        for (field, unwanted) in take_prefixed(&mut patch, DELETE_FROM)? {
            if let Some(Value::Array(list)) = original.get_mut(&field) {
                list.retain(|item| !unwanted.contains(item));
            }
        }
        for (field, order) in &orders {
            if let Some(Value::Array(list)) = patch.get(field) {
                check_order(list, order, self.field_type(ty, field).1.key.as_deref())?;
            }
        }
        let before: Vec<(String, Vec<Value>)> = orders
            .iter()
            .map(|(field, _)| {
                let list = original.get(field).and_then(Value::as_array);
                (field.clone(), list.cloned().unwrap_or_default())
            })
            .collect();
        for (name, change) in patch {
            self.field(ty, &mut original, name, change)?;
        }
        for ((field, order), (_, server)) in orders.into_iter().zip(before) {
            let (_, rule) = self.field_type(ty, &field);
            if let Some(Value::Array(list)) = original.get_mut(&field) {
                *list = reorder(std::mem::take(list), &order, &server, rule.key.as_deref());
            }
        }
        Ok(original)
    }

    /// Applies one entry of a patch to the map that holds the field.
    fn field(&self, ty: Type, map: &mut Tree, name: String, change: Value) -> Result<(), PatchError> {
        let (ty, rule) = self.field_type(ty, &name);
        let merged = match (change, map.remove(&name)) {
            (Value::Null, _) => return Ok(()),
            (change @ Value::Object(_), Some(Value::Object(_))) if rule.replaces() => change,
            (Value::Object(change), Some(Value::Object(old))) => Value::Object(self.map(ty, old, change)?),
            (Value::Array(change), Some(Value::Array(old))) if rule.merges() => {
                Value::Array(self.list(self.item_type(ty), rule, old, change)?)
            }
            (change @ Value::Array(_), Some(Value::Array(_))) => change,
            // There is nothing to merge with.
            (change, _) => match taken(change) {
                Some(value) => value,
                None => return Ok(()),
            },
        };
        map.insert(name, merged);
        Ok(())
    }

    fn list(
        &self,
        item: Type,
        rule: &PatchRule,
        mut list: Vec<Value>,
        patch: Vec<Value>,
    ) -> Result<Vec<Value>, PatchError> {
        let Some(key) = rule.key.as_deref() else {
            let before = list.clone();
            for value in &patch {
                if !list.contains(value) {
                    list.push(value.clone());
                }
            }
            return Ok(reorder(list, &patch, &before, None));
        };
        if !patch.iter().all(Value::is_object) {
            let lists = go::printed(&Value::Array(vec![list.into(), patch.into()]));
            return Err(PatchError::Unclassified(format!("list element types are not identical: {lists}")));
        }
        let mut changes = Vec::new();
        let mut replace = false;
        for value in patch {
            let Value::Object(mut change) = value else { continue };
            let explicit = change.contains_key(PATCH);
            match take_directive(&mut change)? {
                Directive::Delete => {
                    let wanted = key_of(&change, key)?;
                    list.retain(|old| old.get(key) != Some(wanted));
                }
                Directive::Replace => replace = true,
                Directive::Merge if explicit => {
                    let text = "merging lists cannot yet be specified in the patch";
                    return Err(PatchError::Unclassified(text.to_owned()));
                }
                Directive::Merge => changes.push(change),
            }
        }
        if replace {
            list.clear();
        }
        let before = list.clone();
        let order: Vec<Value> = changes.iter().cloned().map(Value::Object).collect();
        for change in changes {
            self.item(item, key, &mut list, change)?;
        }
        Ok(if replace { list } else { reorder(list, &order, &before, Some(key)) })
    }

    /// Merges an item into the one with the same key, or appends it.
    fn item(&self, ty: Type, key: &str, list: &mut Vec<Value>, change: Tree) -> Result<(), PatchError> {
        let wanted = key_of(&change, key)?;
        let found = list.iter_mut().find(|old| old.get(key) == Some(wanted));
        match found {
            Some(slot) => {
                let old = match slot.take() {
                    Value::Object(old) => old,
                    _ => Tree::new(),
                };
                *slot = Value::Object(self.map(ty, old, change)?);
            }
            None => list.push(Value::Object(self.map(ty, Tree::new(), change)?)),
        }
        Ok(())
    }

    fn field_type(&self, ty: Type, name: &str) -> (Type, &'s PatchRule) {
        match ty {
            Type::Map(inner) => (self.schema.inner(inner), &NO_RULE),
            ty => match self.schema.field(ty, name) {
                Some(field) => (field.ty, &field.patch),
                None => (Type::ANY, &NO_RULE),
            },
        }
    }

    fn item_type(&self, ty: Type) -> Type {
        match ty {
            Type::List(inner) => self.schema.inner(inner),
            _ => Type::ANY,
        }
    }
}

fn take_directive(patch: &mut Tree) -> Result<Directive, PatchError> {
    let directive = match patch.get(PATCH) {
        None => return Ok(Directive::Merge),
        Some(Value::String(text)) if text == "merge" => Directive::Merge,
        Some(Value::String(text)) if text == "replace" => Directive::Replace,
        Some(Value::String(text)) if text == "delete" => Directive::Delete,
        Some(_) => return Err(unknown(patch)),
    };
    patch.remove(PATCH);
    Ok(directive)
}

fn unknown(patch: &Tree) -> PatchError {
    let (directive, map) = (go::printed(&patch[PATCH]), go::printed(&Value::Object(patch.clone())));
    PatchError::Unclassified(format!("unknown patch type: {directive} in map: {map}"))
}

/// What is written where nothing is that a patch could be merged with: nothing that carries a directive, and no nulls in maps.
fn taken(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            let members = map.into_iter().filter(|(_, value)| !value.is_null());
            Some(members.filter_map(|(name, value)| Some((name, taken(value)?))).collect())
        }
        Value::Array(list) => Some(list.into_iter().filter_map(taken).collect()),
        other => Some(other),
    }
}

/// Drops what `$retainKeys` does not list; the patch itself may not set what it drops.
fn retain_keys(original: &mut Tree, patch: &mut Tree) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else {
        return Err(PatchError::Malformed("invalid patch format of retainKeys".to_owned()));
    };
    let listed = |name: &str| keys.iter().any(|key| key == name);
    let outside = patch.iter().find(|(name, value)| {
        let directive = name.starts_with(DELETE_FROM) || name.starts_with(ELEMENT_ORDER);
        !directive && !value.is_null() && !listed(name)
    });
    if outside.is_some() {
        return Err(PatchError::Malformed("invalid patch format of retainKeys".to_owned()));
    }
    original.retain(|name, _| listed(name));
    Ok(())
}

/// Items of a patch come in the order that it sets, and all of them are in that; those with directives are not looked at.
fn check_order(list: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key) == b.get(key),
        None => a == b,
    };
    let mut left = order.iter();
    let ordered = list.iter().filter(|item| item.get("$patch").is_none());
    let mut missing = ordered.filter(|item| !left.by_ref().any(|next| same(item, next)));
    if missing.next().is_none() {
        return Ok(());
    }
    let shown = |list: &[Value]| go::printed(&Value::Array(list.to_vec()));
    Err(PatchError::Unclassified(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        shown(list),
        shown(order)
    )))
}

/// Takes the directives `PREFIX/field: [...]` out of a patch.
fn take_prefixed(patch: &mut Tree, prefix: &str) -> Result<Vec<(String, Vec<Value>)>, PatchError> {
    let names: Vec<String> = patch.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
    let mut taken = Vec::new();
    for name in names {
        match patch.remove(&name) {
            Some(Value::Array(values)) => taken.push((name[prefix.len()..].to_owned(), values)),
            _ => {
                let directive = prefix.trim_start_matches('$').trim_end_matches('/');
                return Err(PatchError::Malformed(format!("invalid patch format of {directive}")));
            }
        }
    }
    Ok(taken)
}

fn key_of<'v>(item: &'v Tree, key: &str) -> Result<&'v Value, PatchError> {
    item.get(key).ok_or_else(|| {
        let item = go::printed(&Value::Object(item.clone()));
        PatchError::Unclassified(format!("map: {item} does not contain declared merge key: {key}"))
    })
}

/// Orders a merged list: the items that `order` (the patch, or its directive) names in that order, the others where
/// `server` (the list before the patch) had them in relation to those.
fn reorder(list: Vec<Value>, order: &[Value], server: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key) == b.get(key),
        None => a == b,
    };
    let place = |items: &[Value], item: &Value| items.iter().position(|other| same(other, item));
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        list.into_iter().partition(|item| place(order, item).is_some());
    skiff_ordered::sort_by_key(&mut named, |item| place(order, item));
    skiff_ordered::sort_by_key(&mut others, |item| place(server, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        let here = place(server, &item);
        while let Some(other) = others.next_if(|other| {
            let there = place(server, other);
            there.zip(here).is_some_and(|(there, here)| there < here)
        }) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others);
    out
}

#[cfg(test)]
mod tests;
