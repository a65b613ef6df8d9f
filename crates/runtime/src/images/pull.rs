//! Pulling images from registries.

use super::ImageError;
use super::archive;
use super::index::{Source, Sync};
use super::reference::{Reference, Version};
use super::store::{NewImage, Store, image_id};
use crate::ids::ImageId;
use futures::{FutureExt, StreamExt, TryStreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::{ImageIndexEntry, OciDescriptor};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference as Name};
use skiff_errors::error_text;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

/// Layers downloaded at the same time.
const PARALLEL: usize = 3;

/// Longest silence of a registry.
const SILENCE: Duration = Duration::from_secs(60);

/// Fetches an image and enters it under its name. The reason of a failure is the registry's, as far as it gave one.
pub(super) async fn pull(store: Arc<Store>, reference: &Reference) -> Result<ImageId, ImageError> {
    let failed = |reason: String| ImageError::Pull { reference: reference.to_string(), reason };
    let client = client(reference);
    let name = match &reference.version {
        Version::Tag(tag) => {
            Name::with_tag(reference.registry.clone(), reference.repository.clone(), tag.clone())
        }
        Version::Digest(digest) => {
            Name::with_digest(reference.registry.clone(), reference.repository.clone(), digest.clone())
        }
    };
    let found = client.pull_image_manifest(&name, &RegistryAuth::Anonymous).await;
    let (manifest, digest) = found.map_err(|error| failed(error_text(&error)))?;
    let mut document = Vec::new();
    let pulled = client.pull_blob(&name, &manifest.config, &mut document).await;
    pulled.map_err(|error| failed(error_text(&error)))?;
    let configuration = archive::configuration(&document).map_err(|error| failed(error.to_string()))?;
    if configuration.diff_ids.len() != manifest.layers.len() {
        return Err(failed("its configuration and its manifest differ in layers".into()));
    }
    check_platform(&configuration).map_err(failed)?;
    let chain = archive::chain_ids(&configuration.diff_ids);
    let importing = store.importing()?;
    // Collected and boxed: as a lazy iterator of futures, callers could not prove that they may change threads.
    let layers = manifest.layers.iter().zip(&chain);
    let downloads: Vec<_> =
        layers.map(|(layer, id)| missing_layer(&client, &name, layer, id, &store).boxed()).collect();
    let mut files = futures::stream::iter(downloads).buffered(PARALLEL).enumerate();
    let mut importing = importing;
    while let Some((n, file)) = files.next().await {
        let Some(file) = file.map_err(failed)? else { continue };
        let (store, chain, diff_id) =
            (store.clone(), chain[..=n].to_vec(), configuration.diff_ids[n].clone());
        let unpack = move || {
            let result = store.add_layer(&importing, &chain, &diff_id, file);
            (importing, result)
        };
        let (lock, result) =
            tokio::task::spawn_blocking(unpack).await.map_err(|error| failed(error.to_string()))?;
        importing = lock;
        result?;
    }
    drop(files);
    let id = image_id(&document);
    let names = match &reference.version {
        Version::Tag(_) => reference.to_string(),
        Version::Digest(digest) => reference.with_digest(digest),
    };
    let mut digests = BTreeSet::from([reference.with_digest(&digest)]);
    if let Version::Digest(digest) = &reference.version {
        digests.insert(reference.with_digest(digest));
    }
    let new = NewImage { chain: &chain, names: vec![names], digests, config: configuration.config };
    store.add_image(&importing, &id, new, Source::Pulled, Sync::All)?;
    Ok(id)
}

/// Fetches a layer that the store has not yet.
async fn missing_layer(
    client: &Client,
    name: &Name,
    layer: &OciDescriptor,
    chain_id: &str,
    store: &Store,
) -> Result<Option<File>, String> {
    if store.has_layer(chain_id) {
        return Ok(None);
    }
    download(client, name, layer, store).await.map(Some)
}

fn client(reference: &Reference) -> Client {
    let protocol = if reference.is_local() { ClientProtocol::Http } else { ClientProtocol::Https };
    Client::new(ClientConfig {
        protocol,
        platform_resolver: Some(Box::new(choose)),
        read_timeout: Some(SILENCE),
        connect_timeout: Some(SILENCE),
        user_agent: concat!("skiff/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

/// The image for this machine's processor.
fn choose(entries: &[ImageIndexEntry]) -> Option<String> {
    let ours = entries.iter().find(|entry| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|p| {
            p.os.to_string() == "linux" && p.architecture.to_string() == archive::architecture()
        })
    });
    ours.map(|entry| entry.digest.clone())
}

fn check_platform(configuration: &archive::Configuration) -> Result<(), String> {
    let (os, architecture) = (configuration.os.as_str(), configuration.architecture.as_str());
    let fits =
        matches!(os, "" | "linux") && (architecture.is_empty() || architecture == archive::architecture());
    if fits {
        Ok(())
    } else {
        Err(format!("no match for platform linux/{}: it is for {os}/{architecture}", archive::architecture()))
    }
}

/// Downloads a layer into a temporary file; its digest is checked on the way.
async fn download(
    client: &Client,
    name: &Name,
    layer: &OciDescriptor,
    store: &Store,
) -> Result<File, String> {
    let mut stream = client.pull_blob_stream(name, layer).await.map_err(|error| error_text(&error))?;
    let mut file = tempfile::tempfile_in(store.directory()).map_err(|error| error.to_string())?;
    while let Some(bytes) = stream.try_next().await.map_err(|error| error_text(&error))? {
        file.write_all(&bytes).map_err(|error| error.to_string())?;
    }
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    Ok(file)
}
