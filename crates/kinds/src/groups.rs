//! The groups of the built-in kinds, each in the version that is served.

use skiff_machinery::GroupVersion;

use crate::flowcontrol::bootstrap;

pub(crate) const CORE: GroupVersion = GroupVersion::fixed("", "v1");
pub(crate) const ADMISSION_REGISTRATION: GroupVersion =
    GroupVersion::fixed("admissionregistration.k8s.io", "v1");
pub(crate) const API_EXTENSIONS: GroupVersion = GroupVersion::fixed("apiextensions.k8s.io", "v1");
pub(crate) const API_REGISTRATION: GroupVersion = GroupVersion::fixed("apiregistration.k8s.io", "v1");
pub(crate) const APPS: GroupVersion = GroupVersion::fixed("apps", "v1");
pub(crate) const AUTHENTICATION: GroupVersion = GroupVersion::fixed("authentication.k8s.io", "v1");
pub(crate) const AUTHORIZATION: GroupVersion = GroupVersion::fixed("authorization.k8s.io", "v1");
/// The first version, which shows what is stored in the second.
pub(crate) const AUTOSCALING_V1: GroupVersion = GroupVersion::fixed("autoscaling", "v1");
pub(crate) const AUTOSCALING: GroupVersion = GroupVersion::fixed("autoscaling", "v2");
pub(crate) const BATCH: GroupVersion = GroupVersion::fixed("batch", "v1");
pub(crate) const CERTIFICATES: GroupVersion = GroupVersion::fixed("certificates.k8s.io", "v1");
pub(crate) const COORDINATION: GroupVersion = GroupVersion::fixed("coordination.k8s.io", "v1");
pub(crate) const DISCOVERY: GroupVersion = GroupVersion::fixed("discovery.k8s.io", "v1");
pub(crate) const EVENTS: GroupVersion = GroupVersion::fixed("events.k8s.io", "v1");
pub(crate) const FLOW_CONTROL: GroupVersion = GroupVersion::fixed(bootstrap::GROUP, "v1");
pub(crate) const NETWORKING: GroupVersion = GroupVersion::fixed("networking.k8s.io", "v1");
pub(crate) const NODE: GroupVersion = GroupVersion::fixed("node.k8s.io", "v1");
pub(crate) const POLICY: GroupVersion = GroupVersion::fixed("policy", "v1");
pub(crate) const RBAC: GroupVersion = GroupVersion::fixed("rbac.authorization.k8s.io", "v1");
pub(crate) const RESOURCE: GroupVersion = GroupVersion::fixed("resource.k8s.io", "v1");
pub(crate) const SCHEDULING: GroupVersion = GroupVersion::fixed("scheduling.k8s.io", "v1");
pub(crate) const STORAGE: GroupVersion = GroupVersion::fixed("storage.k8s.io", "v1");
