//! From the documents and the Go types to the table; `crates/schema/src/table.rs` says how it reads.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::golang::{self, Member, Structs};
use crate::swagger::Document;

/// Definitions with more kinds than this are those that every group has, e.g. DeleteOptions.
const MANY: usize = 14;

/// The text of the table.
pub(crate) fn write(document: &Document, structs: &Structs, release: &str) -> anyhow::Result<String> {
    let mut out = format!(
        "# Every definition of Kubernetes {release}. Made by `cargo xtask schema`, see xtask/src/main.rs; how it reads: table.rs.\n"
    );
    let mut names: Vec<&String> = document.definitions.keys().collect();
    names.sort();
    let mut package = "";
    for name in names {
        let schema = &document.definitions[name];
        if scalar(name).is_some() {
            continue;
        }
        let (owner, short) = name.rsplit_once('.').context("definitions have a package")?;
        if owner != package {
            writeln!(out, "@{owner}")?;
            package = owner;
        }
        writeln!(out, "{short}{}", definition_facts(schema))?;
        let writer = Writer { document, structs, name, package };
        writer.fields(schema, &mut out).with_context(|| format!("definition {name}"))?;
    }
    Ok(out)
}

/// The text of the table of what Go's messages call fields, where [`write`]'s does not tell: their types, if they have names of
/// their own, and the structs that hold them inside that of the definition.
pub(crate) fn write_go(document: &Document, structs: &Structs, release: &str) -> anyhow::Result<String> {
    let mut out = format!(
        "# What Go calls fields of Kubernetes {release}. Made by `cargo xtask schema`, see xtask/src/main.rs; how it reads: go.rs.\n"
    );
    let mut names: Vec<&String> = document.definitions.keys().collect();
    names.sort();
    for name in names {
        let Some(properties) = document.definitions[name]["properties"].as_object() else { continue };
        let package = name.rsplit_once('.').context("definitions have a package")?.0;
        let writer = Writer { document, structs, name, package };
        let mut fields: Vec<&String> = properties.keys().collect();
        fields.sort();
        let mut lines = String::new();
        for field in fields {
            lines.push_str(&writer.go(field, &properties[field]).with_context(|| format!("{name}.{field}"))?);
        }
        if !lines.is_empty() {
            writeln!(out, "{name}\n{lines}")?;
            out.pop();
        }
    }
    Ok(out)
}

/// How Go prints a type of the table where nothing else is known of it.
fn plain(package: &str, ty: &str) -> String {
    if let Some(item) = ty.strip_prefix("[]") {
        return format!("[]{}", plain(package, item));
    }
    if let Some(value) = ty.strip_prefix("{}") {
        return format!("map[string]{}", plain(package, value));
    }
    let last = |name: &str| {
        name.rsplit('.').take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(".")
    };
    match ty {
        "string" | "int32" | "int64" | "bool" => ty.to_owned(),
        "float" => "float64".to_owned(),
        "bytes" => "[]uint8".to_owned(),
        name if name.contains('.') => last(name),
        name => last(&format!("{package}.{name}")),
    }
}

/// What the table calls a definition that is not an object with fields.
fn scalar(name: &str) -> Option<&'static str> {
    Some(match name {
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => "time",
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => "micro-time",
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => "quantity",
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => "int-or-string",
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1" => "fields-v1",
        "io.k8s.apimachinery.pkg.runtime.RawExtension" => "raw-extension",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON" => "json",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray" => {
            "schema-or-schemas"
        }
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool" => "schema-or-bool",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => {
            "schema-or-strings"
        }
        _ => return None,
    })
}

/// The words of the table for types that decode themselves.
fn scalar_words() -> impl Iterator<Item = &'static str> {
    [
        "time",
        "micro-time",
        "quantity",
        "int-or-string",
        "fields-v1",
        "raw-extension",
        "json",
        "schema-or-schemas",
        "schema-or-bool",
        "schema-or-strings",
    ]
    .into_iter()
}

fn definition_facts(schema: &Value) -> String {
    let mut out = String::new();
    let kinds = schema["x-kubernetes-group-version-kind"].as_array().map_or(&[][..], Vec::as_slice);
    let is_object = ["metadata", "kind"].iter().any(|field| schema["properties"][field].is_object());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match kinds.len() {
        0 => {}
        count if count > MANY => out.push_str(" kind=*"),
        _ if is_object => kinds.iter().for_each(|kind| {
            out.push_str(&format!(
                " kind={}/{}/{}",
                text(&kind["group"]),
                text(&kind["version"]),
                text(&kind["kind"])
            ));
        }),
        _ => {}
    }
    if schema["x-kubernetes-map-type"] == "atomic" {
        out.push_str(" atomic");
    }
    for union in schema["x-kubernetes-unions"].as_array().into_iter().flatten() {
        let mut fields: Vec<&String> =
            union["fields-to-discriminateBy"].as_object().into_iter().flat_map(|map| map.keys()).collect();
        fields.sort();
        let fields: Vec<&str> = fields.into_iter().map(String::as_str).collect();
        out.push_str(&format!(" union={}:{}", text(&union["discriminator"]), fields.join(",")));
    }
    out
}

struct Writer<'a> {
    document: &'a Document,
    structs: &'a Structs,
    name: &'a str,
    package: &'a str,
}

impl Writer<'_> {
    fn fields(&self, schema: &Value, out: &mut String) -> anyhow::Result<()> {
        let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
        let order = self.order(self.name);
        let mut names: Vec<&String> = properties.keys().collect();
        names.sort();
        names.sort_by_key(|name| order.iter().position(|other| other == *name).unwrap_or(usize::MAX));
        for name in names {
            let required = schema["required"].as_array().into_iter().flatten().any(|v| v == name.as_str());
            let line = self.field(name, &properties[name], required);
            writeln!(out, " {}", line.with_context(|| format!("field {name}"))?)?;
        }
        Ok(())
    }

    fn field(&self, name: &str, schema: &Value, required: bool) -> anyhow::Result<String> {
        let ty = self.ty(schema)?;
        let (member, path) = self.member(self.name, name).context("the Go type has no such field")?;
        let zero = zero_mark(&member, &ty);
        let mut line = format!("{name}{} {zero}{ty}", if required { "!" } else { "" });
        if let Some(path) = path {
            let path: Vec<String> = path.iter().map(u16::to_string).collect();
            // A list with a name of its own is a message with the items as its field 1.
            let named = ty.starts_with("[]") && !member.ty.trim_start_matches('*').starts_with("[]");
            let message = if named && !member.repeated { "m" } else { "" };
            line.push_str(&format!(" {}{message}", path.join(".")));
        }
        line.push_str(&merge_facts(schema)?);
        if let Some(default) = self.document.default_of(self.name, name)
            && !(zero == "+" && is_zero(default))
        {
            line.push_str(&format!(" default={default}"));
        }
        Ok(line)
    }

    /// The line of a field in the table of Go's names; empty where there is nothing to say.
    fn go(&self, name: &str, schema: &Value) -> anyhow::Result<String> {
        let (package, member, inside) =
            self.embedded(self.name, name).context("the Go type has no such field")?;
        let ty = self.ty(schema)?;
        // Those decode themselves, and are never named.
        let decodes = scalar_words().any(|word| ty.trim_start_matches(['[', ']', '{', '}']) == word);
        let printed = member.printed(&package);
        let is_plain = printed == plain(self.package, &ty) || (decodes && !ty.starts_with(['[', '{']));
        let inside: Vec<String> = inside.into_iter().filter(|name| name != "TypeMeta").collect();
        Ok(match (is_plain, inside.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!(" {name} - {}\n", inside.join(".")),
            (false, true) => format!(" {name} {printed}\n"),
            (false, false) => format!(" {name} {printed} {}\n", inside.join(".")),
        })
    }

    /// The Go member behind a field of a definition with its package, and the structs that lead to it.
    fn embedded(&self, definition: &str, field: &str) -> Option<(String, Member, Vec<String>)> {
        let members = self.structs.get(definition)?;
        let package = definition.rsplit_once('.')?.0;
        if let Some(own) = members.iter().find(|member| member.json == field) {
            return Some((package.to_owned(), own.clone(), Vec::new()));
        }
        members.iter().filter(|member| member.is_inline()).find_map(|inline| {
            let (package, member, inside) = self.embedded(&golang::resolve(package, &inline.ty), field)?;
            let name = inline.ty.trim_start_matches('*').rsplit('.').next()?.to_owned();
            Some((package, member, [vec![name], inside].concat()))
        })
    }

    fn ty(&self, schema: &Value) -> anyhow::Result<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            if let Some(scalar) = scalar(name) {
                return Ok(scalar.to_owned());
            }
            let local = name.strip_prefix(self.package).and_then(|rest| rest.strip_prefix('.'));
            return Ok(local.filter(|rest| !rest.contains('.')).unwrap_or(name).to_owned());
        }
        Ok(match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("string"), Some("byte")) => "bytes".to_owned(),
            (Some("string"), None) => "string".to_owned(),
            (Some("integer"), Some(format @ ("int32" | "int64"))) => format.to_owned(),
            (Some("number"), Some("double")) => "float".to_owned(),
            (Some("boolean"), None) => "bool".to_owned(),
            (Some("array"), None) => format!("[]{}", self.ty(&schema["items"])?),
            (Some("object"), None) if schema["additionalProperties"].is_object() => {
                format!("{{}}{}", self.ty(&schema["additionalProperties"])?)
            }
            _ => bail!("a type that the table has no word for: {schema}"),
        })
    }

    /// The fields of a definition in the order in which Go declares them.
    fn order(&self, definition: &str) -> Vec<String> {
        let members = self.structs.get(definition).map_or(&[][..], Vec::as_slice);
        let package = definition.rsplit_once('.').map_or("", |(package, _)| package);
        let fields = |member: &Member| match member.is_inline() {
            true => self.order(&golang::resolve(package, &member.ty)),
            false => vec![member.json.clone()],
        };
        members.iter().flat_map(fields).collect()
    }

    /// The Go member behind a field of a definition, and the path of numbers that leads to it in protobuf.
    fn member(&self, definition: &str, field: &str) -> Option<(Member, Option<Vec<u16>>)> {
        let members = self.structs.get(definition)?;
        if let Some(own) = members.iter().find(|member| member.json == field) {
            return Some((own.clone(), own.number.map(|number| vec![number])));
        }
        let package = definition.rsplit_once('.')?.0;
        members.iter().filter(|member| member.is_inline()).find_map(|inline| {
            let (member, path) = self.member(&golang::resolve(package, &inline.ty), field)?;
            let path = path.zip(inline.number).map(|(path, number)| [vec![number], path].concat());
            Some((member, path))
        })
    }
}

/// `*` where nothing and zero differ, `?` where nothing is written as null then, `+` where zero is written, nothing where zero is
/// left out.
fn zero_mark(member: &Member, ty: &str) -> &'static str {
    let is_text_or_number = matches!(ty, "string" | "bytes" | "int32" | "int64" | "float" | "bool");
    let is_collection = ty.starts_with("[]") || ty.starts_with("{}");
    let left_out = if is_text_or_number || is_collection { member.omit_empty } else { member.omit_zero };
    match (member.is_pointer(), left_out) {
        (true, _) if !member.omit_empty && !member.omit_zero => "?",
        (true, _) => "*",
        (false, false) => "+",
        (false, true) => "",
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Null | Value::Array(_) => false,
    }
}

fn merge_facts(schema: &Value) -> anyhow::Result<String> {
    let mut out = String::new();
    let text = |name: &str| schema[format!("x-kubernetes-{name}")].as_str();
    match text("list-type") {
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().context("a list of maps has keys")?;
            let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
            out.push_str(&format!(" list={}", keys.join(",")));
        }
        Some(kind @ ("set" | "atomic")) => out.push_str(&format!(" {kind}")),
        Some(other) => bail!("unknown list type {other}"),
        None => {}
    }
    match text("map-type") {
        None => {}
        Some(kind @ ("atomic" | "granular")) => out.push_str(&format!(" {kind}")),
        Some(other) => bail!("unknown map type {other}"),
    }
    if let Some(strategy) = text("patch-strategy") {
        out.push_str(&format!(" patch={strategy}"));
        if let Some(key) = text("patch-merge-key") {
            out.push_str(&format!(":{key}"));
        }
    }
    Ok(out)
}
