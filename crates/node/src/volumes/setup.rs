//! Makes the volumes of a pod on the host, keeps them current, and removes them. Blocking file work.

use super::claims::{Bound, ClaimVolume, Claims, NodeVolumes};
use super::content::ContentContext;
use super::kinds::Left;
use super::{Place, Remark, Volume, VolumeError, of};
use crate::directory;
use crate::paths::{PodPaths, VOLUMES};
use skiff_rooted::Follow;
use std::io;

/// A volume of a pod cannot be made; the text is that of the event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetUpError {
    #[error("MountVolume.MountDevice failed for volume \"{volume}\" : {source}")]
    Stage { volume: String, source: VolumeError },
    #[error("MapVolume.SetUpDevice failed for volume \"{volume}\" : {source}")]
    Map { volume: String, source: VolumeError },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    SetUp { volume: String, source: VolumeError },
}

/// Makes every volume of the pod; safe to repeat: what is there already keeps what containers made of it.
pub(crate) fn set_up(
    paths: &PodPaths,
    context: &ContentContext<'_>,
    claims: &Claims,
    node: &NodeVolumes,
) -> Result<Vec<Remark>, SetUpError> {
    let mut remarks = Vec::new();
    for volume in context.pod.spec.volumes.iter().flatten() {
        let (kind, place) = (of(volume, claims, node), Place::new(paths, &volume.name));
        let remark = match claims.get(&volume.name) {
            Some(claim) => node.alone(&claim.volume, || {
                let failed = |source| SetUpError::SetUp { volume: claim.volume.clone(), source };
                note(paths, &volume.name, claim).map_err(failed)?;
                kind.stage().map_err(|source| not_staged(claim, source))?;
                kind.publish(&place, context).map_err(failed)
            }),
            None => kind
                .stage()
                .and_then(|()| kind.publish(&place, context))
                .map_err(|source| SetUpError::SetUp { volume: volume.name.clone(), source }),
        };
        remarks.extend(remark?);
    }
    Ok(remarks)
}

fn not_staged(claim: &ClaimVolume, source: VolumeError) -> SetUpError {
    let volume = claim.volume.clone();
    if claim.block { SetUpError::Map { volume, source } } else { SetUpError::Stage { volume, source } }
}

/// Writes down that the pod has a persistent volume; see [`super::claims`].
fn note(paths: &PodPaths, name: &str, claim: &ClaimVolume) -> Result<(), VolumeError> {
    let io = || VolumeError::io("write down the claims of", paths.root());
    let noted = Claims::load(paths).map_err(io())?;
    if noted.get(name) == Some(claim) {
        return Ok(());
    }
    noted.with(name, claim).save(paths).map_err(io())
}

/// Brings the volumes that show objects up to date; on failure names the volume.
pub(crate) fn refresh(
    paths: &PodPaths,
    context: &ContentContext<'_>,
    node: &NodeVolumes,
) -> Result<(), (String, VolumeError)> {
    let claims = Claims::default();
    for volume in context.pod.spec.volumes.iter().flatten() {
        let refreshed = of(volume, &claims, node).refresh(&Place::new(paths, &volume.name), context);
        refreshed.map_err(|error| (volume.name.clone(), error))?;
    }
    Ok(())
}

/// Unmounts and removes all volumes of a pod; what does not exist is no error. What the pod was given is read from its
/// directory, so nothing else needs to be known of it.
pub(crate) fn tear_down(paths: &PodPaths, node: &NodeVolumes) -> Result<(), VolumeError> {
    let root = paths.volumes();
    let Some(pod) = directory::open(paths).map_err(VolumeError::io("open", &root))? else { return Ok(()) };
    match pod.directory(VOLUMES, Follow::Nothing) {
        Ok(volumes) => {
            for entry in volumes.entries().map_err(VolumeError::io("list", &root))? {
                let name = entry.map_err(VolumeError::io("list", &root))?.name;
                Left.unpublish(&Place::new(paths, &name.to_string_lossy()))?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(VolumeError::io("open", &root)(error)),
    }
    pod.remove_tree(VOLUMES).map_err(VolumeError::io("remove", &root))?;
    let claims = Claims::load(paths).map_err(VolumeError::io("read the claims of", paths.root()))?;
    for (name, claim) in claims.iter() {
        node.alone(&claim.volume, || give_up(paths, name, claim, node))?;
    }
    Ok(())
}

/// Takes a persistent volume from a pod; with the last pod that has it, it leaves the node's mounts.
fn give_up(paths: &PodPaths, name: &str, claim: &ClaimVolume, node: &NodeVolumes) -> Result<(), VolumeError> {
    let io = || VolumeError::io("write down the claims of", paths.root());
    let bound = Bound { volume: claim, node };
    bound.unpublish(&Place::new(paths, name))?;
    let last = node.others(&claim.volume, Some(paths.uid())).map_err(io())?.is_empty();
    if last {
        bound.unstage()?;
    }
    Claims::load(paths).map_err(io())?.without(name).save(paths).map_err(io())?;
    if last {
        node.release(&claim.volume);
    }
    Ok(())
}

/// Removes everything of a pod from the disk, volumes first: what still has mounts is not touched.
pub(crate) fn remove_pod_files(paths: &PodPaths, node: &NodeVolumes) -> Result<(), VolumeError> {
    tear_down(paths, node)?;
    directory::remove(paths).map_err(VolumeError::io("remove", paths.root()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::references::Sources;
    use crate::pod::local::LocalPod;
    use crate::pod::testing::pod_of;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn set_up_pod(spec: &str) -> (tempfile::TempDir, PodPaths, LocalPod, NodeVolumes) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("pods")).unwrap();
        let pod = pod_of(spec);
        let paths = PodPaths::new(directory.path(), &pod.uid);
        let node = NodeVolumes::new(directory.path(), Default::default());
        set_up_again(&paths, &pod, &node).unwrap();
        (directory, paths, pod, node)
    }

    fn set_up_again(paths: &PodPaths, pod: &LocalPod, node: &NodeVolumes) -> Result<(), SetUpError> {
        let (sources, tokens, allocatable) = (Sources::default(), Default::default(), Default::default());
        let context = ContentContext {
            pod,
            sources: &sources,
            tokens: &tokens,
            allocatable: &allocatable,
            users: None,
        };
        set_up(paths, &context, &Claims::default(), node).map(drop)
    }

    #[test]
    fn a_volume_that_is_there_stays_as_containers_made_it() {
        let (_directory, paths, pod, node) =
            set_up_pod(r#"{"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}"#);
        let volume = paths.volume("v");
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o777);
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(volume.join("kept"), "").unwrap();
        set_up_again(&paths, &pod, &node).unwrap();
        assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o700);
        assert!(volume.join("kept").exists());
        remove_pod_files(&paths, &node).unwrap();
        assert!(!paths.root().exists());
        remove_pod_files(&paths, &node).unwrap();
    }

    #[test]
    fn removing_a_pod_touches_nothing_of_the_host() {
        let (directory, paths, _, node) =
            set_up_pod(r#"{"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}"#);
        let host = directory.path().join("host");
        fs::create_dir(&host).unwrap();
        fs::write(host.join("secret"), "").unwrap();
        std::os::unix::fs::symlink(&host, paths.volume("v").join("out")).unwrap();
        fs::remove_dir_all(paths.root().join("logs")).ok();
        std::os::unix::fs::symlink(&host, paths.root().join("logs")).unwrap();
        remove_pod_files(&paths, &node).unwrap();
        assert!(host.join("secret").exists() && !paths.root().exists());
    }

    #[test]
    fn a_source_that_is_not_known_is_named() {
        let (_directory, paths, _, node) = set_up_pod(r#"{"containers": []}"#);
        let check = |source: &str, expected: &str| {
            let pod = pod_of(&format!(r#"{{"containers": [], "volumes": [{{"name": "v", {source}}}]}}"#));
            assert_eq!(set_up_again(&paths, &pod, &node).unwrap_err().to_string(), expected);
        };
        let unsupported = |kind: &str| {
            format!(
                "MountVolume.SetUp failed for volume \"v\" : no volume plugin matched: volumes of the source {kind} are not supported on this node"
            )
        };
        check(r#""nfs": {"server": "s", "path": "/"}"#, &unsupported("nfs"));
        check(r#""csi": {"driver": "d"}"#, &unsupported("csi"));
        check(
            r#""emptyDir": {"medium": "HugePages"}"#,
            "MountVolume.SetUp failed for volume \"v\" : emptyDir medium \"HugePages\" is not supported on this node",
        );
    }
}
