//! Which of a pod's volumes a container sees, and where.

use super::claims::{Bound, Claims, NodeVolumes};
use super::{Place, Shown, of};
use crate::container::env::Environment;
use crate::container::error::ConfigError;
use crate::container::expand::expand_known;
use crate::paths::PodPaths;
use crate::pod::local::{LocalContainer, LocalPod};
use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use skiff_rooted::{Follow, Owner, Root};
use skiff_runtime::{Device, Image, Mount, MountKind, Propagation};
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// What the pod's volumes are on this node.
pub(crate) struct Volumes<'a> {
    pub(crate) paths: &'a PodPaths,
    pub(crate) claims: &'a Claims,
    pub(crate) node: &'a NodeVolumes,
    /// The images that volumes show, by volume.
    pub(crate) images: &'a BTreeMap<String, Image>,
}

/// The block devices of `container`.
pub(crate) fn volume_devices(
    container: &LocalContainer,
    volumes: &Volumes<'_>,
) -> Result<Vec<Device>, ConfigError> {
    let devices = container.spec.volume_devices.iter().flatten().map(|device| {
        let name = container.name.to_string();
        let missing = || ConfigError::NoVolume { container: name, volume: device.name.clone() };
        let volume = volumes.claims.get(&device.name).filter(|claim| claim.block).ok_or_else(missing)?;
        let found = Bound { volume, node: volumes.node }.device();
        let failed = |source| ConfigError::Device { volume: device.name.clone(), source };
        Ok(Device {
            host_path: found.map_err(failed)?,
            container_path: PathBuf::from(&device.device_path),
            permissions: if volume.readonly { "r" } else { "mrw" }.into(),
        })
    });
    devices.collect()
}

/// The volume mounts of `container`. Missing directories that a subPath names are made, where they can be.
pub(crate) fn volume_mounts(
    pod: &LocalPod,
    container: &LocalContainer,
    environment: &Environment,
    volumes: &Volumes<'_>,
) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for mount in container.spec.volume_mounts.iter().flatten() {
        let Some(volume) = pod.spec.volumes.iter().flatten().find(|volume| volume.name == mount.name) else {
            let (container, volume) = (container.name.to_string(), mount.name.clone());
            return Err(ConfigError::NoVolume { container, volume });
        };
        let below = sub_path(mount, environment)?;
        let (kind, readonly) = match volumes.images.get(&mount.name) {
            Some(image) => {
                (MountKind::Image { image: image.id.clone(), below: below.unwrap_or_default() }, true)
            }
            None => bind(container, volume, below, volumes)?,
        };
        mounts.push(Mount {
            kind,
            destination: Path::new("/").join(&mount.mount_path),
            readonly: mount.read_only == Some(true) || readonly,
            recursive: is_recursive(mount),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    Ok(mounts)
}

/// What a container mounts of a volume that is on the node, and whether that is read-only whatever the mount says.
fn bind(
    container: &LocalContainer,
    volume: &Volume,
    below: Option<PathBuf>,
    volumes: &Volumes<'_>,
) -> Result<(MountKind, bool), ConfigError> {
    let place = Place::new(volumes.paths, &volume.name);
    let Shown { path: source, expected, ids, readonly } =
        of(volume, volumes.claims, volumes.node).shown(&place);
    if let Some(below) = &below {
        prepare_sub_path(&source, below).map_err(|source| ConfigError::SubPathIo {
            volume: volume.name.clone(),
            container: container.name.to_string(),
            source,
        })?;
    }
    // The type is the volume's, not that of something in it.
    let expected = expected.filter(|_| below.is_none());
    Ok((MountKind::Bind { source, below: below.unwrap_or_default(), expected, ids }, readonly))
}

/// Whether a mount that is read-only is to be so with all that is mounted below: every kernel that has what skiff needs can.
pub(crate) fn is_recursive(mount: &VolumeMount) -> bool {
    matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"))
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

/// Makes the sub-path a directory unless it exists, as the volume's own directory is, and refuses one that a symbolic
/// link leads out of the volume. The runtime resolves it again when it mounts it, by the same rules: what was swapped in
/// meanwhile is in the volume, too.
fn prepare_sub_path(source: &Path, below: &Path) -> io::Result<()> {
    let volume = Root::open(source)?;
    match volume.find(below, Follow::Inside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let own = volume.find("", Follow::Nothing)?;
            let (user, group) = own.owner();
            let owner = Owner { user: Some(user), group: Some(group) };
            volume.ensure_directories(below, Follow::Inside, own.mode(), owner).map(drop)
        }
        found => found.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    /// Mounts of a container that has one mount of a volume `v`.
    fn mounts(directory: &Path, volume: &str, mount: &str) -> Result<Mount, ConfigError> {
        mounts_with(directory, volume, mount, &BTreeMap::new())
    }

    fn mounts_with(
        directory: &Path,
        volume: &str,
        mount: &str,
        images: &BTreeMap<String, Image>,
    ) -> Result<Mount, ConfigError> {
        let pod = pod_of(&format!(
            r#"{{"volumes": [{{"name": "v" {volume}}}], "containers": [{{"name": "c", "volumeMounts": [{{"mountPath": "/m", {mount}}}]}}]}}"#
        ));
        let mut environment = Environment::default();
        environment.set("NAME", "p".into());
        let paths = PodPaths::new(directory, &pod.uid);
        std::fs::create_dir_all(paths.volume("v").join("there")).unwrap();
        std::fs::set_permissions(paths.volume("v"), std::os::unix::fs::PermissionsExt::from_mode(0o2777))
            .unwrap();
        std::os::unix::fs::symlink("/etc", paths.volume("v").join("out")).unwrap();
        std::os::unix::fs::symlink("there", paths.volume("v").join("near")).unwrap();
        let (claims, node) = (Claims::default(), NodeVolumes::new(directory, Default::default()));
        let volumes = Volumes { paths: &paths, claims: &claims, node: &node, images };
        volume_mounts(&pod, &pod.containers[0], &environment, &volumes).map(|mut mounts| mounts.remove(0))
    }

    fn check(mount: &str, expected: Result<&str, &str>) {
        let directory = tempfile::tempdir().unwrap();
        match (mounts(directory.path(), "", mount), expected) {
            (Ok(mount), Ok(path)) => {
                let MountKind::Bind { source, below, .. } = &mount.kind else { panic!() };
                assert!(source.ends_with("volumes/v"));
                assert_eq!(below, Path::new(path));
                let made = std::fs::metadata(source.join(below)).unwrap();
                let mode = std::os::unix::fs::PermissionsExt::mode(&made.permissions()) & 0o7777;
                assert!(
                    made.is_dir() && (mode == 0o2777 || path.is_empty() || !path.contains('x')),
                    "{mode:o}"
                );
            }
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (actual, expected) => panic!("{actual:?} is not {expected:?}"),
        }
    }

    #[test]
    fn sub_paths_stay_in_the_volume() {
        check(r#""name": "v""#, Ok(""));
        check(r#""name": "v", "subPath": "there""#, Ok("there"));
        check(r#""name": "v", "subPath": "near""#, Ok("near"));
        check(r#""name": "v", "subPath": "near/x/deep""#, Ok("near/x/deep"));
        check(r#""name": "v", "subPathExpr": "x-$(NAME)""#, Ok("x-p"));
        check(r#""name": "v", "subPathExpr": "$(NONE)""#, Err("missing value for \"NONE\""));
        check(r#""name": "v", "subPath": "../x""#, Err("must stay within the volume"));
        check(r#""name": "v", "subPathExpr": "/tmp""#, Err("may not be absolute"));
        check(r#""name": "v", "subPath": "out""#, Err("leads out of its directory"));
        check(r#""name": "v", "subPath": "out/new""#, Err("leads out of its directory"));
        check(r#""name": "w""#, Err("mounts volume \"w\""));
    }

    #[test]
    fn what_shows_objects_is_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let check = |volume: &str, mount: &str, expected: (bool, bool)| {
            drop(std::fs::remove_dir_all(directory.path().join("pods")));
            let made = mounts(directory.path(), volume, &format!(r#""name": "v" {mount}"#)).unwrap();
            assert_eq!((made.readonly, made.recursive), expected, "{volume} {mount}");
        };
        for source in ["configMap", "secret", "downwardAPI", "projected"] {
            let source = format!(r#", "{source}": {{}}"#);
            check(&source, "", (true, false));
            check(&source, r#", "readOnly": false"#, (true, false));
        }
        check(r#", "emptyDir": {}"#, "", (false, false));
        check(r#", "emptyDir": {}"#, r#", "readOnly": true, "recursiveReadOnly": "Enabled""#, (true, true));
    }

    #[test]
    fn images_are_mounted_by_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let id = skiff_runtime::ImageId::new(format!("sha256:{}", "a".repeat(64))).unwrap();
        let (names, digests, config) = (Vec::new(), Vec::new(), Default::default());
        let image = Image { id: id.clone(), names, digests, size: 1, config };
        let images = BTreeMap::from([("v".to_owned(), image)]);
        let check = |mount: &str, expected: Result<&str, &str>| {
            drop(std::fs::remove_dir_all(directory.path().join("pods")));
            let made = mounts_with(directory.path(), r#", "image": {"reference": "i"}"#, mount, &images);
            match (made, expected) {
                (Ok(made), Ok(below)) => {
                    assert!(made.readonly, "{mount}");
                    assert_eq!(made.kind, MountKind::Image { image: id.clone(), below: below.into() });
                }
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (made, expected) => panic!("{made:?} is not {expected:?}"),
            }
        };
        check(r#""name": "v""#, Ok(""));
        check(r#""name": "v", "readOnly": false, "subPath": "etc/x""#, Ok("etc/x"));
        check(r#""name": "v", "subPathExpr": "$(NAME)""#, Ok("p"));
        check(r#""name": "v", "subPath": "../x""#, Err("must stay within the volume"));
        check(r#""name": "w""#, Err("mounts volume \"w\""));
    }

    #[test]
    fn the_type_of_a_host_path_is_checked_where_it_is_mounted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let volume = format!(r#", "hostPath": {{"path": "{path}", "type": "Directory"}}"#);
        let made = mounts(directory.path(), &volume, r#""name": "v""#).unwrap();
        let expected = Some(skiff_rooted::Kind::Directory);
        assert_eq!(
            made.kind,
            MountKind::Bind {
                source: directory.path().into(),
                below: PathBuf::new(),
                expected,
                ids: skiff_runtime::FileIds::Container
            }
        );
    }
}
