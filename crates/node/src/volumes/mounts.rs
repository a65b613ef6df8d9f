//! Which of a pod's volumes a container sees, and where.

use crate::container::env::Environment;
use crate::container::error::ConfigError;
use crate::container::expand::expand_known;
use crate::pod::local::{LocalContainer, LocalPod};
use k8s_openapi::api::core::v1::VolumeMount;
use skiff_runtime::{Mount, MountKind, Propagation};
use std::io;
use std::path::{Component, Path, PathBuf};

/// The volume mounts of `container`; `path_of` gives the directory (or file) of a volume on the host.
pub(crate) fn volume_mounts(
    pod: &LocalPod,
    container: &LocalContainer,
    environment: &Environment,
    path_of: impl Fn(&str) -> PathBuf,
) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for mount in container.spec.volume_mounts.iter().flatten() {
        if !pod.spec.volumes.iter().flatten().any(|volume| volume.name == mount.name) {
            let (container, volume) = (container.name.to_string(), mount.name.clone());
            return Err(ConfigError::NoVolume { container, volume });
        }
        let root = path_of(&mount.name);
        let source = match sub_path(mount, environment)? {
            None => root,
            Some(path) => prepare_sub_path(&root, &path).map_err(|source| ConfigError::SubPathIo {
                volume: mount.name.clone(),
                container: container.name.to_string(),
                source,
            })?,
        };
        mounts.push(Mount {
            kind: MountKind::Bind { source },
            destination: Path::new("/").join(&mount.mount_path),
            readonly: mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    Ok(mounts)
}

/// The path within the volume that is to be mounted, with its references replaced.
fn sub_path(mount: &VolumeMount, environment: &Environment) -> Result<Option<PathBuf>, ConfigError> {
    let text = if let Some(expression) = mount.sub_path_expr.as_ref().filter(|text| !text.is_empty()) {
        let expanded = expand_known(expression, |name| environment.get(name).map(str::to_owned));
        expanded.map_err(|name| ConfigError::SubPathName { name, expression: expression.clone() })?
    } else if let Some(path) = mount.sub_path.as_ref().filter(|text| !text.is_empty()) {
        path.clone()
    } else {
        return Ok(None);
    };
    let path = PathBuf::from(&text);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside && !text.contains('`') { Ok(Some(path)) } else { Err(ConfigError::SubPath { path: text }) }
}

/// Makes the sub-path a directory unless it exists, and refuses one that a symbolic link leads out of the volume.
fn prepare_sub_path(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let root = root.canonicalize()?;
    let wanted = root.join(path);
    let outside = || io::Error::new(io::ErrorKind::PermissionDenied, "the path leads out of the volume");
    // The longest existing part decides where new directories would be made.
    let existing = wanted.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&root);
    if !existing.canonicalize()?.starts_with(&root) {
        return Err(outside());
    }
    if !wanted.exists() {
        std::fs::create_dir_all(&wanted)?;
    }
    let resolved = wanted.canonicalize()?;
    if resolved.starts_with(&root) { Ok(resolved) } else { Err(outside()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn check(mount: &str, expected: Result<&str, &str>) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("v");
        std::fs::create_dir_all(root.join("there")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
        let pod = pod_of(&format!(
            r#"{{"volumes": [{{"name": "v"}}], "containers": [{{"name": "c", "volumeMounts": [{{"mountPath": "/m", {mount}}}]}}]}}"#
        ));
        let mut environment = Environment::default();
        environment.set("NAME", "p".into());
        let actual =
            volume_mounts(&pod, &pod.containers[0], &environment, |name| directory.path().join(name));
        match (actual, expected) {
            (Ok(mounts), Ok(path)) => {
                let MountKind::Bind { source } = &mounts[0].kind else { panic!() };
                assert_eq!(source, &root.join(path).components().collect::<PathBuf>());
                assert!(source.is_dir());
            }
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (actual, expected) => panic!("{actual:?} is not {expected:?}"),
        }
    }

    #[test]
    fn sub_paths_stay_in_the_volume() {
        check(r#""name": "v""#, Ok(""));
        check(r#""name": "v", "subPath": "there""#, Ok("there"));
        check(r#""name": "v", "subPath": "new/deep""#, Ok("new/deep"));
        check(r#""name": "v", "subPathExpr": "x-$(NAME)""#, Ok("x-p"));
        check(r#""name": "v", "subPathExpr": "$(NONE)""#, Err("missing value for \"NONE\""));
        check(r#""name": "v", "subPath": "../x""#, Err("must stay within the volume"));
        check(r#""name": "v", "subPathExpr": "/tmp""#, Err("may not be absolute"));
        check(r#""name": "v", "subPath": "out""#, Err("leads out of the volume"));
        check(r#""name": "w""#, Err("mounts volume \"w\""));
    }
}
