//! What a server says of itself at `/version`.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The Kubernetes version that we announce.
const MAJOR: &str = "1";
const MINOR: &str = "36";
/// Clients and nodes of so old a minor version may still speak to us.
const OLDEST_MINOR: &str = "35";
/// The Kubernetes version that is announced, with `v`.
pub fn kubernetes_version() -> String {
    format!("v{}+skiff{}", skiff_schema::release(), env!("CARGO_PKG_VERSION"))
}

/// What the program knows of its own build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Commit of skiff's sources; `unknown` when they came without their history.
    pub commit: String,
    /// `clean`, `dirty`, or `archive` when they came without their history.
    pub tree_state: String,
    /// When that commit was made, so that two builds of it are the same; the year 1970 when unknown.
    pub commit_time: Timestamp,
    /// The compiler and its version, e.g. `rustc 1.95.0`.
    pub compiler: String,
    /// The processor that the program is made for, in Go's words, e.g. `amd64`.
    pub architecture: &'static str,
}

impl Default for BuildInfo {
    fn default() -> Self {
        Self {
            commit: "unknown".to_owned(),
            tree_state: "archive".to_owned(),
            commit_time: Timestamp::UNIX_EPOCH,
            compiler: "rustc".to_owned(),
            architecture: "unknown",
        }
    }
}

impl BuildInfo {
    /// The document of `/version`. `goVersion` is the version of what compiled the server, which was not Go.
    pub(crate) fn version(&self) -> Value {
        json!({
            "major": MAJOR,
            "minor": MINOR,
            "emulationMajor": MAJOR,
            "emulationMinor": MINOR,
            "minCompatibilityMajor": MAJOR,
            "minCompatibilityMinor": OLDEST_MINOR,
            "gitVersion": kubernetes_version(),
            "gitCommit": self.commit,
            "gitTreeState": self.tree_state,
            "buildDate": skiff_registry::timestamp(self.commit_time),
            "goVersion": self.compiler,
            "compiler": self.compiler.split(' ').next(),
            "platform": format!("{}/{}", std::env::consts::OS, self.architecture),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `version.Info` of Kubernetes' clients has.
    #[test]
    fn nothing_is_left_out() {
        let build = BuildInfo { compiler: "rustc 1.95.0".to_owned(), ..BuildInfo::default() };
        let version = build.version();
        let fields = [
            "major",
            "minor",
            "emulationMajor",
            "emulationMinor",
            "minCompatibilityMajor",
            "minCompatibilityMinor",
            "gitVersion",
            "gitCommit",
            "gitTreeState",
            "buildDate",
            "goVersion",
            "compiler",
            "platform",
        ];
        for field in fields {
            assert!(version[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
        }
        assert_eq!(version.as_object().unwrap().len(), fields.len());
        assert_eq!((&version["compiler"], &version["goVersion"]), (&json!("rustc"), &json!("rustc 1.95.0")));
        assert_eq!(version["buildDate"], "1970-01-01T00:00:00Z");
    }
}
