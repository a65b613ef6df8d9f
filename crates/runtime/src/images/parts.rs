//! What images and artifacts are made of: their layers, and what becomes of what these hold.
//!
//! A layer of an image is an archive of files. An artifact is anything else in a registry that has a manifest: its layers are files of
//! their own, called by their title, which lie together in one directory when it is mounted. Layers of an artifact that say they are
//! layers of an image are unpacked like those.

use std::path::{Component, Path, PathBuf};

use super::ImageConfig;
use super::digest::{ChainId, DiffId, Digest, chain_ids};
use super::documents::{Configuration, Descriptor, Unusable};
use crate::ids::ImageId;

/// What there is to know of an image or an artifact before its layers are there.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) id: ImageId,
    /// Of an artifact it says nothing.
    pub(super) config: ImageConfig,
    /// Bottom first.
    pub(super) parts: Vec<Part>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Names it together with all below it.
    pub(super) chain: ChainId,
    pub(super) holds: Holds,
}

/// What a layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// An archive of files; with the digest of what it is expanded, where that is said.
    Archive(Option<DiffId>),
    /// One file, which is to lie there.
    File(PathBuf),
}

impl Contents {
    /// Those of an image with this configuration, which has the digest.
    pub(super) fn of_image(digest: Digest, configuration: Configuration) -> Self {
        let ids = configuration.diff_ids.iter().copied();
        let parts = chain_ids(&configuration.diff_ids).into_iter().zip(ids);
        let parts = parts.map(|(chain, id)| Part { chain, holds: Holds::Archive(Some(id)) });
        Self { id: digest.image_id(), config: configuration.config, parts: parts.collect() }
    }

    /// Those of an artifact with this manifest and these layers.
    pub(super) fn of_artifact(manifest: Digest, layers: &[Descriptor]) -> Result<Self, Unusable> {
        let mut parts: Vec<Part> = Vec::with_capacity(layers.len());
        for layer in layers {
            let holds = if layer.is_archive() {
                Holds::Archive(None)
            } else {
                let path = file_of(layer)?;
                if parts.iter().any(|part| part.holds == Holds::File(path.clone())) {
                    return Err(Unusable::Twice(path.display().to_string()));
                }
                Holds::File(path)
            };
            let below = parts.last().map(|part| part.chain.0.hex()).unwrap_or_default();
            let chain = ChainId(Digest::of(format!("artifact {below} {holds:?} {}", layer.digest)));
            parts.push(Part { chain, holds });
        }
        Ok(Self { id: manifest.image_id(), config: ImageConfig::default(), parts })
    }
}

/// Where the file of an artifact's layer lies: where its title says, or under its digest.
fn file_of(layer: &Descriptor) -> Result<PathBuf, Unusable> {
    let Some(title) = layer.title() else { return Ok(layer.digest.hex().into()) };
    let name = |component| match component {
        Component::Normal(name) => Some(Some(name)),
        Component::CurDir => Some(None),
        Component::RootDir | Component::ParentDir | Component::Prefix(_) => None,
    };
    let names: Option<Vec<_>> = Path::new(title).components().map(name).collect();
    let path: Option<PathBuf> = names.map(|names| names.into_iter().flatten().collect());
    let path = path.filter(|path| !path.as_os_str().is_empty() && !title.contains('\0'));
    path.ok_or_else(|| Unusable::Title(title.chars().take(200).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn layers(layers: Value) -> Vec<Descriptor> {
        serde_json::from_value(layers).unwrap()
    }

    fn file(title: &str) -> Value {
        json!({"mediaType": "text/plain", "digest": Digest::of(title), "size": 1,
            "annotations": {"org.opencontainers.image.title": title}})
    }

    #[test]
    fn files_of_artifacts_lie_where_their_titles_say() {
        let check = |title: &str, expected: Option<&str>| {
            let found = Contents::of_artifact(Digest::of("m"), &layers(json!([file(title)])));
            let found = found.ok().map(|contents| contents.parts[0].holds.clone());
            assert_eq!(found, expected.map(|path| Holds::File(path.into())), "{title:?}");
        };
        check("a.txt", Some("a.txt"));
        check("./models/./a b", Some("models/a b"));
        for outside in ["/etc/passwd", "../a", "a/../../b", ".", "", "a\0b"] {
            check(outside, None);
        }
        let untitled = json!([{"mediaType": "text/plain", "digest": Digest::of("x"), "size": 1}]);
        let contents = Contents::of_artifact(Digest::of("m"), &layers(untitled)).unwrap();
        assert_eq!(contents.parts[0].holds, Holds::File(Digest::of("x").hex().into()));
        assert_eq!(contents.id, Digest::of("m").image_id());
    }

    #[test]
    fn layers_of_artifacts_are_told_apart() {
        let archive = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": Digest::of("t"), "size": 1});
        let contents =
            Contents::of_artifact(Digest::of("m"), &layers(json!([archive, file("a"), file("b")]))).unwrap();
        let holds: Vec<_> = contents.parts.iter().map(|part| part.holds.clone()).collect();
        assert_eq!(holds, [Holds::Archive(None), Holds::File("a".into()), Holds::File("b".into())]);
        let other = Contents::of_artifact(Digest::of("n"), &layers(json!([file("a")]))).unwrap();
        assert_ne!(other.parts[0].chain, contents.parts[1].chain, "what is below it counts");
        let twice = Contents::of_artifact(Digest::of("m"), &layers(json!([file("a"), file("./a")])));
        assert_eq!(twice.unwrap_err().to_string(), "two of its files are to be called \"a\"");
    }
}
