//! Reads the parts of the file, and gathers what is wrong with them.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_machinery::{FieldError, FieldErrors};
use zeroize::Zeroizing;

use super::{Group, KmsConfig, NamedKey, Provider, Resource};
use crate::cipher::{Algorithm, Cipher};

/// How long a key management service may take to answer, if the file does not say.
const KMS_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn word<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

/// Reads, and gathers what is wrong.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) errors: FieldErrors,
    kms_names: HashSet<String>,
    pub(super) uses_kms_v1: bool,
}

impl Reader {
    fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) {
        self.errors.push(FieldError::invalid(field, value, detail));
    }

    fn required(&mut self, field: String, detail: String) {
        self.errors.push(FieldError::required(field, detail));
    }

    pub(super) fn group(&mut self, group: &Value, at: &str) -> Group {
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
