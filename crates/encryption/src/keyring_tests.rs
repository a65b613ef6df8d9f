use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::kms::{Encrypted, Status};

const SECRET: &str = "/registry/core/secrets/default/a";

/// A service that turns its key's name around; what is given it may be changed.
#[derive(Clone, Debug, Default)]
struct Fake {
    status: Arc<Mutex<Status>>,
    away: Arc<Mutex<bool>>,
    decrypts: Arc<AtomicUsize>,
}

impl Fake {
    fn new(key_id: &str) -> Self {
        let fake = Self::default();
        *fake.status.lock() = Status { version: "v2".into(), healthz: "ok".into(), key_id: key_id.into() };
        fake
    }

    fn answer<T>(&self, answer: T) -> Result<T, String> {
        if *self.away.lock() { Err("rpc error: code = Unavailable desc = away".into()) } else { Ok(answer) }
    }
}

impl Service for Fake {
    fn status(&self) -> Result<Status, String> {
        self.answer(self.status.lock().clone())
    }

    fn encrypt(&self, _: &str, plaintext: &[u8]) -> Result<Encrypted, String> {
        let key_id = self.status.lock().key_id.clone();
        let ciphertext = plaintext.iter().map(|byte| !byte).collect();
        self.answer(Encrypted { ciphertext, key_id, annotations: [("a".into(), vec![1])].into() })
    }

    fn decrypt(&self, _: &str, encrypted: &Encrypted) -> Result<Vec<u8>, String> {
        self.decrypts.fetch_add(1, Ordering::SeqCst);
        assert_eq!(encrypted.annotations["a"], [1]);
        self.answer(encrypted.ciphertext.iter().map(|byte| !byte).collect())
    }
}

fn keys(provider: &str, names: &[&str]) -> Value {
    let size = if provider == "aescbc" { 24 } else { 32 };
    let secret = |name: &str| STANDARD.encode(&[name.as_bytes()[0]; 32][..size]);
    let keys: Vec<_> = names.iter().map(|name| json!({"name": name, "secret": secret(name)})).collect();
    json!({provider: {"keys": keys}})
}

fn kms() -> Value {
    json!({"kms": {"apiVersion": "v2", "name": "vault", "endpoint": "unix:///nowhere"}})
}

fn rules(rules: &[(&str, Value)]) -> Configuration {
    let groups = rules.iter().map(|(name, providers)| json!({"resources": [name], "providers": providers}));
    Configuration::read(&json!({"resources": groups.collect::<Vec<_>>()})).unwrap()
}

fn secrets(providers: Value) -> Configuration {
    rules(&[("secrets", providers)])
}

fn ring(configuration: &Configuration, service: Fake) -> Keyring {
    Keyring::new(configuration, move |_| Box::new(service.clone()), Instant::now())
}

fn written(keyring: &Keyring, key: &str, value: &str) -> Vec<u8> {
    let (key, mut out) = (Key::from(key), Vec::new());
    let seal = keyring.current(&key).unwrap();
    keyring.seal(seal, &key, value.as_bytes(), &mut out);
    assert!(out.len() <= value.len() + keyring.growth(seal));
    assert!(keyring.keeps(&key, seal) && !keyring.is_stale(&key, seal));
    out
}

/// What is read, and whether it would be written otherwise.
fn read(keyring: &Keyring, key: &str, stored: &[u8]) -> Result<(String, bool), String> {
    let key = Key::from(key);
    let (seal, value) = keyring.open(&key, stored).map_err(|why| why.to_string())?;
    Ok((String::from_utf8(value.into_owned()).unwrap(), keyring.is_stale(&key, seal)))
}

#[test]
fn the_first_writes_and_all_read() {
    let providers = ["aesgcm", "aescbc", "secretbox"].map(|name| keys(name, &["1", "2"]));
    let stored = |first: &Value| written(&ring(&secrets(json!([first])), Fake::default()), SECRET, "value");
    let identity = json!({"identity": {}});
    for first in &providers {
        let all: Vec<&Value> = std::iter::once(first).chain(&providers).chain([&identity]).collect();
        let keyring = ring(&secrets(json!(all)), Fake::default());
        for written_by in providers.iter().chain([&identity]) {
            let found = read(&keyring, SECRET, &stored(written_by)).unwrap();
            assert_eq!(found, ("value".to_owned(), written_by != first), "{first} {written_by}");
        }
    }
    assert!(stored(&providers[0]).starts_with(b"k8s:enc:aesgcm:v1:1:"));
    assert!(stored(&providers[1]).starts_with(b"k8s:enc:aescbc:v1:1:"));
    assert!(stored(&providers[2]).starts_with(b"k8s:enc:secretbox:v1:1:"));
    assert_eq!(stored(&identity), b"value");
}

#[test]
fn what_nobody_can_read_is_told_of() {
    let check = |providers: Value, stored: &[u8], expected: &str| {
        let found = read(&ring(&secrets(providers), Fake::default()), SECRET, stored);
        assert_eq!(found, Err(expected.to_owned()));
    };
    let sealed = |provider: &str| {
        let providers = json!([keys(provider, &["1"])]);
        written(&ring(&secrets(providers), Fake::default()), SECRET, "value")
    };
    let identity = json!([{"identity": {}}]);
    check(identity.clone(), &sealed("aesgcm"), "no matching prefix found");
    check(json!([keys("aescbc", &["1"])]), b"value", "no matching prefix found");
    let no_key = "no matching key was found for the provided AES transformer";
    check(json!([keys("aesgcm", &["2"])]), &sealed("aesgcm"), no_key);
    let other = json!({"aesgcm": {"keys": [{"name": "1", "secret": STANDARD.encode([9; 32])}]}});
    check(json!([other]), &sealed("aesgcm"), "cipher: message authentication failed");
    let both = json!([other, keys("aesgcm", &["2"])]);
    check(both, &sealed("aesgcm"), &format!("[cipher: message authentication failed, {no_key}]"));
    // Bound to its place.
    let keyring = ring(&secrets(json!([keys("aesgcm", &["1"])])), Fake::default());
    let moved = read(&keyring, "/registry/core/secrets/default/b", &sealed("aesgcm"));
    assert_eq!(moved, Err("cipher: message authentication failed".to_owned()));
    let nothing = ring(&rules(&[("pods", identity)]), Fake::default());
    let found = read(&nothing, SECRET, &sealed("aesgcm"));
    assert_eq!(found, Err("identity transformer tried to read encrypted data".to_owned()));
}

#[test]
fn the_narrowest_rule_counts() {
    let one = |name: &str| json!([keys("secretbox", &[name])]);
    let keyring = ring(
        &rules(&[
            ("deployments.apps", one("1")),
            ("*.apps", one("2")),
            ("secrets", one("3")),
            ("*.", one("4")),
            ("*.*", one("5")),
        ]),
        Fake::default(),
    );
    let check = |key: &str, name: &str| {
        let prefix = format!("k8s:enc:secretbox:v1:{name}:");
        assert!(written(&keyring, key, "value").starts_with(prefix.as_bytes()), "{key}");
    };
    check("/registry/apps/deployments/default/a", "1");
    check("/registry/apps/replicasets/default/a", "2");
    check(SECRET, "3");
    check("/registry/core/events/default/a", "4");
    check("/registry/core/nodes/a", "4");
    check("/registry/example.com/widgets/default/a", "5");
}

#[test]
fn keys_are_rotated_without_a_restart() {
    let keyring = ring(&secrets(json!([{"identity": {}}])), Fake::default());
    let (key, now) = (Key::from(SECRET), Instant::now());
    let plain = written(&keyring, SECRET, "value");
    keyring.replace(&secrets(json!([keys("aesgcm", &["1"]), {"identity": {}}])), now).unwrap();
    assert_eq!(read(&keyring, SECRET, &plain), Ok(("value".to_owned(), true)));
    assert!(keyring.keeps(&key, Seal::NONE));
    let first = written(&keyring, SECRET, "value");
    let (old, _) = keyring.open(&key, &first).unwrap();
    keyring.replace(&secrets(json!([keys("aesgcm", &["2", "1"])])), now).unwrap();
    assert_eq!(read(&keyring, SECRET, &first), Ok(("value".to_owned(), true)));
    assert!(keyring.keeps(&key, old) && !keyring.keeps(&key, Seal::NONE));
    keyring.replace(&secrets(json!([keys("aesgcm", &["2"])])), now).unwrap();
    assert!(!keyring.keeps(&key, old));
    // What was sealed with it can be written all the same.
    let mut again = Vec::new();
    keyring.seal(old, &key, b"value", &mut again);
    assert!(again.starts_with(b"k8s:enc:aesgcm:v1:1:"));
}

#[test]
fn a_service_is_asked_once_for_each_seed() {
    let service = Fake::new("one");
    let configuration = secrets(json!([kms(), {"identity": {}}]));
    let before = ring(&configuration, service.clone());
    let stored = written(&before, SECRET, "value");
    assert!(stored.starts_with(b"k8s:enc:kms:v2:vault:"));
    assert_eq!(read(&before, SECRET, &stored), Ok(("value".to_owned(), false)));
    assert_eq!(service.decrypts.load(Ordering::SeqCst), 0);
    let after = ring(&configuration, service.clone());
    for _ in 0..3 {
        // Another seed of the same key is no reason to write it again.
        assert_eq!(read(&after, SECRET, &stored), Ok(("value".to_owned(), false)));
    }
    assert_eq!(service.decrypts.load(Ordering::SeqCst), 1);
    service.status.lock().key_id = "two".into();
    assert!(after.probe(Instant::now()), "another key");
    assert!(!after.probe(Instant::now()));
    assert_eq!(read(&after, SECRET, &stored), Ok(("value".to_owned(), true)));
    assert_eq!(read(&after, SECRET, &written(&after, SECRET, "2")), Ok(("2".to_owned(), false)));
}

#[test]
fn a_service_that_is_away_stops_no_reads_and_in_the_end_writes() {
    let service = Fake::new("one");
    let configuration = secrets(json!([kms()]));
    let keyring = ring(&configuration, service.clone());
    let stored = written(&keyring, SECRET, "value");
    *service.away.lock() = true;
    let now = Instant::now();
    assert!(keyring.probe(now));
    let why = keyring.failing().unwrap();
    assert!(
        why.starts_with("failed to perform status section of the healthz check for KMS Provider vault"),
        "{why}"
    );
    assert_eq!(read(&keyring, SECRET, &stored).unwrap().0, "value");
    let kms = keyring.ring.read().services[0].clone();
    assert!(kms.sealer(now + Duration::from_secs(170)).is_ok());
    assert!(kms.sealer(now + Duration::from_secs(190)).unwrap_err().contains("\"one\" expired"));
    // Who starts without it reads nothing, and is not kept waiting for each value.
    let without = ring(&configuration, service.clone());
    for _ in 0..3 {
        let why = read(&without, SECRET, &stored).unwrap_err();
        assert!(why.starts_with("failed to decrypt DEK, error: rpc error: code = Unavailable"), "{why}");
    }
    assert_eq!(service.decrypts.load(Ordering::SeqCst), 1);
    assert!(without.current(&Key::from(SECRET)).unwrap_err().contains("KMS Provider vault"));
    *service.away.lock() = false;
    assert!(without.probe(Instant::now()));
    assert_eq!(read(&without, SECRET, &stored), Ok(("value".to_owned(), false)));
    assert_eq!(without.failing(), None);
}

#[test]
fn a_new_service_must_be_in_order() {
    let service = Fake::new("one");
    service.status.lock().healthz = "broken".into();
    let keyring = ring(&secrets(json!([keys("aesgcm", &["1"])])), service.clone());
    let configuration = secrets(json!([kms(), keys("aesgcm", &["1"])]));
    let why = keyring.replace(&configuration, Instant::now()).unwrap_err();
    assert_eq!(why, "kmsv2 Provider vault is not healthy, error: got unexpected healthz status: broken");
    assert!(written(&keyring, SECRET, "value").starts_with(b"k8s:enc:aesgcm"), "all is as it was");
    *service.status.lock() = Status { version: "v1".into(), healthz: "ok".into(), key_id: String::new() };
    let why = keyring.replace(&configuration, Instant::now()).unwrap_err();
    assert!(
        why.contains("[expected KMSv2 API version v2, got v1, expected KMSv2 KeyID to be set, got ]"),
        "{why}"
    );
    *service.status.lock() = Fake::new("one").status.lock().clone();
    keyring.replace(&configuration, Instant::now()).unwrap();
    assert!(written(&keyring, SECRET, "value").starts_with(b"k8s:enc:kms:v2:vault:"));
}
