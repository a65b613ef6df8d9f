//! The keys that values are sealed with now, those that open them, and all that were ever used.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;
use prost::Message as _;
use ring::digest::{SHA256, digest};
use skiff_store::{Key, SEALED, Seal, Transformer};

use crate::cipher::{self, Algorithm, Cipher};
use crate::configuration::{Configuration, KmsConfig, NamedKey, Provider, Resource};
use crate::envelope::Sealer;
use crate::kms::{Kms, Service};

/// Where the keys of objects begin.
const OBJECTS: &str = "/registry/";

/// Finds the service that a configuration names.
type Connect = dyn Fn(&KmsConfig) -> Box<dyn Service> + Send + Sync;

/// The store's [`Transformer`] for a [`Configuration`], which can be replaced while the store is open.
pub struct Keyring {
    ring: RwLock<Ring>,
    connect: Box<Connect>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

#[derive(Default)]
struct Ring {
    rules: Vec<(Resource, Arc<[Reader]>)>,
    services: Vec<Arc<Kms>>,
    seals: Seals,
}

/// How values lie on disk, in one of the ways in which a resource may have them.
#[derive(Clone, Debug)]
enum Reader {
    Identity,
    /// Under one of these keys, by name.
    Keys(Algorithm, Vec<(String, Arc<Sealing>)>),
    Kms(Arc<Kms>),
}

/// What values are sealed with.
#[derive(Debug)]
struct Sealing {
    seal: Seal,
    prefix: String,
    with: With,
}

#[derive(Debug)]
enum With {
    Key(Cipher),
    Seed(Sealer),
}

/// All that values were sealed with since the process began. There is a seed for each start of the server and each key of a
/// service, so they stay few.
#[derive(Default)]
struct Seals {
    /// The first has number 1.
    all: Vec<Arc<Sealing>>,
    known: HashMap<(String, [u8; 32]), Arc<Sealing>>,
}

impl Seals {
    /// The seal of a key or a seed; the same for the same.
    fn of(&mut self, prefix: String, secret: &[u8], with: impl FnOnce() -> With) -> Arc<Sealing> {
        let print = digest(&SHA256, secret).as_ref().try_into().expect("SHA-256 has 32 bytes");
        let known = self.known.entry((prefix.clone(), print));
        let sealing = known.or_insert_with(|| {
            let number = u32::try_from(self.all.len() + 1).expect("there are few keys");
            let sealing = Arc::new(Sealing { seal: Seal::new(number), prefix, with: with() });
            self.all.push(Arc::clone(&sealing));
            sealing
        });
        Arc::clone(sealing)
    }

    fn of_key(&mut self, key: &NamedKey) -> Arc<Sealing> {
        let prefix = format!("{}{}:", key.cipher.algorithm.prefix(), key.name);
        self.of(prefix, key.cipher.key(), || With::Key(key.cipher.clone()))
    }

    fn of_seed(&mut self, kms: &Kms, sealer: &Sealer) -> Arc<Sealing> {
        self.of(kms.prefix(), &sealer.object.encode_to_vec(), || With::Seed(sealer.clone()))
    }

    fn get(&self, seal: Seal) -> Option<&Arc<Sealing>> {
        self.all.get(usize::try_from(seal.get()).ok()?.checked_sub(1)?)
    }
}

impl Keyring {
    /// The keys of a configuration. Key management services are reached by `connect`, and each is asked once how it is.
    pub fn new(
        configuration: &Configuration,
        connect: impl Fn(&KmsConfig) -> Box<dyn Service> + Send + Sync + 'static,
        now: Instant,
    ) -> Self {
        let keyring = Self { ring: RwLock::default(), connect: Box::new(connect) };
        let services = keyring.services(configuration);
        probe(&services, now);
        keyring.take(configuration, services);
        keyring
    }

    /// From now on the keys of another configuration. New key management services must be in order. Waits for their answers.
    ///
    /// # Errors
    /// What is wrong with a service; everything stays as it was.
    pub fn replace(&self, configuration: &Configuration, now: Instant) -> Result<(), String> {
        let services = self.services(configuration);
        probe(&services, now);
        if let Some(why) = failures(&services) {
            return Err(why);
        }
        self.take(configuration, services);
        Ok(())
    }

    /// The services of a configuration: those that there are, and new ones.
    fn services(&self, configuration: &Configuration) -> Vec<Arc<Kms>> {
        let ring = self.ring.read();
        let providers = configuration.groups.iter().flat_map(|group| &group.providers);
        let configs = providers.filter_map(|provider| match provider {
            Provider::Kms(config) => Some(config),
            Provider::Identity | Provider::Keys { .. } => None,
        });
        let of = |config: &KmsConfig| {
            let known = ring.services.iter().find(|service| service.config == *config);
            known.cloned().unwrap_or_else(|| Arc::new(Kms::new(config, (self.connect)(config))))
        };
        configs.map(of).collect()
    }

    fn take(&self, configuration: &Configuration, services: Vec<Arc<Kms>>) {
        let mut ring = self.ring.write();
        let mut rules: Vec<(Resource, Arc<[Reader]>)> = Vec::new();
        for group in &configuration.groups {
            let readers = group.providers.iter().map(|provider| match provider {
                Provider::Identity => Reader::Identity,
                Provider::Keys { algorithm, keys } => {
                    let sealing = |key: &NamedKey| (key.name.clone(), ring.seals.of_key(key));
                    Reader::Keys(*algorithm, keys.iter().map(sealing).collect())
                }
                Provider::Kms(config) => {
                    let of = services.iter().find(|service| service.config == *config);
                    Reader::Kms(Arc::clone(of.expect("there is a service for each")))
                }
            });
            let readers: Arc<[Reader]> = readers.collect();
            for resource in &group.resources {
                match rules.iter_mut().find(|(other, _)| other == resource) {
                    // Named again: what comes later is read as well.
                    Some((_, before)) => *before = before.iter().chain(&*readers).cloned().collect(),
                    None => rules.push((resource.clone(), Arc::clone(&readers))),
                }
            }
        }
        ring.rules = rules;
        ring.services = services;
    }

    /// Asks every key management service how it is. Whether something has changed for those who read and write. Waits for the
    /// answers.
    pub fn probe(&self, now: Instant) -> bool {
        let services = self.ring.read().services.clone();
        probe(&services, now)
    }

    /// Whether there are services to ask.
    pub fn has_services(&self) -> bool {
        !self.ring.read().services.is_empty()
    }

    /// What is wrong with key management services.
    pub fn failing(&self) -> Option<String> {
        failures(&self.ring.read().services)
    }

    /// How values under a key may lie on disk; as they are, if the configuration says nothing of them.
    fn readers(&self, key: &Key) -> Arc<[Reader]> {
        self.rule(key).unwrap_or_else(|| Arc::from([Reader::Identity]))
    }

    fn rule(&self, key: &Key) -> Option<Arc<[Reader]>> {
        let ring = self.ring.read();
        let (group, name) = resource(key);
        let of = |group: &str, name: &str| {
            let mut rules = ring.rules.iter();
            rules.find(|(resource, _)| resource.group == group && resource.name == name)
        };
        let rule = of(group, name).or_else(|| of(group, "*")).or_else(|| of("*", "*"));
        rule.map(|(_, readers)| Arc::clone(readers))
    }

    fn sealing(&self, seal: Seal) -> Option<Arc<Sealing>> {
        self.ring.read().seals.get(seal).cloned()
    }
}

/// Asks all of them; whether something has changed with one.
fn probe(services: &[Arc<Kms>], now: Instant) -> bool {
    services.iter().fold(false, |changed, service| service.probe(now) | changed)
}

fn failures(services: &[Arc<Kms>]) -> Option<String> {
    let failing: Vec<String> = services.iter().filter_map(|service| service.failing()).collect();
    match failing.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

/// Group and name of the resource whose objects have such keys.
fn resource(key: &Key) -> (&str, &str) {
    let mut parts = key.as_str().strip_prefix(OBJECTS).unwrap_or_default().splitn(3, '/');
    let (group, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    (if group == "core" { "" } else { group }, name)
}

impl Transformer for Keyring {
    fn current(&self, key: &Key) -> Result<Seal, Arc<str>> {
        match self.readers(key).first() {
            None | Some(Reader::Identity) => Ok(Seal::NONE),
            Some(Reader::Keys(_, keys)) => Ok(keys.first().map_or(Seal::NONE, |(_, sealing)| sealing.seal)),
            Some(Reader::Kms(kms)) => {
                let sealer = kms.sealer(Instant::now())?;
                Ok(self.ring.write().seals.of_seed(kms, &sealer).seal)
            }
        }
    }

    fn is_stale(&self, key: &Key, seal: Seal) -> bool {
        let Some(Reader::Kms(kms)) = self.readers(key).first().cloned() else {
            return self.current(key).is_ok_and(|current| current != seal);
        };
        // Seeds of one key are as good as each other.
        let Some(wanted) = kms.key_id() else { return false };
        let sealing = self.sealing(seal);
        !sealing.is_some_and(|sealing| match &sealing.with {
            With::Seed(sealer) => sealing.prefix == kms.prefix() && sealer.object.key_id == wanted,
            With::Key(_) => false,
        })
    }

    fn keeps(&self, key: &Key, seal: Seal) -> bool {
        let sealing = self.sealing(seal);
        self.readers(key).iter().any(|reader| match (reader, &sealing) {
            (Reader::Identity, sealing) => sealing.is_none(),
            (Reader::Keys(_, keys), Some(_)) => keys.iter().any(|(_, sealing)| sealing.seal == seal),
            (Reader::Kms(kms), Some(sealing)) => sealing.prefix == kms.prefix(),
            (Reader::Keys(..) | Reader::Kms(_), None) => false,
        })
    }

    fn growth(&self, seal: Seal) -> usize {
        self.sealing(seal).map_or(0, |sealing| {
            let growth = match &sealing.with {
                With::Key(_) => cipher::GROWTH,
                With::Seed(sealer) => sealer.growth(),
            };
            sealing.prefix.len() + growth
        })
    }

    fn seal(&self, seal: Seal, key: &Key, value: &[u8], out: &mut Vec<u8>) {
        let Some(sealing) = self.sealing(seal) else { return out.extend_from_slice(value) };
        out.extend_from_slice(sealing.prefix.as_bytes());
        match &sealing.with {
            With::Key(cipher) => cipher.seal(key.as_str().as_bytes(), value, out),
            With::Seed(sealer) => sealer.seal(key.as_str().as_bytes(), value, out),
        }
    }

    fn open<'a>(&self, key: &Key, stored: &'a [u8]) -> Result<(Seal, Cow<'a, [u8]>), Arc<str>> {
        let bound = key.as_str().as_bytes();
        let mut why: Vec<String> = Vec::new();
        for reader in &*self.readers(key) {
            let opened = match reader {
                Reader::Identity if stored.starts_with(SEALED) => None,
                Reader::Identity => return Ok((Seal::NONE, stored.into())),
                Reader::Keys(algorithm, keys) => open_with_key(*algorithm, keys, bound, stored),
                Reader::Kms(kms) => {
                    let sealed = stored.strip_prefix(kms.prefix().as_bytes());
                    let opened = sealed.map(|sealed| kms.open(bound, sealed, Instant::now()));
                    let sealed_by = |sealer| self.ring.write().seals.of_seed(kms, &sealer).seal;
                    opened.map(|opened| opened.map(|(sealer, value)| (sealed_by(sealer), value)))
                }
            };
            match opened {
                Some(Ok((seal, value))) => return Ok((seal, value.into())),
                Some(Err(error)) if !why.contains(&error) => why.push(error),
                Some(Err(_)) | None => {}
            }
        }
        Err(match why.as_slice() {
            [] if self.rule(key).is_none() => "identity transformer tried to read encrypted data".into(),
            [] => "no matching prefix found".into(),
            [one] => one.as_str().into(),
            several => format!("[{}]", several.join(", ")).into(),
        })
    }
}

/// Tries the keys that have the value's name; none if the value is of another algorithm.
fn open_with_key(
    algorithm: Algorithm,
    keys: &[(String, Arc<Sealing>)],
    bound: &[u8],
    stored: &[u8],
) -> Option<Result<(Seal, Vec<u8>), String>> {
    let named = stored.strip_prefix(algorithm.prefix().as_bytes())?;
    let mut why = algorithm.no_key();
    for (name, sealing) in keys {
        let sealed = named.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
        let (Some(sealed), With::Key(cipher)) = (sealed, &sealing.with) else { continue };
        match cipher.open(bound, sealed) {
            Ok(value) => return Some(Ok((sealing.seal, value))),
            Err(error) => why = error,
        }
    }
    Some(Err(why.to_owned()))
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
