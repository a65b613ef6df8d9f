//! Reads the files of variables that containers of the pod refer to (`fileKeyRef`, KEP-3721).

use super::Place;
use crate::container::env_file::EnvFiles;
use crate::container::error::ConfigError;
use crate::paths::PodPaths;
use crate::pod::local::LocalPod;
use k8s_openapi::api::core::v1::{Container, FileKeySelector};
use skiff_rooted::Follow;
use std::io;

/// Most bytes of such a file, as with the kubelet.
const LARGEST: u64 = 64 << 10;

/// Reads the files that `container` refers to.
pub(crate) fn read(pod: &LocalPod, container: &Container, paths: &PodPaths) -> Result<EnvFiles, ConfigError> {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let mut files = EnvFiles::new();
    for FileKeySelector { volume_name, path, .. } in sources.filter_map(|source| source.file_key_ref.as_ref())
    {
        let mut own = pod.spec.volumes.iter().flatten();
        if !own.any(|volume| volume.name == *volume_name && volume.empty_dir.is_some()) {
            let (container, volume) = (container.name.clone(), volume_name.clone());
            return Err(ConfigError::NoVolume { container, volume });
        }
        let found =
            Place::new(paths, volume_name).open().and_then(|root| root.read(path, Follow::Inside, LARGEST));
        let text = match found {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ConfigError::EnvFile { path: path.clone(), why: error.to_string() }),
        };
        files.insert((volume_name.clone(), path.clone()), text);
    }
    Ok(files)
}
