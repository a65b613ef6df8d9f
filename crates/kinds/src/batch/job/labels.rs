//! The labels by which a job's pods are known, by their older and newer names.

pub(super) const NAMES: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
pub(super) const UIDS: [&str; 2] = ["controller-uid", UID];
pub(super) const UID: &str = "batch.kubernetes.io/controller-uid";
