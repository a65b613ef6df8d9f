//! What the file says (`EncryptionConfiguration` of `apiserver.config.k8s.io/v1`), checked in Kubernetes' words.

mod reader;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};

use crate::cipher::{Algorithm, Cipher};
use reader::{Reader, items};

/// The schema of the file, in the words of the crate `schema`.
pub const SCHEMA: &str = include_str!("configuration.txt");

/// The file's definition in [`SCHEMA`].
pub const DEFINITION: &str = "io.k8s.apiserver.config.EncryptionConfiguration";

/// `apiVersion` and `kind` of the file.
pub const NAMES: &[(&str, &str)] = &[("apiserver.config.k8s.io/v1", "EncryptionConfiguration")];

/// Which resources are encrypted, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    pub(crate) groups: Vec<Group>,
}

/// Resources with the providers that read their values; the first writes them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Group {
    pub(crate) resources: Vec<Resource>,
    pub(crate) providers: Vec<Provider>,
}

/// A resource, or many of them: `*` is any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) name: String,
}

/// One way in which values lie on disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Provider {
    /// As they are.
    Identity,
    /// Under a key of the file.
    Keys { algorithm: Algorithm, keys: Vec<NamedKey> },
    /// Under a key that only a key management service can open.
    Kms(KmsConfig),
}

/// A key of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedKey {
    pub(crate) name: String,
    pub(crate) cipher: Cipher,
}

/// Where a key management service is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KmsConfig {
    /// Its name, which its values bear.
    pub name: String,
    /// Its socket; `/@NAME` has no place in the file system.
    pub socket: PathBuf,
    /// How long it may take to answer.
    pub timeout: Duration,
}

impl Resource {
    /// `secrets`, `deployments.apps`, `*.apps`, `*.` or `*.*`.
    fn parse(text: &str) -> Self {
        let (name, group) = text.split_once('.').unwrap_or((text, ""));
        Self { group: group.to_owned(), name: name.to_owned() }
    }

    /// All of them.
    pub(crate) fn any() -> Self {
        Self::parse("*.*")
    }

    /// All of a group.
    pub(crate) fn of_group(group: &str) -> Self {
        Self { group: group.to_owned(), name: "*".to_owned() }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.group.as_str()) {
            ("*", "") => f.write_str("*."),
            (name, "") => f.write_str(name),
            (name, group) => write!(f, "{name}.{group}"),
        }
    }
}

impl Configuration {
    /// Reads a file that was decoded against [`SCHEMA`].
    ///
    /// # Errors
    /// What is wrong with its fields, or what of it would never be used.
    pub fn read(file: &Value) -> Result<Self, String> {
        let mut reader = Reader::default();
        let groups: Vec<Group> = items(&file["resources"])
            .map(|(index, group)| reader.group(group, &format!("resources[{index}]")))
            .collect();
        if groups.is_empty() {
            reader.errors.push(FieldError::required("resources", "at least one resources is required"));
        }
        if !reader.errors.is_empty() {
            return Err(told(&reader.errors));
        }
        if reader.uses_kms_v1 {
            return Err("KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature.".to_owned());
        }
        refuse_masked(&groups)?;
        Ok(Self { groups })
    }
}

/// As Kubernetes tells of several.
fn told(errors: &FieldErrors) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) }
}

/// Refuses what an earlier entry decides already.
fn refuse_masked(groups: &[Group]) -> Result<(), String> {
    let mut seen: HashSet<&Resource> = HashSet::new();
    for group in groups {
        for resource in &group.resources {
            let wider = [Resource::of_group(&resource.group), Resource::any()];
            if let Some(earlier) = wider.into_iter().find(|wider| seen.contains(wider)) {
                let (masked, earlier) = (resource.to_string(), earlier.to_string());
                return Err(format!("resource {masked:?} is masked by earlier rule {earlier:?}"));
            }
            seen.insert(resource);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
