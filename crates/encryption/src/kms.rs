//! When a key management service is asked what, and what comes of its answers. No I/O.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::configuration::KmsConfig;
use crate::envelope::{EncryptedObject, SEED_SOURCE, Sealer, Source};

/// How long values are sealed with a seed after the service was last found in order.
const EXPIRES: Duration = Duration::from_secs(3 * 60);

/// After which time a seed that the service did not open is asked for again, if the service has not come back before.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How a service says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Of the API that it speaks.
    pub version: String,
    /// `ok`, or what is wrong.
    pub healthz: String,
    /// Which of its keys it uses.
    pub key_id: String,
}

/// What a service made of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encrypted {
    /// Only the service can open it.
    pub ciphertext: Vec<u8>,
    /// With which of its keys.
    pub key_id: String,
    /// What it wants to be given back.
    pub annotations: BTreeMap<String, Vec<u8>>,
}

/// A key management service. Calls wait for its answer, which is bounded in time; errors are told as they are.
pub trait Service: fmt::Debug + Send + Sync + 'static {
    /// How it is.
    fn status(&self) -> Result<Status, String>;
    /// Closes a seed.
    fn encrypt(&self, uid: &str, plaintext: &[u8]) -> Result<Encrypted, String>;
    /// Opens what it closed.
    fn decrypt(&self, uid: &str, encrypted: &Encrypted) -> Result<Vec<u8>, String>;
}

/// A service, the seed that it closed last, and those that it opened.
#[derive(Debug)]
pub(crate) struct Kms {
    pub(crate) config: KmsConfig,
    service: Box<dyn Service>,
    state: RwLock<Option<State>>,
    opened: Mutex<HashMap<EncryptedObject, Opened>>,
    failing: RwLock<Option<String>>,
}

/// What the service made of a closed seed, or why it did not; that holds for some time, or whoever reads many values would wait
/// for each.
type Opened = Result<Arc<Source>, (Instant, String)>;

#[derive(Clone, Debug)]
struct State {
    sealer: Arc<Sealer>,
    until: Instant,
}

impl Kms {
    pub(crate) fn new(config: &KmsConfig, service: Box<dyn Service>) -> Self {
        let failing = RwLock::new(Some(format!("KMS Provider {} has not been asked yet", config.name)));
        Self { config: config.clone(), service, state: RwLock::default(), opened: Mutex::default(), failing }
    }

    /// What every value of it begins with.
    pub(crate) fn prefix(&self) -> String {
        format!("k8s:enc:kms:v2:{}:", self.config.name)
    }

    /// What values are sealed with now.
    pub(crate) fn sealer(&self, now: Instant) -> Result<Arc<Sealer>, String> {
        let state = self.state.read();
        let Some(state) = &*state else {
            let why = self.failing();
            return Err(format!("got unexpected nil transformer: {}", why.unwrap_or_default()));
        };
        if now > state.until {
            let why = self.failing().unwrap_or_default();
            return Err(format!(
                "encryptedDEKSource with keyID {:?} expired: {why}",
                state.sealer.object.key_id
            ));
        }
        Ok(Arc::clone(&state.sealer))
    }

    /// The key that the service uses, as far as is known.
    pub(crate) fn key_id(&self) -> Option<String> {
        self.state.read().as_ref().map(|state| state.sealer.object.key_id.clone())
    }

    /// What is wrong with the service.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failing.read().clone()
    }

    /// Asks the service how it is, and lets it close a new seed if it uses another key than before. Whether something has
    /// changed for those who read and write.
    pub(crate) fn probe(&self, now: Instant) -> bool {
        let before = (self.key_id(), self.failing().is_some());
        let found = self.ask(now);
        if let Err(why) = &found {
            tracing::warn!(provider = self.config.name, %why, "a key management service is not in order");
        }
        if found.is_ok() {
            self.opened.lock().retain(|_, opened| opened.is_ok());
        }
        *self.failing.write() = found.err();
        before != (self.key_id(), self.failing().is_some())
    }

    fn ask(&self, now: Instant) -> Result<(), String> {
        let name = &self.config.name;
        let status = self.service.status().map_err(|why| {
            format!(
                "failed to perform status section of the healthz check for KMS Provider {name}, error: {why}"
            )
        })?;
        check(&status).map_err(|why| format!("kmsv2 Provider {name} is not healthy, error: {why}"))?;
        let until = now + EXPIRES;
        if let Some(state) = self.state.write().as_mut()
            && state.sealer.object.key_id == status.key_id
        {
            state.until = until;
            return Ok(());
        }
        let sealer = self.generate(&status.key_id);
        let sealer = sealer.map_err(|why| format!("failed to rotate DEK of KMS Provider {name}: {why}"))?;
        self.opened.lock().insert(sealer.object.clone(), Ok(Arc::clone(&sealer.source)));
        *self.state.write() = Some(State { sealer: Arc::new(sealer), until });
        Ok(())
    }

    /// A new seed that the service has closed.
    fn generate(&self, key_id: &str) -> Result<Sealer, String> {
        let source = Source::generate();
        let uid = uuid::Uuid::new_v4().to_string();
        let encrypted = self.service.encrypt(&uid, source.bytes());
        let encrypted = encrypted.map_err(|why| format!("failed to encrypt DEK, error: {why}"))?;
        let object = EncryptedObject {
            encrypted_data: Vec::new(),
            key_id: encrypted.key_id,
            encrypted_dek_source: encrypted.ciphertext,
            annotations: encrypted.annotations,
            encrypted_dek_source_type: SEED_SOURCE,
        };
        object.check()?;
        if object.key_id != key_id {
            return Err(format!("its status names the key {key_id:?}, and it uses {:?}", object.key_id));
        }
        Ok(Sealer { source: Arc::new(source), object })
    }

    /// The seal of a value on disk, and the value. The service is asked once for each seed.
    pub(crate) fn open(
        &self,
        bound: &[u8],
        sealed: &[u8],
        now: Instant,
    ) -> Result<(Sealer, Vec<u8>), String> {
        let mut object = EncryptedObject::read(sealed)?;
        let data = std::mem::take(&mut object.encrypted_data);
        let source = self.source(&object, now)?;
        let value = source.open(bound, &data)?;
        Ok((Sealer { source, object }, value))
    }

    fn source(&self, object: &EncryptedObject, now: Instant) -> Result<Arc<Source>, String> {
        match self.opened.lock().get(object) {
            Some(Ok(source)) => return Ok(Arc::clone(source)),
            Some(Err((asked, why))) if now < *asked + ASK_AGAIN => return Err(why.clone()),
            Some(Err(_)) | None => {}
        }
        let opened = self.ask_for(object).map_err(|why| (Instant::now().max(now), why));
        self.opened.lock().insert(object.clone(), opened.clone());
        opened.map_err(|(_, why)| why)
    }

    fn ask_for(&self, object: &EncryptedObject) -> Result<Arc<Source>, String> {
        let uid = uuid::Uuid::new_v4().to_string();
        let encrypted = Encrypted {
            ciphertext: object.encrypted_dek_source.clone(),
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone(),
        };
        let key = self.service.decrypt(&uid, &encrypted);
        let key = key.map_err(|why| format!("failed to decrypt DEK, error: {why}"))?;
        Source::new(key, object.encrypted_dek_source_type).map(Arc::new)
    }
}

fn check(status: &Status) -> Result<(), String> {
    let mut wrong = Vec::new();
    if status.healthz != "ok" {
        wrong.push(format!("got unexpected healthz status: {}", status.healthz));
    }
    if !["v2", "v2beta1"].contains(&status.version.as_str()) {
        wrong.push(format!("expected KMSv2 API version v2, got {}", status.version));
    }
    if status.key_id.is_empty() {
        wrong.push("expected KMSv2 KeyID to be set, got ".to_owned());
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}
