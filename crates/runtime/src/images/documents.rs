//! The JSON documents of images: configurations, manifests and indexes, of OCI and of docker. Pure.

use super::ImageConfig;
use super::digest::{DiffId, Digest};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What of an image's configuration matters here.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) config: ImageConfig,
    pub(super) diff_ids: Vec<DiffId>,
    architecture: String,
    os: String,
}

impl Configuration {
    /// Reads an image's configuration document.
    pub(super) fn parse(document: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            architecture: String,
            #[serde(default)]
            os: String,
            config: Option<Config>,
            rootfs: RootFs,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Config {
            env: Option<Vec<String>>,
            entrypoint: Option<Vec<String>>,
            cmd: Option<Vec<String>>,
            working_dir: Option<String>,
            user: Option<String>,
            exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
            stop_signal: Option<String>,
            labels: Option<BTreeMap<String, String>>,
        }
        #[derive(Deserialize)]
        struct RootFs {
            #[serde(default)]
            diff_ids: Vec<DiffId>,
        }
        let document: Document = serde_json::from_slice(document).map_err(Unusable::Configuration)?;
        let config = document.config.unwrap_or_default();
        let config = ImageConfig {
            env: config.env.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
            stop_signal: config.stop_signal.unwrap_or_default(),
            labels: config.labels.unwrap_or_default(),
        };
        let Document { architecture, os, rootfs, .. } = document;
        Ok(Self { config, diff_ids: rootfs.diff_ids, architecture, os })
    }

    /// Fails for the image of another system or processor.
    pub(super) fn check_platform(&self) -> Result<(), Unusable> {
        let fits = matches!(self.os.as_str(), "" | "linux")
            && (self.architecture.is_empty() || self.architecture == architecture());
        if fits {
            Ok(())
        } else {
            Err(Unusable::Platform { os: self.os.clone(), architecture: self.architecture.clone() })
        }
    }
}

/// A document that is no usable image.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("its configuration cannot be read: {0}")]
    Configuration(serde_json::Error),
    #[error("its manifest cannot be read: {0}")]
    Manifest(serde_json::Error),
    #[error(
        "its manifest is of the first version, which has no digests; push the image again with a newer tool"
    )]
    FirstVersion,
    #[error("no match for platform linux/{}: it is for {os}/{architecture}", self::architecture())]
    Platform { os: String, architecture: String },
    #[error("a file of it is to be called {0:?}, which is no path in a directory")]
    Title(String),
    #[error("two of its files are to be called {0:?}")]
    Twice(String),
}

/// A manifest, or an index over manifests for several platforms.
#[derive(Debug)]
pub(super) enum Manifest {
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    /// Anything else that is kept as layers: what its configuration is, images do not have.
    Artifact {
        layers: Vec<Descriptor>,
    },
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// Reads a manifest or index of OCI or of docker's second version.
    pub(super) fn parse(document: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Document {
            schema_version: Option<u32>,
            manifests: Option<Vec<Descriptor>>,
            config: Option<Descriptor>,
            #[serde(default)]
            layers: Vec<Descriptor>,
        }
        let document: Document = serde_json::from_slice(document).map_err(Unusable::Manifest)?;
        match document {
            Document { manifests: Some(manifests), .. } => Ok(Self::Index(manifests)),
            Document { config: Some(config), layers, .. } if config.is_of_image() => {
                Ok(Self::Image { config, layers })
            }
            Document { config: Some(_), layers, .. } => Ok(Self::Artifact { layers }),
            Document { schema_version: Some(1), .. } => Err(Unusable::FirstVersion),
            _ => {
                Err(Unusable::Manifest(serde::de::Error::custom("neither `config` nor `manifests` is in it")))
            }
        }
    }
}

/// Points to a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(super) digest: Digest,
    /// Its length in bytes.
    pub(super) size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// Where writers of archives put the name, the more complete one first.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Configurations of images.
const IMAGES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// How the types of layers of images begin: archives, compressed or not.
const ARCHIVES: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.",
];
/// What a layer of an artifact is called as a file.
const TITLE: &str = "org.opencontainers.image.title";

impl Descriptor {
    /// Whether it is the configuration of an image; one that says nothing is.
    fn is_of_image(&self) -> bool {
        self.media_type.is_empty() || IMAGES.contains(&&*self.media_type)
    }

    /// Whether it is a layer of an image.
    pub(super) fn is_archive(&self) -> bool {
        ARCHIVES.iter().any(|start| self.media_type.starts_with(start))
    }

    /// What it is called as a file.
    pub(super) fn title(&self) -> Option<&String> {
        self.annotations.as_ref()?.get(TITLE)
    }

    /// Whether it is said to be for this machine.
    pub(super) fn is_ours(&self) -> bool {
        let fits = |p: &Platform| p.os == "linux" && p.architecture == architecture();
        self.platform.as_ref().is_some_and(fits)
    }

    /// Whether it is said to be for another machine.
    pub(super) fn is_foreign(&self) -> bool {
        self.platform.is_some() && !self.is_ours()
    }

    /// The name an archive gives the image.
    pub(super) fn name(&self) -> Option<&String> {
        let annotations = self.annotations.as_ref()?;
        NAME_ANNOTATIONS.iter().find_map(|key| annotations.get(*key))
    }
}

/// One image of docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    /// Files of the archive.
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

/// Reads the `manifest.json` of `docker save`.
pub(super) fn saved(document: &[u8]) -> Result<Vec<Saved>, Unusable> {
    serde_json::from_slice(document).map_err(Unusable::Manifest)
}

/// The processor that this program is made for, as images name it.
pub fn architecture() -> &'static str {
    named_by_images(std::env::consts::ARCH)
}

/// A processor as images name it, from what Linux or Rust call it.
pub fn named_by_images(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "arm",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn digests_are_digests_wherever_they_are() {
        let good = format!("sha256:{HEX}");
        for (digest, fits) in [(good.as_str(), true), ("/proc/1/root", false), ("sha256:00", false)] {
            let config = serde_json::json!({"rootfs": {"diff_ids": [digest]}}).to_string();
            assert_eq!(Configuration::parse(config.as_bytes()).is_ok(), fits, "{digest}");
            let descriptor = serde_json::json!({"digest": digest, "size": 1});
            for document in [
                serde_json::json!({"config": descriptor, "layers": []}),
                serde_json::json!({"config": {"digest": good, "size": 1}, "layers": [descriptor]}),
                serde_json::json!({"manifests": [descriptor]}),
            ] {
                assert_eq!(Manifest::parse(document.to_string().as_bytes()).is_ok(), fits, "{digest}");
            }
        }
    }

    #[test]
    fn what_has_another_configuration_is_no_image() {
        let check = |media_type: serde_json::Value, is_artifact: bool| {
            let config =
                serde_json::json!({"mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": 2});
            let manifest = serde_json::json!({"config": config, "layers": []}).to_string();
            let read = Manifest::parse(manifest.as_bytes()).unwrap();
            assert_eq!(matches!(read, Manifest::Artifact { .. }), is_artifact, "{media_type}");
        };
        check("".into(), false);
        check("application/vnd.oci.image.config.v1+json".into(), false);
        check("application/vnd.docker.container.image.v1+json".into(), false);
        check("application/vnd.oci.empty.v1+json".into(), true);
        check("application/vnd.cncf.helm.config.v1+json".into(), true);
    }

    #[test]
    fn unusable_documents_say_why() {
        let error = Manifest::parse(br#"{"schemaVersion": 1, "fsLayers": []}"#).unwrap_err().to_string();
        assert!(error.contains("first version"), "{error}");
        let error = Manifest::parse(b"{}").unwrap_err().to_string();
        assert!(error.contains("neither `config` nor `manifests`"), "{error}");
        let other = br#"{"os": "linux", "architecture": "s390x", "rootfs": {}}"#;
        let error = Configuration::parse(other).unwrap().check_platform().unwrap_err().to_string();
        assert!(error.contains("no match for platform") && error.contains("s390x"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _either = (Configuration::parse(&bytes), Manifest::parse(&bytes), saved(&bytes));
        }
    }
}
