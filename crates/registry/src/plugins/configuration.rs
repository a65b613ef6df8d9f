//! The file of `--admission-control-config-file`: an `AdmissionConfiguration`, with what configures a plugin in it or in a file
//! beside it. Whatever would be ignored is an error that names the file, the plugin and the field.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use skiff_limits::quota::LimitedResource;
use skiff_machinery::FieldError;
use skiff_podsecurity::PodSecurity;
use skiff_schema::Schema;
use thiserror::Error;

use super::names::Plugin;
use crate::configuration::{self, Kind, read_text};

/// What plugins are configured with; without a file, as Kubernetes does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// PodSecurity: what holds where a namespace says nothing, and who is exempt.
    pub(crate) pod_security: PodSecurity,
    /// ResourceQuota: what may only be used where a quota is about it.
    pub(crate) limited: Vec<LimitedResource>,
    /// What webhooks are shown of who calls them.
    pub(super) kubeconfigs: Kubeconfigs,
}

/// Kubeconfigs whose users webhooks are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kubeconfigs {
    pub(super) mutating: Option<PathBuf>,
    pub(super) validating: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigurationError {
    /// It cannot be read.
    #[error("cannot read the admission control configuration {}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not say what it should say.
    #[error("{}{}: {why}", file.display(), of(plugin.as_deref()))]
    Wrong {
        /// Which.
        file: PathBuf,
        /// The plugin that it would configure, if it is about one.
        plugin: Option<String>,
        /// What is wrong, by field.
        why: String,
    },
}

fn of(plugin: Option<&str>) -> String {
    plugin.map(|name| format!(": plugin {name:?}")).unwrap_or_default()
}

impl Configuration {
    /// Reads a file, and those that it names.
    ///
    /// # Errors
    /// When one cannot be read, or says what would be ignored.
    pub fn read(file: &Path) -> Result<Self, ConfigurationError> {
        Self::load(file, &|file| std::fs::read(file))
    }

    fn load(file: &Path, open: &Open<'_>) -> Result<Self, ConfigurationError> {
        let schema = Schema::of_table(include_str!("configuration.txt"));
        let mut reader = Reader { schema: Arc::new(schema), open, out: Self::default() };
        let whole = At { file, plugin: None };
        let object = whole.hold(read_text(&reader.text(whole)?))?;
        let read = whole.hold(reader.decode(&object, &ADMISSION))?;
        let mut named = BTreeSet::new();
        for plugin in read["plugins"].as_array().into_iter().flatten() {
            let name = plugin["name"].as_str().unwrap_or_default();
            let at = At { file, plugin: Some(name) };
            if !named.insert(name) {
                return Err(at.wrong("it is configured twice"));
            }
            reader.plugin(at, plugin)?;
        }
        Ok(reader.out)
    }
}

/// How files are read.
type Open<'o> = dyn Fn(&Path) -> io::Result<Vec<u8>> + 'o;

/// What is being read, for errors.
#[derive(Clone, Copy)]
struct At<'a> {
    file: &'a Path,
    plugin: Option<&'a str>,
}

impl At<'_> {
    fn wrong(self, why: impl fmt::Display) -> ConfigurationError {
        let plugin = self.plugin.map(str::to_owned);
        ConfigurationError::Wrong { file: self.file.to_owned(), plugin, why: why.to_string() }
    }

    fn hold<T>(self, read: Result<T, String>) -> Result<T, ConfigurationError> {
        read.map_err(|why| self.wrong(why))
    }
}

const ADMISSION: Kind = Kind {
    definition: "io.k8s.apiserver.config.AdmissionConfiguration",
    names: &[
        ("apiserver.config.k8s.io/v1", "AdmissionConfiguration"),
        ("apiserver.k8s.io/v1alpha1", "AdmissionConfiguration"),
    ],
};
const POD_SECURITY: Kind = Kind {
    definition: "io.k8s.apiserver.config.PodSecurityConfiguration",
    names: &[
        ("pod-security.admission.config.k8s.io/v1", "PodSecurityConfiguration"),
        ("pod-security.admission.config.k8s.io/v1beta1", "PodSecurityConfiguration"),
        ("pod-security.admission.config.k8s.io/v1alpha1", "PodSecurityConfiguration"),
    ],
};
const RESOURCE_QUOTA: Kind = Kind {
    definition: "io.k8s.apiserver.config.ResourceQuotaConfiguration",
    names: &[
        ("apiserver.config.k8s.io/v1", "ResourceQuotaConfiguration"),
        ("resourcequota.admission.k8s.io/v1beta1", "Configuration"),
        ("resourcequota.admission.k8s.io/v1alpha1", "Configuration"),
    ],
};
const WEBHOOK: Kind = Kind {
    definition: "io.k8s.apiserver.config.WebhookAdmissionConfiguration",
    names: &[
        ("apiserver.config.k8s.io/v1", "WebhookAdmissionConfiguration"),
        ("apiserver.config.k8s.io/v1alpha1", "WebhookAdmission"),
    ],
};

struct Reader<'o> {
    schema: Arc<Schema>,
    open: &'o Open<'o>,
    out: Configuration,
}

impl Reader<'_> {
    fn text(&self, at: At<'_>) -> Result<Vec<u8>, ConfigurationError> {
        let unreadable = |source| ConfigurationError::Unreadable { file: at.file.to_owned(), source };
        (self.open)(at.file).map_err(unreadable)
    }

    fn decode(&self, object: &Value, wanted: &Kind) -> Result<Value, String> {
        configuration::decode(object, wanted, &self.schema)
    }

    /// Takes over what configures a plugin.
    fn plugin(&mut self, at: At<'_>, entry: &Value) -> Result<(), ConfigurationError> {
        let name = at.plugin.unwrap_or_default();
        let plugin = name.parse::<Plugin>().map_err(|error| at.wrong(error))?;
        let file = entry["path"].as_str().filter(|path| !path.is_empty()).map(|path| {
            // As in Kubernetes, beside the file that names it.
            at.file.parent().unwrap_or(Path::new("")).join(path)
        });
        let (at, object) = match (&entry["configuration"], &file) {
            (Value::Null, None) => return Ok(()),
            (Value::Null, Some(file)) => {
                let at = At { file, ..at };
                (at, at.hold(read_text(&self.text(at)?))?)
            }
            (object, _) => (at, object.clone()),
        };
        at.hold(self.configure(plugin, &object))
    }

    fn configure(&mut self, plugin: Plugin, object: &Value) -> Result<(), String> {
        match plugin {
            Plugin::PodSecurity => {
                let read = self.decode(object, &POD_SECURITY)?;
                self.out.pod_security = PodSecurity::configured(&read).map_err(|errors| errors.listed())?;
            }
            Plugin::ResourceQuota => {
                let read = self.decode(object, &RESOURCE_QUOTA)?;
                self.out.limited = LimitedResource::read(&read).map_err(|errors| errors.listed())?;
            }
            Plugin::MutatingAdmissionWebhook => {
                self.out.kubeconfigs.mutating = kubeconfig(&self.decode(object, &WEBHOOK)?)?;
            }
            Plugin::ValidatingAdmissionWebhook => {
                self.out.kubeconfigs.validating = kubeconfig(&self.decode(object, &WEBHOOK)?)?;
            }
            _ => return Err("it takes no configuration".to_owned()),
        }
        Ok(())
    }
}

/// The kubeconfig of a plugin of webhooks.
fn kubeconfig(read: &Value) -> Result<Option<PathBuf>, String> {
    let text = |field: &str| read[field].as_str().filter(|text| !text.is_empty());
    if text("staticManifestsDir").is_some() {
        let why = "staticManifestsDir requires the ManifestBasedAdmissionControlConfig feature gate to be enabled, which is alpha";
        return Err(FieldError::forbidden("staticManifestsDir", why).to_string());
    }
    match text("kubeConfigFile") {
        Some(file) if !Path::new(file).is_absolute() => {
            Err(FieldError::invalid("kubeConfigFile", file, "must be an absolute file path").to_string())
        }
        file => Ok(file.map(PathBuf::from)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is read of `/etc/admission.yaml`, with other files beside it.
    fn load(text: &str, others: &[(&str, &str)]) -> Result<Configuration, String> {
        let open = |file: &Path| {
            let others = others.iter().map(|(name, text)| (Path::new("/etc").join(name), *text));
            let mut all = others.chain([("/etc/admission.yaml".into(), text)]);
            let found = all.find(|(name, _)| name == file);
            found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let read = Configuration::load(Path::new("/etc/admission.yaml"), &open);
        read.map_err(|error| error.to_string())
    }

    fn with_plugins(plugins: &str) -> String {
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n{plugins}")
    }

    const POD_SECURITY: &str = "apiVersion: pod-security.admission.config.k8s.io/v1
kind: PodSecurityConfiguration
defaults:
  enforce: baseline
exemptions:
  namespaces: [kube-system]
";

    #[test]
    fn plugins_are_configured_in_the_file_or_beside_it() {
        let quota = r#"
- name: PodSecurity
  path: pods/security.yaml
- name: LimitRanger
- name: ResourceQuota
  configuration: {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration",
    "limitedResources": [{"resource": "pods", "matchContains": ["cpu"]}]}
"#;
        let read = load(&with_plugins(quota), &[("pods/security.yaml", POD_SECURITY)]).unwrap();
        assert_eq!(read.pod_security.exemptions.namespaces, ["kube-system"]);
        assert_eq!(read.pod_security.defaults.enforce.to_string(), "baseline:latest");
        let limited = json!({"limitedResources": [{"resource": "pods", "matchContains": ["cpu"]}]});
        assert_eq!(read.limited, LimitedResource::read(&limited).unwrap());
        assert_eq!(load(&with_plugins(" []"), &[]), Ok(Configuration::default()));
    }

    #[test]
    fn what_would_be_ignored_is_an_error() {
        let check = |text: &str, others: &[(&str, &str)], expected: &str| {
            let error = load(text, others).unwrap_err();
            assert!(error.starts_with("/etc/") || error.starts_with("cannot read"), "{error}");
            assert!(error.contains(expected), "{error}");
        };
        let plugin = |name: &str, configuration: &str| {
            with_plugins(&format!("- name: {name}\n  configuration: {configuration}\n"))
        };
        check("a: [", &[], "/etc/admission.yaml: yaml: line 1");
        check(
            "kind: AdmissionConfiguration",
            &[],
            "apiVersion: Required value: AdmissionConfiguration of apiserver.config.k8s.io/v1 is expected",
        );
        check("apiVersion: v1\nkind: Pod", &[], r#"no kind "Pod" is registered for version "v1""#);
        check(&with_plugins(" []\nplugin: 1"), &[], r#"strict decoding error: unknown field "plugin""#);
        check(&with_plugins(" []\nkind: x"), &[], r#"key "kind" already set in map"#);
        check(&with_plugins("- name: 1"), &[], "cannot unmarshal number");
        check(&plugin("Odd", "{}"), &[], r#"/etc/admission.yaml: plugin "Odd": "#);
        check(&plugin("EventRateLimit", "{}"), &[], r#"plugin "EventRateLimit": "#);
        check(&plugin("LimitRanger", "{}"), &[], r#"plugin "LimitRanger": it takes no configuration"#);
        let twice = with_plugins("- name: PodSecurity\n- name: PodSecurity\n");
        check(&twice, &[], r#"plugin "PodSecurity": it is configured twice"#);
        check(
            &with_plugins("- name: PodSecurity\n  path: none"),
            &[],
            "cannot read the admission control configuration /etc/none",
        );
        let beside = with_plugins("- name: PodSecurity\n  path: p.yaml");
        let wrong = [("p.yaml", &*POD_SECURITY.replace("enforce", "enforced"))];
        check(
            &beside,
            &wrong,
            r#"/etc/p.yaml: plugin "PodSecurity": strict decoding error: unknown field "defaults.enforced""#,
        );
        let wrong = [("p.yaml", &*POD_SECURITY.replace("baseline", "base"))];
        check(&beside, &wrong, "defaults.enforce: Invalid value: \"base\": must be one of");
        let wrong = [("p.yaml", &*POD_SECURITY.replace("/v1", "/v2"))];
        check(
            &beside,
            &wrong,
            "PodSecurityConfiguration of pod-security.admission.config.k8s.io/v1 is expected",
        );
        let webhook = |fields: &str| {
            plugin(
                "MutatingAdmissionWebhook",
                &format!(
                    "{{apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, {fields}}}"
                ),
            )
        };
        let relative = r#"kubeConfigFile: Invalid value: "a": must be an absolute file path"#;
        check(&webhook("kubeConfigFile: a"), &[], relative);
        let off = "staticManifestsDir: Forbidden: staticManifestsDir requires the ManifestBasedAdmissionControlConfig feature gate to be enabled";
        check(&webhook("staticManifestsDir: /a"), &[], off);
    }

    #[test]
    fn every_kind_has_a_definition() {
        let reader = Reader {
            schema: Arc::new(Schema::of_table(include_str!("configuration.txt"))),
            open: &|_| Ok(Vec::new()),
            out: Configuration::default(),
        };
        for kind in [&ADMISSION, &super::POD_SECURITY, &RESOURCE_QUOTA, &WEBHOOK] {
            let root = reader.schema.root(kind.definition).unwrap();
            assert!(root.definition().field("apiVersion").is_some());
        }
    }
}
