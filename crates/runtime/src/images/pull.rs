//! Pulling images from registries.

use super::digest::{ChainId, Digest};
use super::documents::{Configuration, Descriptor, Manifest};
use super::index::Source;
use super::limits::Bound;
use super::parts::{Contents, Part};
use super::reference::{Reference, Version};
use super::registry::{Registry, RegistryError, reason};
use super::store::{NewImage, Stack, Store};
use super::unpack::Blob;
use super::{ImageError, PullCredentials};
use crate::ids::ImageId;
use futures::{FutureExt, StreamExt};
use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

/// Layers downloaded at the same time.
const PARALLEL: usize = 3;

/// Most indexes within each other.
const NESTED: u32 = 4;

/// An image or artifact as a registry describes it.
struct Described {
    /// Digest of what the name stands for, be it an index.
    digest: Digest,
    contents: Contents,
    layers: Vec<Descriptor>,
}

/// Fetches an image and enters it under its name, with the first credentials that are good enough, or without any when
/// there are none. The reason of a failure is the registry's, as far as it gave one.
pub(super) async fn pull(
    store: Arc<Store>,
    reference: &Reference,
    credentials: &[PullCredentials],
) -> Result<ImageId, ImageError> {
    if credentials.is_empty() {
        return pull_with(store, reference, None).await;
    }
    let mut reasons = Vec::new();
    for one in credentials {
        match pull_with(store.clone(), reference, Some(one)).await {
            Err(ImageError::Pull { reason, .. }) => reasons.push(reason),
            other => return other,
        }
    }
    reasons.dedup();
    let reason = if let [only] = &reasons[..] { only.clone() } else { format!("[{}]", reasons.join(", ")) };
    Err(ImageError::Pull { reference: reference.to_string(), reason })
}

async fn pull_with(
    store: Arc<Store>,
    reference: &Reference,
    credentials: Option<&PullCredentials>,
) -> Result<ImageId, ImageError> {
    let failed = |reason: String| ImageError::Pull { reference: reference.to_string(), reason };
    let limits = *store.limits();
    let registry = Registry::new(reference, credentials, &limits).map_err(|error| failed(reason(error)))?;
    let image = describe(&registry, reference).await.map_err(|error| failed(reason(error)))?;
    store.check_layers(&image.contents.parts, image.layers.len()).map_err(failed)?;
    let packed = image.layers.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
    limits.check(Bound::ImageBytes, packed).map_err(|error| failed(error.to_string()))?;
    let stack = layers(&store, &registry, &image).await.map_err(|error| match error {
        ImageError::Pull { reason, .. } => failed(reason),
        other => other,
    })?;
    let names = match &reference.version {
        Version::Tag(_) => reference.to_string(),
        Version::Digest(digest) => reference.with_digest(*digest),
    };
    let digests = BTreeSet::from([reference.with_digest(image.digest)]);
    let access = credentials.map(|credentials| credentials.proof(&reference.name()));
    let Contents { id, config, .. } = image.contents;
    let new = NewImage { names: vec![names], digests, config, access };
    let entered = id.clone();
    let enter = move || {
        store.sync()?;
        store.add_image(&entered, &stack, new, Source::Pulled)
    };
    tokio::task::spawn_blocking(enter).await.map_err(|error| failed(error.to_string()))??;
    Ok(id)
}

/// Follows a name to the image for this machine's processor.
async fn describe(registry: &Registry<'_>, reference: &Reference) -> Result<Described, RegistryError> {
    let unusable =
        |error: super::documents::Unusable| RegistryError::Nonsense(format!("has no usable image: {error}"));
    let version = reference.version.to_string();
    let (mut document, digest) = registry.manifest(&version).await?;
    let mut own = digest;
    for _ in 0..=NESTED {
        match Manifest::parse(&document).map_err(unusable)? {
            Manifest::Image { config, layers } => {
                let bytes = registry.blob(&config).await?;
                let configuration = Configuration::parse(&bytes).map_err(unusable)?;
                configuration.check_platform().map_err(unusable)?;
                let contents = Contents::of_image(config.digest, configuration);
                return Ok(Described { digest, contents, layers });
            }
            Manifest::Artifact { layers } => {
                let contents = Contents::of_artifact(own, &layers).map_err(unusable)?;
                return Ok(Described { digest, contents, layers });
            }
            Manifest::Index(entries) => {
                let ours = entries.iter().find(|entry| entry.is_ours());
                let ours = ours.ok_or_else(|| {
                    let architecture = super::documents::architecture();
                    RegistryError::Nonsense(format!("has no image for platform linux/{architecture}"))
                })?;
                (document, own) = registry.manifest(&ours.digest.to_string()).await?;
            }
        }
    }
    Err(RegistryError::Nonsense("has indexes within indexes".into()))
}

/// Downloads and unpacks the layers that are not there, several downloads at a time.
async fn layers(store: &Arc<Store>, registry: &Registry<'_>, image: &Described) -> Result<Stack, ImageError> {
    let parts = &image.contents.parts;
    // Collected and boxed: as a lazy iterator of futures, callers could not prove that they may change threads.
    let descriptors = image.layers.iter().zip(parts);
    let downloads: Vec<_> =
        descriptors.map(|(layer, part)| missing_layer(store, registry, layer, part.chain).boxed()).collect();
    let mut files = futures::stream::iter(downloads).buffered(PARALLEL).enumerate();
    let mut stack = Stack::default();
    while let Some((n, file)) = files.next().await {
        let file = file?;
        let (store, part): (_, Part) = (store.clone(), parts[n].clone());
        let Descriptor { size: length, digest, .. } = image.layers[n];
        let unpack = move || {
            let result = match file {
                Some(content) => {
                    let blob = Blob { content, length, digest: Some(digest) };
                    store.add_layer(&mut stack, &part, blob)
                }
                None => store.take_present_layer(&mut stack, part.chain),
            };
            result.map(|()| stack)
        };
        stack = tokio::task::spawn_blocking(unpack).await.map_err(|error| failed(error.to_string()))??;
    }
    Ok(stack)
}

fn failed(reason: String) -> ImageError {
    ImageError::Pull { reference: String::new(), reason }
}

/// Fetches a layer that the store has not yet.
async fn missing_layer(
    store: &Arc<Store>,
    registry: &Registry<'_>,
    layer: &Descriptor,
    chain: ChainId,
) -> Result<Option<File>, ImageError> {
    if store.has_layer(chain)? {
        return Ok(None);
    }
    let file = store.temporary()?;
    registry.download(layer, file).await.map(Some).map_err(|error| failed(reason(error)))
}
