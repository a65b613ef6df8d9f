//! What is stored, encrypted as the file of `--encryption-provider-config` says: read when the server starts and, if asked for,
//! whenever it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use skiff_apiserver::configuration;
use skiff_apiserver::{Checks, Concern, Followed};
use skiff_encryption::kms::Service;
use skiff_encryption::{Configuration, DEFINITION, Keyring, KmsConfig, NAMES, SCHEMA, grpc};
use skiff_exposition::{Counters, Family, Gauges};
use skiff_store::Embedded;
use tokio_util::sync::CancellationToken;

use crate::args::EncryptionArgs;

/// How often key management services are asked how they are, as Kubernetes does, and how often when one is not in order: they tell
/// nothing by themselves.
const ASK: Duration = Duration::from_secs(60);
const ASK_FAILING: Duration = Duration::from_secs(10);

static RELOADS: Counters<1> = Family::counters(
    "apiserver_encryption_config_controller_automatic_reloads_total",
    "How often the encryption provider configuration was read again.",
    ["status"],
);
static RELOADED: Gauges<1> = Family::gauges(
    "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
    "When that was last, in seconds since 1970.",
    ["status"],
);

/// What was read again, in Prometheus' text format.
pub(crate) fn metrics() -> String {
    skiff_exposition::text(&[&RELOADS, &RELOADED])
}

const KIND: configuration::Kind = configuration::Kind { definition: DEFINITION, names: NAMES };

/// The keys of the store, and where they come from.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    keyring: Arc<Keyring>,
    file: PathBuf,
    reloads: bool,
    /// What the file said when the keys were opened.
    opened: Vec<u8>,
    /// Why what the file says now is not what is done, if it is not.
    failed: Arc<Mutex<Option<String>>>,
}

impl EncryptionArgs {
    /// What the file says; none if there is none.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Configuration>> {
        let Some(file) = &self.encryption_provider_config else {
            if self.encryption_provider_config_automatic_reload {
                bail!(
                    "--encryption-provider-config-automatic-reload must be set with --encryption-provider-config"
                );
            }
            return Ok(None);
        };
        Ok(Some(parse(file, &text(file)?)?))
    }

    /// The keys that the file names. Key management services are asked how they are.
    pub(crate) fn open(&self) -> anyhow::Result<Option<Encryption>> {
        let Some(file) = &self.encryption_provider_config else { return Ok(None) };
        let opened = text(file)?;
        let configuration = parse(file, &opened)?;
        let connect = |config: &KmsConfig| -> Box<dyn Service> { Box::new(grpc::Socket::new(config)) };
        let keyring = Arc::new(Keyring::new(&configuration, connect, Instant::now()));
        let reloads = self.encryption_provider_config_automatic_reload;
        Ok(Some(Encryption { keyring, file: file.clone(), reloads, opened, failed: Arc::default() }))
    }
}

fn text(file: &Path) -> anyhow::Result<Vec<u8>> {
    readable(file, std::fs::read(file))
}

fn readable(file: &Path, found: io::Result<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let text = found.with_context(|| {
        format!("error opening encryption provider configuration file {:?}", file.display())
    })?;
    anyhow::ensure!(!text.is_empty(), "encryption provider configuration file {:?} is empty", file.display());
    Ok(text)
}

fn parse(file: &Path, text: &[u8]) -> anyhow::Result<Configuration> {
    let schema = Arc::new(skiff_schema::Schema::of_table(SCHEMA));
    let read = configuration::read_text(text).and_then(|tree| configuration::decode(&tree, &KIND, &schema));
    let read = read.and_then(|tree| Configuration::read(&tree));
    read.map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))
}

impl Encryption {
    /// What seals and opens the store's values.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring)
    }

    /// Says whether key management services and the file are in order.
    pub(crate) fn check(&self, checks: &Checks) {
        let (keyring, failed) = (Arc::clone(&self.keyring), Arc::clone(&self.failed));
        // A new start of the server would help neither.
        checks.add("kms-providers", Concern::Readiness, move || match keyring.failing() {
            Some(why) => Err(why),
            None => failed.lock().clone().map_or(Ok(()), Err),
        });
    }

    /// Looks after keys and file until the shutdown, and lets the store write anew what other keys concern.
    pub(crate) async fn keep(self, store: Arc<Embedded>, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut changes = self.reloads.then(|| Followed::since(self.file.clone(), self.opened.clone()));
        // What could not be opened when the store was may be open by now.
        let mut is_due = true;
        loop {
            let (look, store) = (self.clone(), Arc::clone(&store));
            // May wait for services.
            let looked = tokio::task::spawn_blocking(move || look.look(&store, is_due)).await;
            is_due = looked.context("look after the store's keys")?;
            let pause = if self.keyring.failing().is_some() || is_due { ASK_FAILING } else { ASK };
            if !self.keyring.has_services() && !self.reloads && !is_due {
                shutdown.cancelled().await;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
                found = next(changes.as_mut()) => {
                    let this = self.clone();
                    let reloaded = tokio::task::spawn_blocking(move || this.reload(found)).await;
                    is_due |= reloaded.context("read the encryption provider configuration again")?;
                }
            }
        }
    }

    /// One look at services. Whether something is left to be written anew.
    fn look(&self, store: &Embedded, is_due: bool) -> bool {
        let probed = self.keyring.probe(Instant::now());
        if !probed && !is_due {
            return false;
        }
        match tokio::runtime::Handle::current().block_on(store.renew()) {
            Ok(0) => false,
            Ok(number) => {
                tracing::info!(number, "what is stored has been written anew with other keys");
                false
            }
            Err(error) => {
                tracing::error!(%error, "what is stored cannot be written anew with other keys yet");
                true
            }
        }
    }

    /// Takes what the file says now. Whether that is done. What cannot be taken is told of, and all stays as it is.
    fn reload(&self, found: io::Result<Vec<u8>>) -> bool {
        let taken = readable(&self.file, found).and_then(|text| {
            let configuration = parse(&self.file, &text)?;
            self.keyring.replace(&configuration, Instant::now()).map_err(anyhow::Error::msg)
        });
        let status = if taken.is_ok() { "success" } else { "failure" };
        RELOADS.of([status]).add(1);
        RELOADED.of([status]).set(jiff::Timestamp::now().as_second());
        match taken {
            Ok(()) => {
                tracing::info!(file = %self.file.display(), "the encryption provider configuration was read again");
                *self.failed.lock() = None;
                true
            }
            Err(error) => {
                let why = skiff_errors::error_text(error.as_ref());
                tracing::error!(%why, "the encryption provider configuration cannot be used, the one before stays");
                *self.failed.lock() = Some(why);
                false
            }
        }
    }
}

/// What the file says from now on; if it is not followed, never.
async fn next(changes: Option<&mut Followed>) -> io::Result<Vec<u8>> {
    match changes {
        Some(changes) => changes.next().await.map(|said| said.text),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use skiff_store::{Key, Op, Store as _, Txn, no_terms};

    use super::*;

    const KEY: &str = "/registry/core/secrets/default/a";

    fn configuration(providers: &str) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers: {providers}\n"
        )
    }

    fn key(name: &str) -> String {
        // 32 times the letter A.
        format!(
            "{{secretbox: {{keys: [{{name: {name}, secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=}}]}}}}"
        )
    }

    fn args(file: &Path) -> EncryptionArgs {
        EncryptionArgs {
            encryption_provider_config: Some(file.to_owned()),
            encryption_provider_config_automatic_reload: true,
        }
    }

    #[test]
    fn the_file_is_read_strictly() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("e.yaml");
        let check = |text: &str, expected: &str| {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", args(&file).read().unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check("", "is empty");
        check("kind: EncryptionConfiguration", "apiVersion: Required value");
        check(
            &configuration("[{identity: {}, rot13: {}}]"),
            r#"unknown field "resources[0].providers[0].rot13""#,
        );
        check(&configuration("[]"), "at least one resources[0].providers is required");
        check(
            &configuration("[{aesgcm: {keys: [{name: a, secret: YQ==}]}}]"),
            "secret is not of the expected length",
        );
        std::fs::write(&file, configuration("[{identity: {}}]")).unwrap();
        assert!(args(&file).read().unwrap().is_some());
        let alone = EncryptionArgs { encryption_provider_config: None, ..args(&file) };
        assert!(
            alone.read().unwrap_err().to_string().contains("must be set with --encryption-provider-config")
        );
    }

    /// Whether the store's files have a text.
    fn is_on_disk(dir: &Path, text: &str) -> bool {
        let has = |name: &str| {
            let bytes = std::fs::read(dir.join(name)).unwrap();
            bytes.windows(text.len()).any(|part| part == text.as_bytes())
        };
        has("state.redb") || has("state.journal")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_change_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("e.yaml");
        std::fs::write(&file, configuration(&format!("[{}, {{identity: {{}}}}]", key("one")))).unwrap();
        let encryption = args(&file).open().unwrap().unwrap();
        let path = dir.path().join("state.redb");
        let store = Arc::new(Embedded::open_sealed(&path, no_terms, encryption.keyring()).unwrap());
        let put =
            Op::Put { key: Key::from(KEY), value: Bytes::from_static(b"{\"data\":\"nobody reads this\"}") };
        store.commit(Txn { expect: Vec::new(), ops: vec![put] }).await.unwrap();
        assert!(is_on_disk(dir.path(), "k8s:enc:secretbox:v1:one:"));
        assert!(!is_on_disk(dir.path(), "nobody reads this"));
        let mut watch = store.watch("/registry/".into(), store.revision()).await.unwrap();
        let shutdown = CancellationToken::new();
        let keeper = tokio::spawn(encryption.clone().keep(Arc::clone(&store), shutdown.clone()));
        // Cannot be used: all stays.
        std::fs::write(dir.path().join("new"), configuration("[{identity: {}, kms: {}}]")).unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        // The old key is gone: what it sealed is written with the new one.
        std::fs::write(dir.path().join("new"), configuration(&format!("[{}]", key("two")))).unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        let batch = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.unwrap().unwrap();
        assert_eq!(batch.events[0].entry.key.as_str(), KEY);
        assert!(is_on_disk(dir.path(), "k8s:enc:secretbox:v1:two:"));
        shutdown.cancel();
        keeper.await.unwrap().unwrap();
    }
}
