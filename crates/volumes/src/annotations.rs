//! What is written at claims and volumes by those who bring them together, and read by provisioners.

/// At a claim: both sides of its binding are written.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// At a claim or a volume: it was not its writer who chose the other side.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// At a claim: the node for whose pod a volume is wanted.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// At a claim: who is to make a volume for it.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The same, under the name that older provisioners look for.
pub const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// At a volume: who made it, and will take it away.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// At a volume of one of Kubernetes' former plugins: the driver that cares for it.
pub const MIGRATED_TO: &str = "pv.kubernetes.io/migrated-to";
/// At a volume that has grown while its file system has not yet: how much that holds.
pub const PRE_RESIZE_CAPACITY: &str = "volume.alpha.kubernetes.io/pre-resize-capacity";
/// At a claim or a volume: its class, as it was said before there was a field.
pub const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// At a class: whether it is for claims that name none; today's and yesterday's name.
pub const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
