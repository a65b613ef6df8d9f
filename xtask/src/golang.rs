//! The Go types behind the definitions: what a field is when nothing is set, and its number in protobuf.
//!
//! Their source is read line by line: the code of API types is formatted by one program and has one field a line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Every struct by the name of its definition, e.g. `io.k8s.api.core.v1.ServiceSpec`.
pub(crate) type Structs = BTreeMap<String, Vec<Member>>;

/// A member of a struct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Name in JSON; empty for a struct whose members JSON shows in the outer one.
    pub(crate) json: String,
    /// As written, e.g. `*int32` or `metav1.ObjectMeta`.
    pub(crate) ty: String,
    pub(crate) omit_empty: bool,
    pub(crate) omit_zero: bool,
    /// Number in protobuf; none for a member that is not sent.
    pub(crate) number: Option<u16>,
    /// Whether protobuf has one field for each item.
    pub(crate) repeated: bool,
    /// The struct that the type is declared to be like (`type A v1.A`).
    like: Option<String>,
}

impl Member {
    pub(crate) fn is_pointer(&self) -> bool {
        self.ty.starts_with('*')
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.json.is_empty()
    }

    /// The type as Go prints it, of a member of a struct in `package`: `[]v1.ServicePort`.
    pub(crate) fn printed(&self, package: &str) -> String {
        let mut out = String::new();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let mut rest = self.ty.trim_start_matches('*');
        while let Some(c) = rest.chars().next() {
            let end =
                rest.find(|c| is_name(c) != is_name(rest.chars().next().unwrap_or(c))).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            out.push_str(&if is_name(c) { qualified(package, word) } else { word.to_owned() });
            rest = after;
        }
        out
    }
}

/// A name as Go prints it: behind the last part of its package.
fn qualified(package: &str, name: &str) -> String {
    let last = |package: &str| package.rsplit('.').next().unwrap_or_default().to_owned();
    match name.rsplit_once('.') {
        None if name == "byte" => "uint8".to_owned(),
        None if name.starts_with(char::is_uppercase) => format!("{}.{name}", last(package)),
        None => name.to_owned(),
        // `metav1` and the like are names that a file gives to packages which are called by their version.
        Some((alias, name)) => {
            let version =
                alias.rfind('v').filter(|at| alias[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
            format!("{}.{name}", &alias[version.unwrap_or_default()..])
        }
    }
}

/// Reads every package below the folders of Go modules.
pub(crate) fn read(modules: &[PathBuf]) -> anyhow::Result<Structs> {
    let mut structs = Structs::new();
    for module in modules {
        let file = module.join("go.mod");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let Some(name) = text.lines().find_map(|line| line.strip_prefix("module ")) else {
            bail!("{} names no module", file.display())
        };
        folder(module, &package(name.trim()), &mut structs)?;
    }
    let copies: Vec<(String, Vec<Member>)> =
        structs.iter().filter_map(|(name, found)| Some((name.clone(), copied(&structs, found)?))).collect();
    structs.extend(copies);
    Ok(structs)
}

/// The members of the struct that another one is declared to be like.
fn copied(structs: &Structs, members: &[Member]) -> Option<Vec<Member>> {
    let [Member { like: Some(original), .. }] = members else { return None };
    structs.get(original).cloned()
}

/// The definition of a type, as the source of a package names it.
pub(crate) fn resolve(package: &str, ty: &str) -> String {
    match ty.rsplit_once('.') {
        None => format!("{package}.{ty}"),
        Some(("metav1", name)) => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"),
        // `v1.RuleWithOperations` in another version of the same group.
        Some((version, name)) => {
            let group = package.rsplit_once('.').map_or(package, |(group, _)| group);
            format!("{group}.{version}.{name}")
        }
    }
}

/// `io.k8s.api` of `k8s.io/api`.
fn package(module: &str) -> String {
    let (host, path) = module.split_once('/').unwrap_or((module, ""));
    let host: Vec<&str> = host.rsplit('.').collect();
    format!("{}.{}", host.join("."), path.replace('/', "."))
}

fn folder(path: &Path, package: &str, structs: &mut Structs) -> anyhow::Result<()> {
    for entry in fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            folder(&path, &format!("{package}.{name}"), structs)?;
        } else if name.ends_with(".go") && !name.ends_with("_test.go") {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            source(&text, package, structs);
        }
    }
    Ok(())
}

fn source(text: &str, package: &str, structs: &mut Structs) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("type ").and_then(|rest| rest.strip_suffix(" struct {"));
        if let Some(name) = name {
            let body = lines.by_ref().take_while(|line| *line != "}");
            structs.insert(format!("{package}.{name}"), body.filter_map(member).collect());
        } else if let [Some("type"), Some(name), Some(original), None] =
            [0, 1, 2, 3].map(|at| line.split_whitespace().filter(|word| *word != "=").nth(at))
        {
            let like = Some(resolve(package, original));
            structs.insert(format!("{package}.{name}"), vec![Member { like, ..Member::default() }]);
        }
    }
}

/// A member that JSON or protobuf knows.
fn member(line: &str) -> Option<Member> {
    let (code, rest) = line.trim().split_once('`')?;
    if code.starts_with("//") {
        return None;
    }
    let tags = rest.split_once('`')?.0;
    let tag = |name: &str| {
        let at = tags.find(&format!("{name}:\""))? + name.len() + 2;
        tags[at..].split('"').next()
    };
    let mut json = tag("json")?.split(',');
    let (name, options) = (json.next()?, json.collect::<Vec<_>>());
    let protobuf: Vec<&str> = tag("protobuf").unwrap_or_default().split(',').collect();
    let ty = code.split_whitespace().last()?;
    if name == "-" {
        return None;
    }
    Some(Member {
        json: if options.contains(&"inline") { String::new() } else { name.to_owned() },
        ty: ty.to_owned(),
        omit_empty: options.contains(&"omitempty"),
        omit_zero: options.contains(&"omitzero"),
        number: protobuf.get(1).and_then(|number| number.parse().ok()),
        repeated: protobuf.get(2) == Some(&"rep"),
        like: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_members() {
        let text = "\
type A struct {
\tmetav1.TypeMeta `json:\",inline\"`
\t// comment `json:\"no\"`
\tReplicas *int32 `json:\"replicas,omitempty\" protobuf:\"varint,1,opt,name=replicas\"`
\tRule `json:\",inline\" protobuf:\"bytes,2,opt,name=rule\"`
\tRaw []byte `json:\"-\" protobuf:\"bytes,3,opt\"`
}
";
        let mut structs = Structs::new();
        source(text, &package("k8s.io/api"), &mut structs);
        let members = &structs["io.k8s.api.A"];
        let short: Vec<_> = members.iter().map(|m| (m.json.as_str(), m.ty.as_str(), m.number)).collect();
        assert_eq!(
            short,
            [("", "metav1.TypeMeta", None), ("replicas", "*int32", Some(1)), ("", "Rule", Some(2))]
        );
        assert!(members[1].omit_empty && members[1].is_pointer());
    }

    #[test]
    fn types_are_printed_as_go_prints_them() {
        let check = |ty: &str, expected: &str| {
            let member = Member { ty: ty.to_owned(), ..Member::default() };
            assert_eq!(member.printed("io.k8s.api.core.v1"), expected, "{ty}");
        };
        check("*int32", "int32");
        check("[]byte", "[]uint8");
        check("[]*Container", "[]*v1.Container");
        check("map[ResourceName]resource.Quantity", "map[v1.ResourceName]resource.Quantity");
        check("metav1.LabelSelector", "v1.LabelSelector");
        check("v1beta1.Rule", "v1beta1.Rule");
        check("types.UID", "types.UID");
    }
}
