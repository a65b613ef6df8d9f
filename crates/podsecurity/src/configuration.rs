//! The plugin's configuration, as administrators write it: `PodSecurityConfiguration`.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_machinery::names::Form;
use skiff_machinery::{FieldError, FieldErrors};

use crate::admission::{Exemptions, PodSecurity};
use crate::level::LevelVersion;
use crate::pod::{items, text};
use crate::policy::Policy;

impl PodSecurity {
    /// What a `PodSecurityConfiguration` says, whose fields have the types that they should have.
    ///
    /// # Errors
    /// What makes no sense in it, by field.
    pub fn configured(configuration: &Value) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::new();
        let defaults = &configuration["defaults"];
        let mut mode = |name| read_mode(defaults, name, &mut errors);
        let (enforce, warn, audit) = (mode("enforce"), mode("warn"), mode("audit"));
        let exemptions = &configuration["exemptions"];
        let mut list = |field, check: Check| read_list(exemptions, field, check, &mut errors);
        let namespaces = list("namespaces", |name| Form::DnsLabel.problems(name));
        let runtime_classes = list("runtimeClasses", |name| Form::Subdomain.problems(name));
        let usernames = list("usernames", not_empty);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            defaults: Policy { enforce, audit, warn },
            exemptions: Exemptions { usernames, runtime_classes, namespaces },
        })
    }
}

/// A mode's level and version; what is empty is privileged, and the latest.
fn read_mode(defaults: &Value, mode: &str, errors: &mut FieldErrors) -> LevelVersion {
    let mut out = LevelVersion::PRIVILEGED;
    read(defaults, mode, &mut out.level, errors);
    read(defaults, &format!("{mode}-version"), &mut out.version, errors);
    out
}

fn read<T>(defaults: &Value, field: &str, to: &mut T, errors: &mut FieldErrors)
where
    T: std::str::FromStr<Err: ToString>,
{
    match text(&defaults[field]) {
        "" => {}
        written => match written.parse() {
            Ok(read) => *to = read,
            Err(error) => {
                errors.push(FieldError::invalid(format!("defaults.{field}"), written, error.to_string()));
            }
        },
    }
}

/// What is wrong with a name.
type Check = fn(&str) -> Vec<String>;

fn not_empty(name: &str) -> Vec<String> {
    if name.is_empty() { vec!["username must not be empty".to_owned()] } else { Vec::new() }
}

fn read_list(exemptions: &Value, field: &str, check: Check, errors: &mut FieldErrors) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for (at, name) in items(&exemptions[field]).iter().map(text).enumerate() {
        let path = format!("exemptions.{field}[{at}]");
        let wrong = check(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(path, name, wrong.join(", ")));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(path, name));
        }
    }
    seen.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::level::{Level, Version};

    #[test]
    fn what_is_left_out_is_privileged_and_the_latest() {
        assert_eq!(PodSecurity::configured(&json!({})), Ok(PodSecurity::default()));
        let configuration = json!({
            "defaults": {"enforce": "baseline", "enforce-version": "v1.30", "warn": "restricted"},
            "exemptions": {"usernames": ["system:admin"], "namespaces": ["kube-system"], "runtimeClasses": ["kata"]},
        });
        let plugin = PodSecurity::configured(&configuration).unwrap();
        assert_eq!(
            plugin.defaults.enforce,
            LevelVersion { level: Level::Baseline, version: Version::V1(30) }
        );
        assert_eq!(plugin.defaults.warn, LevelVersion { level: Level::Restricted, version: Version::Latest });
        assert_eq!(plugin.defaults.audit, LevelVersion::PRIVILEGED);
        assert_eq!(plugin.exemptions.namespaces, ["kube-system"]);
        assert_eq!(plugin.exemptions.runtime_classes, ["kata"]);
        assert_eq!(plugin.exemptions.usernames, ["system:admin"]);
    }

    #[test]
    fn every_field_that_makes_no_sense_is_told() {
        let configuration = json!({
            "defaults": {"enforce": "strict", "audit-version": "1.30"},
            "exemptions": {"usernames": ["", "a", "a"], "namespaces": ["A"], "runtimeClasses": ["a", "-"]},
        });
        let errors = PodSecurity::configured(&configuration).unwrap_err();
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "defaults.enforce",
                "defaults.audit-version",
                "exemptions.namespaces[0]",
                "exemptions.runtimeClasses[1]",
                "exemptions.usernames[0]",
                "exemptions.usernames[2]",
            ]
        );
        assert_eq!(
            errors[0].to_string(),
            "defaults.enforce: Invalid value: \"strict\": must be one of privileged, baseline, restricted"
        );
        assert_eq!(errors[5].to_string(), "exemptions.usernames[2]: Duplicate value: \"a\"");
    }
}
