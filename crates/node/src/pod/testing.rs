//! Helpers for tests.

use super::local::LocalPod;
use jiff::Timestamp;

/// A pod from the JSON of its API object.
pub(crate) fn pod(json: &str) -> LocalPod {
    LocalPod::new(serde_json::from_str(json).unwrap()).unwrap()
}

/// A pod `p` in namespace `ns` with the given specification.
pub(crate) fn pod_of(spec: &str) -> LocalPod {
    pod(&format!(r#"{{"metadata": {{"name": "p", "namespace": "ns", "uid": "u"}}, "spec": {spec}}}"#))
}

/// The time `second` seconds into the test.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}
