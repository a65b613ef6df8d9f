//! The roles and bindings that every cluster has, as tables: those of Kubernetes' documentation of RBAC ("Default roles and role
//! bindings"), and what the parts of this cluster need.

mod bindings;
mod notation;
mod roles;

pub use bindings::{BINDINGS, BindingRow, CLUSTER_BINDINGS, ClusterBindingRow, Who};
pub use notation::parse;
pub use roles::{CLUSTER_ROLES, CONTROLLERS, ClusterRoleRow, ROLES, RoleRow};

use super::Rule;

/// The rules of `system:node` and what the node agent needs besides, which the node authoriser grants.
pub(crate) fn node_rules() -> Vec<Rule> {
    [roles::NODE_RULES, roles::AGENT_RULES].into_iter().flat_map(parse).collect()
}
