//! What the file says (`EncryptionConfiguration` of `apiserver.config.k8s.io/v1`), checked in Kubernetes' words.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};
use zeroize::Zeroizing;

use crate::cipher::{Algorithm, Cipher};

/// The schema of the file, in the words of the crate `schema`.
pub const SCHEMA: &str = include_str!("configuration.txt");

/// The file's definition in [`SCHEMA`].
pub const DEFINITION: &str = "io.k8s.apiserver.config.EncryptionConfiguration";

/// `apiVersion` and `kind` of the file.
pub const NAMES: &[(&str, &str)] = &[("apiserver.config.k8s.io/v1", "EncryptionConfiguration")];

/// How long a key management service may take to answer, if the file does not say.
const KMS_TIMEOUT: Duration = Duration::from_secs(3);

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

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn word<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

/// Reads, and gathers what is wrong.
#[derive(Default)]
struct Reader {
    errors: FieldErrors,
    kms_names: HashSet<String>,
    uses_kms_v1: bool,
}

impl Reader {
    fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) {
        self.errors.push(FieldError::invalid(field, value, detail));
    }

    fn required(&mut self, field: String, detail: String) {
        self.errors.push(FieldError::required(field, detail));
    }

    fn group(&mut self, group: &Value, at: &str) -> Group {
        let listed: Vec<&str> = items(&group["resources"]).filter_map(|(_, text)| text.as_str()).collect();
        let (names_at, providers_at) = (format!("{at}.resources"), format!("{at}.providers"));
        if listed.is_empty() {
            self.required(names_at.clone(), format!("at least one {names_at} is required"));
        }
        let resources: Vec<Resource> = listed.iter().map(|text| Resource::parse(text)).collect();
        self.check_overlap(&listed, &resources, &names_at);
        for (index, (text, resource)) in listed.iter().zip(&resources).enumerate() {
            if let Some(why) = wrong_resource(text, resource) {
                self.invalid(format!("{names_at}[{index}]"), *text, why);
            }
        }
        let providers = items(&group["providers"]);
        let providers: Vec<Provider> = providers
            .filter_map(|(index, provider)| self.provider(provider, &format!("{providers_at}[{index}]")))
            .collect();
        if items(&group["providers"]).next().is_none() {
            self.required(providers_at.clone(), format!("at least one {providers_at} is required"));
        }
        Group { resources, providers }
    }

    fn check_overlap(&mut self, listed: &[&str], resources: &[Resource], at: &str) {
        let pairs = || {
            let with = |i: usize| resources.iter().skip(i + 1).map(move |other| (i, other));
            (0..resources.len()).flat_map(with).map(|(i, other)| (&resources[i], other))
        };
        let any = Resource::any();
        if pairs().any(|(a, b)| a == b) {
            self.invalid(at, listed, "the same resource cannot be specified multiple times");
        }
        let overlap = |(a, b): (&Resource, &Resource)| {
            let in_group = a.group == b.group && (a.name == "*" || b.name == "*");
            a != b && (*a == any || *b == any || in_group)
        };
        if pairs().any(overlap) {
            let why = "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked";
            self.invalid(at, listed, why);
        }
    }

    fn provider(&mut self, provider: &Value, at: &str) -> Option<Provider> {
        const NAMES: [&str; 5] = ["kms", "aesgcm", "aescbc", "secretbox", "identity"];
        let mut given = NAMES.iter().filter(|name| provider[**name].is_object());
        let first = given.next();
        if given.next().is_some() {
            let why = "more than one provider specified in a single element, should split into different list elements";
            self.errors.push(FieldError::invalid(at, Value::Null, why).without_value());
        }
        let Some(name) = first else {
            let why = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity";
            self.errors.push(FieldError::invalid(at, Value::Null, why).without_value());
            return None;
        };
        let at = format!("{at}.{name}");
        let algorithm = match *name {
            "aesgcm" => Algorithm::AesGcm,
            "aescbc" => Algorithm::AesCbc,
            "secretbox" => Algorithm::Secretbox,
            "kms" => return Some(Provider::Kms(self.kms(&provider["kms"], &at))),
            _ => return Some(Provider::Identity),
        };
        let keys = self.keys(&provider[*name]["keys"], algorithm, &format!("{at}.keys"));
        Some(Provider::Keys { algorithm, keys })
    }

    fn keys(&mut self, keys: &Value, algorithm: Algorithm, at: &str) -> Vec<NamedKey> {
        if items(keys).next().is_none() {
            self.required(at.to_owned(), "at least one keys is required".to_owned());
        }
        items(keys).filter_map(|(index, key)| self.key(key, algorithm, &format!("{at}[{index}]"))).collect()
    }

    /// A key; its secret is never told.
    fn key(&mut self, key: &Value, algorithm: Algorithm, at: &str) -> Option<NamedKey> {
        let name = word(key, "name").to_owned();
        if name.is_empty() {
            self.required(format!("{at}.name"), "name is a mandatory field for a key".to_owned());
        }
        let at = format!("{at}.secret");
        if word(key, "secret").is_empty() {
            self.required(at, "secret is a mandatory field for a key".to_owned());
            return None;
        }
        let Ok(secret) = STANDARD.decode(word(key, "secret")).map(Zeroizing::new) else {
            self.invalid(at, "REDACTED", "secrets must be base64 encoded");
            return None;
        };
        let length = secret.len();
        let cipher = Cipher::new(algorithm, secret);
        if cipher.is_none() {
            let sizes: Vec<String> = algorithm.key_sizes().iter().map(ToString::to_string).collect();
            let sizes = sizes.join(" ");
            let why =
                format!("secret is not of the expected length, got {length}, expected one of [{sizes}]");
            self.invalid(at, "REDACTED", why);
        }
        Some(NamedKey { name, cipher: cipher? })
    }

    fn kms(&mut self, kms: &Value, at: &str) -> KmsConfig {
        let name = word(kms, "name").to_owned();
        let version = Some(word(kms, "apiVersion")).filter(|version| !version.is_empty()).unwrap_or("v1");
        self.uses_kms_v1 |= version == "v1";
        let name_at = format!("{at}.name");
        if name.is_empty() {
            self.required(name_at.clone(), "name is a mandatory field for a provider".to_owned());
        }
        if version != "v1" && name.contains(':') {
            let why = format!("invalid KMS provider name {name}, must not contain ':'");
            self.invalid(name_at.clone(), name.as_str(), why);
        }
        if !self.kms_names.insert(name.clone()) {
            let why = format!("duplicate KMS provider name {name}, names must be unique");
            self.invalid(name_at, name.as_str(), why);
        }
        let timeout = self.timeout(&kms["timeout"], &format!("{at}.timeout"));
        let socket = self.socket(word(kms, "endpoint"), &format!("{at}.endpoint"));
        if version != "v1" && kms["cachesize"].is_i64() {
            let why = "cachesize is not supported in v2";
            self.invalid(format!("{at}.cachesize"), kms["cachesize"].clone(), why);
        }
        if !["v1", "v2"].contains(&version) {
            let why = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported";
            self.invalid(format!("{at}.apiVersion"), version, why);
        }
        KmsConfig { name, socket, timeout }
    }

    fn timeout(&mut self, timeout: &Value, at: &str) -> Duration {
        let Some(text) = timeout.as_str() else { return KMS_TIMEOUT };
        let why = match skiff_machinery::duration::parse(text) {
            Ok(timeout) if timeout.is_positive() => return timeout.unsigned_abs(),
            Ok(_) => "timeout should be a positive value".to_owned(),
            Err(error) => error.to_string(),
        };
        self.invalid(at, text, why);
        KMS_TIMEOUT
    }

    fn socket(&mut self, endpoint: &str, at: &str) -> PathBuf {
        if endpoint.is_empty() {
            self.invalid(at, "", "endpoint is a mandatory field for a kms");
        } else if let Some(path) = endpoint.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return PathBuf::from(path);
        } else {
            let scheme = endpoint.split_once(':').map_or("", |(scheme, _)| scheme);
            let why = match scheme {
                "unix" => "invalid endpoint for kms provider, error: the path of the socket must be absolute"
                    .to_owned(),
                _ => format!("unsupported scheme {scheme:?} for KMS provider, only unix is supported"),
            };
            self.invalid(at, endpoint, why);
        }
        PathBuf::new()
    }
}

/// Why a resource cannot be encrypted by this name.
fn wrong_resource(text: &str, resource: &Resource) -> Option<&'static str> {
    const NOT_SERVED: [&str; 3] = ["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"];
    if text.to_lowercase() != text {
        return Some("resource name should not contain capital letters");
    }
    match (text, resource.group.as_str()) {
        ("*", _) => {
            Some("use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources")
        }
        (text, _) if NOT_SERVED.contains(&text) => {
            Some("resources which do not have REST API/s cannot be encrypted")
        }
        (_, "events.k8s.io") => Some(
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
        ),
        (_, "extensions") => Some("'extensions' group has been removed and cannot be used for encryption"),
        (_, "*") if resource.name != "*" => {
            Some("encrypting the same resource across groups is not supported")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(resources: &Value) -> Result<Configuration, String> {
        Configuration::read(&json!({"resources": resources}))
    }

    fn of(resources: &Value, providers: &Value) -> String {
        read(&json!([{"resources": resources, "providers": providers}]))
            .map_or_else(|why| why, |_| "ok".into())
    }

    #[test]
    fn what_is_wrong_is_told_as_kubernetes_tells_it() {
        let check = |found: String, expected: &str| assert_eq!(found, expected);
        let identity = json!([{"identity": {}}]);
        check(read(&json!([])).unwrap_err(), "resources: Required value: at least one resources is required");
        check(
            of(&json!([]), &json!([])),
            "[resources[0].resources: Required value: at least one resources[0].resources is required, resources[0].providers: Required value: at least one resources[0].providers is required]",
        );
        for fine in [json!(["secrets"]), json!(["*.*"]), json!(["*."]), json!(["*.apps", "events"])] {
            check(of(&fine, &identity), "ok");
        }
        let of_name = |name: &str, why: &str| {
            let expected = format!("resources[0].resources[0]: Invalid value: {name:?}: {why}");
            check(of(&json!([name]), &identity), &expected);
        };
        of_name("Secrets", "resource name should not contain capital letters");
        of_name(
            "*",
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
        );
        of_name("pods.extensions", "'extensions' group has been removed and cannot be used for encryption");
        of_name("pods.*", "encrypting the same resource across groups is not supported");
        of_name("serviceipallocations", "resources which do not have REST API/s cannot be encrypted");
        check(
            of(&json!(["secrets", "secrets"]), &identity),
            "resources[0].resources: Invalid value: [\"secrets\",\"secrets\"]: the same resource cannot be specified multiple times",
        );
        assert!(of(&json!(["secrets", "*."]), &identity).contains("using overlapping resources"));
        assert!(of(&json!(["secrets", "*.*"]), &identity).contains("using overlapping resources"));
    }

    #[test]
    fn keys_are_checked_and_never_told() {
        let check = |keys: Value, expected: &str| {
            let found = of(&json!(["secrets"]), &json!([{"secretbox": {"keys": keys}}]));
            assert_eq!(found, expected.replace("AT", "resources[0].providers[0].secretbox.keys"));
        };
        check(json!([]), "AT: Required value: at least one keys is required");
        check(json!([{"name": "a"}]), "AT[0].secret: Required value: secret is a mandatory field for a key");
        check(
            json!([{"name": "a", "secret": "not base64"}]),
            "AT[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded",
        );
        check(
            json!([{"name": "a", "secret": "YWJj"}]),
            "AT[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 3, expected one of [32]",
        );
        check(
            json!([{"secret": STANDARD.encode([7; 32])}]),
            "AT[0].name: Required value: name is a mandatory field for a key",
        );
        check(json!([{"name": "a", "secret": STANDARD.encode([7; 32])}]), "ok");
        let two = of(
            &json!(["secrets"]),
            &json!([{"identity": {}, "kms": {"name": "a", "apiVersion": "v2", "endpoint": "unix:///a"}}]),
        );
        assert!(two.contains("more than one provider specified in a single element"), "{two}");
        assert!(of(&json!(["secrets"]), &json!([{}])).contains("does not contain any of the expected"));
    }

    #[test]
    fn key_management_services_are_of_the_second_version() {
        let check = |kms: Value, expected: &str| {
            let found = of(&json!(["secrets"]), &json!([{"kms": kms}]));
            assert!(found.contains(expected), "{found}");
        };
        check(
            json!({"apiVersion": "v2", "name": "a", "endpoint": "unix:///run/kms.sock", "timeout": "2s"}),
            "ok",
        );
        check(
            json!({"name": "a", "endpoint": "unix:///a"}),
            "KMSv1 is deprecated and will only receive security",
        );
        check(json!({"apiVersion": "v2", "name": "a:b", "endpoint": "unix:///a"}), "must not contain ':'");
        check(json!({"apiVersion": "v2", "name": "a"}), "endpoint is a mandatory field for a kms");
        check(json!({"apiVersion": "v2", "name": "a", "endpoint": "tcp://a"}), "unsupported scheme \"tcp\"");
        check(
            json!({"apiVersion": "v2", "name": "a", "endpoint": "unix:///a", "timeout": "0s"}),
            "timeout should be a positive value",
        );
        check(
            json!({"apiVersion": "v2", "name": "a", "endpoint": "unix:///a", "cachesize": 5}),
            "cachesize is not supported in v2",
        );
        check(
            json!({"apiVersion": "v3", "name": "a", "endpoint": "unix:///a"}),
            "only v1 and v2 are supported",
        );
    }

    #[test]
    fn what_comes_too_late_is_refused() {
        let identity = json!([{"identity": {}}]);
        let check = |first: &str, second: &str, expected: Option<&str>| {
            let groups = [first, second].map(|name| json!({"resources": [name], "providers": identity}));
            assert_eq!(read(&json!(groups)).err().as_deref(), expected);
        };
        check("secrets", "*.", None);
        check("secrets", "*.*", None);
        check("*.apps", "secrets", None);
        check(
            "*.apps",
            "deployments.apps",
            Some(r#"resource "deployments.apps" is masked by earlier rule "*.apps""#),
        );
        check("*.*", "secrets", Some(r#"resource "secrets" is masked by earlier rule "*.*""#));
        check("*.", "secrets", Some(r#"resource "secrets" is masked by earlier rule "*.""#));
    }

    #[test]
    fn the_schema_reads() {
        let schema = std::sync::Arc::new(skiff_schema::Schema::of_table(SCHEMA));
        assert!(schema.root(DEFINITION).is_some());
    }
}
