//! The default bindings, as tables.

/// Who a default binding is for.
#[derive(Clone, Copy)]
pub enum Who {
    /// A user.
    User(&'static str),
    /// A group.
    Group(&'static str),
    /// A ServiceAccount in `kube-system`.
    Account(&'static str),
}

use Who::{Account, Group, User};

/// A default ClusterRoleBinding: it has the name of its role.
pub struct ClusterBindingRow {
    /// The role that is bound, and the binding's name.
    pub role: &'static str,
    /// To whom; nobody yet for some.
    pub subjects: &'static [Who],
}

/// A default RoleBinding.
pub struct BindingRow {
    /// Where it is.
    pub namespace: &'static str,
    /// The binding's name.
    pub name: &'static str,
    /// The role that is bound.
    pub role: &'static str,
    /// To whom.
    pub subjects: &'static [Who],
}

const fn bind(role: &'static str, subjects: &'static [Who]) -> ClusterBindingRow {
    ClusterBindingRow { role, subjects }
}

/// Every default ClusterRoleBinding but those of controllers.
pub const CLUSTER_BINDINGS: &[ClusterBindingRow] = &[
    bind("cluster-admin", &[Group("system:masters")]),
    bind("system:monitoring", &[Group("system:monitoring")]),
    bind("system:discovery", &[Group("system:authenticated")]),
    bind("system:basic-user", &[Group("system:authenticated")]),
    bind("system:public-info-viewer", &[Group("system:authenticated"), Group("system:unauthenticated")]),
    bind("system:node-proxier", &[User("system:kube-proxy")]),
    bind("system:kube-controller-manager", &[User("system:kube-controller-manager")]),
    bind("system:kube-dns", &[Account("kube-dns")]),
    bind("system:coredns", &[Account("coredns")]),
    bind("system:kube-scheduler", &[User("system:kube-scheduler")]),
    bind("system:volume-scheduler", &[User("system:kube-scheduler")]),
    bind("system:service-account-issuer-discovery", &[Group("system:serviceaccounts")]),
    // Nodes get these rules from the node authoriser; the binding is there for whoever looks for it.
    bind("system:node", &[]),
];

/// Every default RoleBinding.
pub const BINDINGS: &[BindingRow] = &[
    BindingRow {
        namespace: "kube-system",
        name: "system::extension-apiserver-authentication-reader",
        role: "extension-apiserver-authentication-reader",
        subjects: &[User("system:kube-controller-manager"), User("system:kube-scheduler")],
    },
    BindingRow {
        namespace: "kube-system",
        name: "system::leader-locking-kube-controller-manager",
        role: "system::leader-locking-kube-controller-manager",
        subjects: &[User("system:kube-controller-manager"), Account("kube-controller-manager")],
    },
    BindingRow {
        namespace: "kube-system",
        name: "system::leader-locking-kube-scheduler",
        role: "system::leader-locking-kube-scheduler",
        subjects: &[User("system:kube-scheduler"), Account("kube-scheduler")],
    },
    BindingRow {
        namespace: "kube-system",
        name: "system:controller:bootstrap-signer",
        role: "system:controller:bootstrap-signer",
        subjects: &[Account("bootstrap-signer")],
    },
    BindingRow {
        namespace: "kube-system",
        name: "system:controller:token-cleaner",
        role: "system:controller:token-cleaner",
        subjects: &[Account("token-cleaner")],
    },
    BindingRow {
        namespace: "kube-public",
        name: "system:controller:bootstrap-signer",
        role: "system:controller:bootstrap-signer",
        subjects: &[Account("bootstrap-signer")],
    },
];
