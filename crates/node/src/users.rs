//! Which user and group IDs of the node each pod with a user namespace has.
//!
//! As the kubelet does: a pod keeps its range as long as it has files here, across restarts of the agent, so what it left in
//! memory stays its own. The range is in a file of the pod's directory, in the kubelet's format ([`FILE`]), and is written
//! before anything uses it. Blocking file work.

use crate::directory;
use crate::paths::PodPaths;
use crate::pod::local::LocalPod;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skiff_rooted::{Follow, Owner, Root};
use skiff_runtime::{IdRange, PodUid};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// The file of a pod that has a range.
const FILE: &str = "userns";

/// Most bytes of the file.
const FILE_LIMIT: u64 = 4096;

/// The content of the file: the same range for users and groups.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mappings {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// The ranges of the node's pods.
#[derive(Debug)]
pub(crate) struct UserRanges {
    data_dir: PathBuf,
    taken: Mutex<HashMap<PodUid, IdRange>>,
    /// Why no pod can have a user namespace here, if none can.
    missing: Option<String>,
}

impl UserRanges {
    /// Those that pods had before: what `running` pods really have, and what the files of the others say. A file that
    /// cannot be read (the machine may have lost power) is told of: what belongs to no running pod is in nobody's use.
    pub(crate) fn remembered(
        data_dir: &Path,
        running: impl Iterator<Item = (PodUid, IdRange)>,
    ) -> io::Result<Self> {
        let mut taken: HashMap<PodUid, IdRange> = running.collect();
        for uid in directory::known(data_dir)? {
            let paths = PodPaths::new(data_dir, &uid);
            match directory::open(&paths).and_then(|own| own.map_or(Ok(None), |own| read(&own))) {
                Ok(range) => drop(range.map(|range| *taken.entry(uid).or_insert(range))),
                Err(error) => tracing::warn!(pod = %uid, %error, "its range of user IDs is forgotten"),
            }
        }
        Ok(Self { data_dir: data_dir.to_owned(), taken: Mutex::new(taken), missing: None })
    }

    /// The same on a machine where pods cannot have user namespaces, for this reason.
    pub(crate) fn unless(self, missing: Option<String>) -> Self {
        Self { missing, ..self }
    }

    /// The range of a pod that is to have a user namespace: the one that it has, or a new one.
    pub(crate) fn of(&self, pod: &LocalPod) -> Result<Option<IdRange>, String> {
        if pod.spec.host_users != Some(false) {
            return Ok(None);
        }
        if let Some(reason) = &self.missing {
            let text = "can't set `spec.hostUsers: false`, runtime does not support user namespaces";
            return Err(format!("{text}: {reason}"));
        }
        let mut taken = self.taken.lock();
        if let Some(range) = taken.get(&pod.uid) {
            return Ok(Some(*range));
        }
        let range = free(taken.values().copied()).ok_or("no range of user IDs is free on this node")?;
        let paths = PodPaths::new(&self.data_dir, &pod.uid);
        let written = directory::make(&paths).and_then(|own| write(&own, range));
        written.map_err(|error| format!("write {}: {error}", paths.root().join(FILE).display()))?;
        taken.insert(pod.uid.clone(), range);
        Ok(Some(range))
    }

    /// The range of a pod, if it has one.
    pub(crate) fn known(&self, uid: &PodUid) -> Option<IdRange> {
        self.taken.lock().get(uid).copied()
    }

    /// Gives back the range of a pod that has nothing left here. Safe to repeat.
    pub(crate) fn release(&self, uid: &PodUid) {
        self.taken.lock().remove(uid);
    }
}

/// The first range that is not taken.
fn free(taken: impl Iterator<Item = IdRange>) -> Option<IdRange> {
    let taken: HashSet<IdRange> = taken.collect();
    (0..IdRange::COUNT).filter_map(IdRange::nth).find(|range| !taken.contains(range))
}

fn read(own: &Root) -> io::Result<Option<IdRange>> {
    match own.read(FILE, Follow::Nothing, FILE_LIMIT) {
        Ok(text) => range_of(&serde_json::from_slice(&text)?).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(own: &Root, range: IdRange) -> io::Result<()> {
    own.replace(FILE, &serde_json::to_vec(&mappings(range))?, 0o600, Owner::AS_MADE)
}

fn mappings(range: IdRange) -> Mappings {
    let whole = vec![Mapping { host_id: range.first(), container_id: 0, length: IdRange::LENGTH }];
    Mappings { uid_mappings: whole.clone(), gid_mappings: whole }
}

fn range_of(mappings: &Mappings) -> Result<IdRange, String> {
    let first = mappings.uid_mappings.first().map_or(0, |mapping| mapping.host_id);
    let range = IdRange::try_from(first).map_err(|error| error.to_string())?;
    if *mappings == self::mappings(range) { Ok(range) } else { Err("not one whole range of IDs".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn pod(uid: &str) -> LocalPod {
        let mut pod = pod_of(r#"{"hostUsers": false, "containers": []}"#);
        pod.uid = PodUid::new(uid).unwrap();
        pod
    }

    fn first(ranges: &UserRanges, uid: &str) -> u32 {
        ranges.of(&pod(uid)).unwrap().unwrap().first()
    }

    #[test]
    fn the_lowest_free_range_is_given() {
        let nth = |numbers: &[u32]| numbers.iter().filter_map(|n| IdRange::nth(*n)).collect::<Vec<_>>();
        let check = |taken: &[u32], expected: Option<u32>| {
            assert_eq!(free(nth(taken).into_iter()), expected.and_then(IdRange::nth), "{taken:?}");
        };
        check(&[], Some(0));
        check(&[0, 1], Some(2));
        check(&[2, 0], Some(1));
        check(&(0..IdRange::COUNT).collect::<Vec<_>>(), None);
    }

    #[test]
    fn a_pod_keeps_its_range_until_its_files_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("pods")).unwrap();
        let remembered = || UserRanges::remembered(directory.path(), std::iter::empty()).unwrap();
        let ranges = remembered();
        assert_eq!(ranges.of(&pod_of(r#"{"containers": []}"#)), Ok(None));
        assert_eq!(
            (first(&ranges, "a"), first(&ranges, "b"), first(&ranges, "a")),
            (65_536, 131_072, 65_536)
        );
        let next = remembered();
        assert_eq!((first(&next, "c"), first(&next, "b")), (196_608, 131_072));
        next.release(&pod("a").uid);
        assert_eq!(first(&next, "d"), 65_536);
    }

    #[test]
    fn without_user_namespaces_pods_that_need_none_run() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("pods")).unwrap();
        let running = [(PodUid::new("before").unwrap(), IdRange::nth(7).unwrap())];
        let ranges = UserRanges::remembered(directory.path(), running.into_iter()).unwrap();
        let ranges = ranges.unless(Some("this kernel has none".into()));
        assert_eq!(ranges.of(&pod_of(r#"{"containers": []}"#)), Ok(None));
        for uid in ["new", "before"] {
            assert_eq!(
                ranges.of(&pod(uid)).unwrap_err(),
                "can't set `spec.hostUsers: false`, runtime does not support user namespaces: this kernel has none"
            );
        }
    }

    #[test]
    fn a_file_that_says_something_else_is_no_range() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("pods/u");
        std::fs::create_dir_all(&own).unwrap();
        let known = |text: &str| {
            std::fs::write(own.join(FILE), text).unwrap();
            let running = [(PodUid::new("other").unwrap(), IdRange::nth(7).unwrap())];
            let ranges = UserRanges::remembered(directory.path(), running.into_iter()).unwrap();
            assert_eq!(first(&ranges, "other"), 8 * 65_536);
            ranges.known(&PodUid::new("u").unwrap()).map(IdRange::first)
        };
        let mapping = |host: u32, length: u32| {
            format!(r#"[{{"hostId": {host}, "containerId": 0, "length": {length}}}]"#)
        };
        let text =
            |users: &str, groups: &str| format!(r#"{{"uidMappings": {users}, "gidMappings": {groups}}}"#);
        let whole = mapping(65_536, 65_536);
        assert_eq!(known(""), None);
        assert_eq!(known(&text(&mapping(0, 65_536), &whole)), None);
        assert_eq!(known(&text(&mapping(65_536, 1), &whole)), None);
        assert_eq!(known(&text(&whole, &mapping(131_072, 65_536))), None);
        assert_eq!(known(&text(&whole, &whole)), Some(65_536));
    }
}
