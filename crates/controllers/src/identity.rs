//! The user that each controller acts as.

/// Acts for the caches that all controllers share: may list and watch everything they need.
pub(crate) const SHARED: &str = "kube-controller-manager";
/// Acts for what Kubernetes does inside its API server: the Service `kubernetes` and the IPAddress repair.
pub(crate) const APISERVER: &str = "apiserver";

/// A user name, the groups that come with it, and the program that Kubernetes has it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user name.
    pub user: String,
    /// The groups, `system:authenticated` included.
    pub groups: Vec<String>,
    /// The `User-Agent` of its requests, by which managed fields name it.
    pub agent: &'static str,
}

/// The identity behind the name that `run` passes to its `client_for`: a ServiceAccount in `kube-system`, except for
/// `kube-controller-manager` and `apiserver`, which are Kubernetes' component users.
pub fn identity(name: &str) -> Identity {
    let (user, groups): (String, &[&str]) = match name {
        SHARED => ("system:kube-controller-manager".into(), &[]),
        APISERVER => ("system:apiserver".into(), &["system:masters"]),
        _ => (
            format!("system:serviceaccount:kube-system:{name}"),
            &["system:serviceaccounts", "system:serviceaccounts:kube-system"],
        ),
    };
    let groups = groups.iter().copied().chain(["system:authenticated"]).map(String::from).collect();
    let agent = if name == APISERVER { "kube-apiserver" } else { "kube-controller-manager" };
    Identity { user, groups, agent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_service_accounts() {
        assert_eq!(
            identity("namespace-controller").user,
            "system:serviceaccount:kube-system:namespace-controller"
        );
        assert_eq!(identity(SHARED).user, "system:kube-controller-manager");
        assert_eq!(identity(APISERVER).groups, ["system:masters", "system:authenticated"]);
        let agents = [APISERVER, SHARED, "namespace-controller"].map(|name| identity(name).agent);
        assert_eq!(agents, ["kube-apiserver", "kube-controller-manager", "kube-controller-manager"]);
    }
}
