//! Pods and what Kubernetes says of them at every level and version.
//!
//! A file of `tables/` has blocks: a pod, then lines `LEVEL VERSION: text`. A line holds from its version on, up to the
//! next line's; without a text the pod is allowed. The texts are those of Kubernetes 1.36.

use serde_json::Value;
use skiff_podsecurity::{Level, LevelVersion, Version, check, details};

/// Versions that tables speak of: all minor versions up to one that has no checks of its own, and the latest.
fn versions() -> impl Iterator<Item = Version> {
    (0..38).map(Version::V1).chain([Version::Latest])
}

#[track_caller]
fn holds(table: &str) {
    let blocks = table.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let mut compared = 0;
    for block in blocks {
        let (pod, lines) = block.split_once('\n').expect("a pod and lines");
        let tree: Value = serde_json::from_str(pod).expect("a pod");
        for level in [Level::Baseline, Level::Restricted] {
            for version in versions() {
                let policy = LevelVersion { level, version };
                assert_eq!(details(&check(policy, &tree)), expected(lines, policy), "{policy} of {pod}");
                compared += 1;
            }
        }
        let privileged = LevelVersion::PRIVILEGED;
        assert_eq!(check(privileged, &tree), [], "{privileged} of {pod}");
    }
    assert!(compared > 0, "the table is empty");
}

/// The last line of this level that is not of a later version.
fn expected(lines: &str, policy: LevelVersion) -> &str {
    let mut rows = lines.lines().rev().map(|line| {
        let (policy, text) = line.split_once(':').expect("a colon");
        let (level, version) = policy.split_once(' ').expect("level and version");
        let level: Level = level.parse().expect("a level");
        let version: Version = version.parse().expect("a version");
        (LevelVersion { level, version }, text.trim())
    });
    let row = rows.find(|(row, _)| row.level == policy.level && row.version <= policy.version);
    row.expect("a line for every version").1
}

macro_rules! tables {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            holds(include_str!(concat!("tables/", stringify!($name), ".txt")));
        }
    )*};
}

tables!(apparmor capabilities host privileges procmount seccomp selinux sysctls users volumes);

#[test]
fn violations_name_their_checks() {
    let pod =
        serde_json::json!({"spec": {"hostPID": true, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}});
    let ids = |level| {
        let found = check(LevelVersion { level, version: Version::Latest }, &pod);
        found.into_iter().map(|violation| violation.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Level::Baseline), ["hostNamespaces", "hostPathVolumes"]);
    assert_eq!(ids(Level::Restricted), ["hostNamespaces", "restrictedVolumes"]);
}
