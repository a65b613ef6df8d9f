//! The default roles, as tables.

/// A default ClusterRole. Rules are in the notation of [`parse`](super::parse).
pub struct ClusterRoleRow {
    /// Its name.
    pub name: &'static str,
    /// The role whose aggregation takes this one in.
    pub part_of: Option<&'static str>,
    /// Whether its rules are those of the roles that are part of it.
    pub aggregates: bool,
    /// In the notation of [`parse`](super::parse).
    pub rules: &'static str,
}

/// A default Role.
pub struct RoleRow {
    /// Where it is.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
    /// In the notation of [`parse`](super::parse).
    pub rules: &'static str,
}

const fn role(name: &'static str, rules: &'static str) -> ClusterRoleRow {
    ClusterRoleRow { name, part_of: None, aggregates: false, rules }
}

const fn part(name: &'static str, part_of: &'static str, rules: &'static str) -> ClusterRoleRow {
    ClusterRoleRow { name, part_of: Some(part_of), aggregates: false, rules }
}

const fn aggregate(name: &'static str, part_of: Option<&'static str>) -> ClusterRoleRow {
    ClusterRoleRow { name, part_of, aggregates: true, rules: "" }
}

/// What every node agent may do, besides what depends on its own pods.
pub(super) const NODE_RULES: &str = "
    create authentication.k8s.io tokenreviews
    create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews
    read core services
    create,get,list,watch core nodes
    patch,update core nodes/status
    patch,update core nodes
    create,patch,update core,events.k8s.io events
    read core pods
    create,delete core pods
    patch,update core pods/status
    create core pods/eviction
    get,list,watch core configmaps,secrets
    get core persistentvolumeclaims,persistentvolumes
    get core endpoints
    create,get,list,watch certificates.k8s.io certificatesigningrequests
    create,delete,get,patch,update coordination.k8s.io leases
    get storage.k8s.io volumeattachments
    create core serviceaccounts/token
    get,patch,update core persistentvolumeclaims/status
    read storage.k8s.io csidrivers
    create,delete,get,patch,update storage.k8s.io csinodes
    read node.k8s.io runtimeclasses
    get resource.k8s.io resourceclaims
    deletecollection resource.k8s.io resourceslices
    get core serviceaccounts";

/// What it may do besides, because the service proxy and the pod network run in it.
pub(super) const AGENT_RULES: &str = "
    read discovery.k8s.io endpointslices
    read networking.k8s.io servicecidrs";

/// Kubernetes' default ClusterRoles, of the kinds that are served.
pub const CLUSTER_ROLES: &[ClusterRoleRow] = &[
    role("cluster-admin", "
        * * *
        * path *"),
    role("system:discovery", "
        get path /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/"),
    role("system:monitoring", "
        get path /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*"),
    role("system:basic-user", "
        create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews
        create authentication.k8s.io selfsubjectreviews"),
    role("system:public-info-viewer", "
        get path /healthz,/livez,/readyz,/version,/version/"),
    aggregate("admin", None),
    aggregate("edit", Some("admin")),
    aggregate("view", Some("edit")),
    part("system:aggregate-to-admin", "admin", "
        create authorization.k8s.io localsubjectaccessreviews
        create,delete,deletecollection,get,list,patch,update,watch rbac.authorization.k8s.io rolebindings,roles"),
    part("system:aggregate-to-edit", "edit", "
        read core pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy
        impersonate core serviceaccounts
        write core pods,pods/attach,pods/exec,pods/portforward,pods/proxy
        create core pods/eviction
        write core configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy
        create core serviceaccounts/token
        write core,events.k8s.io events
        write apps daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale
        write autoscaling horizontalpodautoscalers
        write batch cronjobs,jobs
        write extensions daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale
        write policy poddisruptionbudgets
        write networking.k8s.io ingresses,networkpolicies
        create,delete,deletecollection,get,list,patch,update,watch coordination.k8s.io leases
        write resource.k8s.io resourceclaims,resourceclaimtemplates"),
    part("system:aggregate-to-view", "view", "
        read core configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status
        read core bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status
        read core namespaces
        read core,events.k8s.io events
        read discovery.k8s.io endpointslices
        read apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status
        read autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status
        read batch cronjobs,cronjobs/status,jobs,jobs/status
        read extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,replicationcontrollers/scale
        read policy poddisruptionbudgets,poddisruptionbudgets/status
        read networking.k8s.io ingresses,ingresses/status,networkpolicies
        read resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates"),
    role("system:node", NODE_RULES),
    role("system:kubelet-api-admin", "
        read core nodes
        proxy core nodes
        * core nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats"),
    role("system:node-proxier", "
        list,watch core endpoints,services
        read core nodes
        create,patch,update core,events.k8s.io events
        list,watch networking.k8s.io servicecidrs
        list,watch discovery.k8s.io endpointslices"),
    role("system:kube-controller-manager", "
        create,patch,update core,events.k8s.io events
        create coordination.k8s.io leases
        get,update coordination.k8s.io leases kube-controller-manager
        create core secrets,serviceaccounts
        delete core secrets
        get core configmaps,namespaces,secrets,serviceaccounts
        update core secrets,serviceaccounts
        create authentication.k8s.io tokenreviews
        create authorization.k8s.io subjectaccessreviews
        list,watch * *
        create core serviceaccounts/token"),
    role("system:kube-scheduler", "
        create,patch,update core,events.k8s.io events
        create coordination.k8s.io leases
        get,list,update,watch coordination.k8s.io leases kube-scheduler
        create,delete,deletecollection,get,list,patch,update,watch coordination.k8s.io leasecandidates
        read core nodes
        delete,get,list,watch core pods
        create core bindings,pods/binding
        patch,update core pods/status
        read core replicationcontrollers,services
        read apps,extensions replicasets
        read apps statefulsets
        read policy poddisruptionbudgets
        read core persistentvolumeclaims,persistentvolumes
        create authentication.k8s.io tokenreviews
        create authorization.k8s.io subjectaccessreviews
        read storage.k8s.io csinodes
        read storage.k8s.io volumeattachments
        read core namespaces
        read storage.k8s.io csidrivers
        read storage.k8s.io csistoragecapacities
        read resource.k8s.io deviceclasses
        get,list,patch,update,watch resource.k8s.io resourceclaims
        get,list,patch,update,watch resource.k8s.io resourceclaims/status
        update core pods/finalizers
        read resource.k8s.io resourceslices
        create,delete resource.k8s.io resourceclaims
        patch,update resource.k8s.io resourceclaims/binding"),
    role("system:volume-scheduler", "
        get,list,patch,update,watch core persistentvolumes
        read storage.k8s.io storageclasses
        get,list,patch,update,watch core persistentvolumeclaims"),
    role("system:persistent-volume-provisioner", "
        create,delete,get,list,watch core persistentvolumes
        get,list,update,watch core persistentvolumeclaims
        read storage.k8s.io storageclasses
        watch core events
        create,patch,update core,events.k8s.io events"),
    role("system:heapster", "
        read core events,namespaces,nodes,pods
        read extensions deployments"),
    role("system:node-problem-detector", "
        get core nodes
        patch core nodes/status
        create,patch,update core,events.k8s.io events"),
    role("system:node-bootstrapper", "
        create,get,list,watch certificates.k8s.io certificatesigningrequests"),
    role("system:certificates.k8s.io:certificatesigningrequests:nodeclient", "
        create certificates.k8s.io certificatesigningrequests/nodeclient"),
    role("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "
        create certificates.k8s.io certificatesigningrequests/selfnodeclient"),
    role("system:certificates.k8s.io:legacy-unknown-approver", "
        approve certificates.k8s.io signers kubernetes.io/legacy-unknown"),
    role("system:certificates.k8s.io:kubelet-serving-approver", "
        approve certificates.k8s.io signers kubernetes.io/kubelet-serving"),
    role("system:certificates.k8s.io:kube-apiserver-client-approver", "
        approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client"),
    role("system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", "
        approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet"),
    role("system:kube-dns", "
        list,watch core endpoints,services"),
    role("system:coredns", "
        list,watch core endpoints,services,pods,namespaces
        list,watch discovery.k8s.io endpointslices"),
    role("system:auth-delegator", "
        create authentication.k8s.io tokenreviews
        create authorization.k8s.io subjectaccessreviews"),
    role("system:kube-aggregator", "
        read core endpoints,services"),
    role("system:service-account-issuer-discovery", "
        get path /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/"),
];

/// The ClusterRoles of controllers: `system:controller:<name>`, bound to the ServiceAccount of that name in
/// `kube-system`. All but one may besides write events.
pub const CONTROLLERS: &[(&str, &str)] = &[
    (
        "replication-controller",
        "
        get,list,update,watch core replicationcontrollers
        update core replicationcontrollers/status
        update core replicationcontrollers/finalizers
        create,delete,list,patch,watch core pods",
    ),
    (
        "clusterrole-aggregation-controller",
        "
        escalate,get,list,patch,update,watch rbac.authorization.k8s.io clusterroles",
    ),
    (
        "endpoint-controller",
        "
        read core pods,services
        create,delete,get,list,update,watch core endpoints
        create core endpoints/restricted",
    ),
    (
        "endpointslice-controller",
        "
        read core nodes,pods,services
        update core services/finalizers
        create,delete,get,list,update,watch discovery.k8s.io endpointslices",
    ),
    (
        "endpointslicemirroring-controller",
        "
        read core endpoints,services
        update core services/finalizers
        update core endpoints/finalizers
        create,delete,get,list,update,watch discovery.k8s.io endpointslices",
    ),
    (
        "generic-garbage-collector",
        "
        delete,get,list,patch,update,watch * *",
    ),
    (
        "namespace-controller",
        "
        delete,get,list,watch core namespaces
        update core namespaces/finalize,namespaces/status
        delete,deletecollection,get,list,watch * *",
    ),
    (
        "service-account-controller",
        "
        create,get,list,watch core serviceaccounts
        list,watch core namespaces",
    ),
    (
        "legacy-service-account-token-cleaner",
        "
        get core configmaps kube-apiserver-legacy-service-account-token-tracking
        delete,patch core secrets",
    ),
    (
        "root-ca-cert-publisher",
        "
        create,get,list,update,watch core configmaps
        list,watch core namespaces",
    ),
    (
        "node-controller",
        "
        delete,get,list,patch,update,watch core nodes
        patch,update core nodes/status
        patch,update core pods/status
        delete,get,list,watch core pods
        read coordination.k8s.io leases",
    ),
    (
        "service-cidrs-controller",
        "
        get,list,patch,update,watch networking.k8s.io servicecidrs
        patch,update networking.k8s.io servicecidrs/finalizers
        patch,update networking.k8s.io servicecidrs/status
        read networking.k8s.io ipaddresses",
    ),
    (
        "pod-garbage-collector",
        "
        delete,list,watch core pods
        get,list core nodes
        patch core pods/status",
    ),
    (
        "resourcequota-controller",
        "
        list,watch * *
        update core resourcequotas/status",
    ),
    (
        "validatingadmissionpolicy-status-controller",
        "
        read admissionregistration.k8s.io validatingadmissionpolicies
        get,patch,update admissionregistration.k8s.io validatingadmissionpolicies/status",
    ),
    (
        "attachdetach-controller",
        "
        list,watch core persistentvolumeclaims,persistentvolumes
        read core nodes
        patch,update core nodes/status
        list,watch core pods
        create,delete,get,list,watch storage.k8s.io volumeattachments
        read storage.k8s.io csidrivers
        read storage.k8s.io csinodes",
    ),
    (
        "certificate-controller",
        "
        delete,get,list,watch certificates.k8s.io certificatesigningrequests
        update certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status
        approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet
        sign certificates.k8s.io signers kubernetes.io/kube-apiserver-client,kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown
        create authorization.k8s.io subjectaccessreviews",
    ),
    (
        "ephemeral-volume-controller",
        "
        read core pods
        update core pods/finalizers
        create,get,list,watch core persistentvolumeclaims",
    ),
    (
        "expand-controller",
        "
        get,list,patch,update,watch core persistentvolumes
        patch,update core persistentvolumeclaims/status
        read core persistentvolumeclaims",
    ),
    (
        "persistent-volume-binder",
        "
        create,delete,get,list,update,watch core persistentvolumes
        update core persistentvolumes/status
        get,list,update,watch core persistentvolumeclaims
        update core persistentvolumeclaims/status
        create,delete,get,list,watch core pods
        read storage.k8s.io storageclasses
        list,watch core nodes
        watch core events",
    ),
    (
        "pv-protection-controller",
        "
        get,list,update,watch core persistentvolumes",
    ),
    (
        "pvc-protection-controller",
        "
        get,list,update,watch core persistentvolumeclaims
        update core persistentvolumeclaims/status
        read core pods",
    ),
    (
        "volumeattributesclass-protection-controller",
        "
        read core persistentvolumeclaims
        read core persistentvolumes
        get,list,update,watch storage.k8s.io volumeattributesclasses",
    ),
    (
        "deployment-controller",
        "
        get,list,update,watch apps,extensions deployments
        patch,update apps,extensions deployments/status
        update apps,extensions deployments/finalizers
        create,delete,get,list,patch,update,watch apps,extensions replicasets
        get,list,update,watch core pods",
    ),
    (
        "statefulset-controller",
        "
        list,watch core pods
        read apps statefulsets
        update apps statefulsets/status
        update apps statefulsets/finalizers
        create,delete,get,patch,update core pods
        create,delete,get,list,patch,update,watch apps controllerrevisions
        create,get,list,watch core persistentvolumeclaims
        delete,update core persistentvolumeclaims
        update core pods/finalizers",
    ),
    (
        "daemon-set-controller",
        "
        read apps,extensions daemonsets
        update apps,extensions daemonsets/status
        update apps,extensions daemonsets/finalizers
        list,watch core nodes
        create,delete,list,patch,watch core pods
        create core pods/binding
        create,delete,get,list,patch,update,watch apps controllerrevisions",
    ),
    (
        "job-controller",
        "
        get,list,patch,update,watch batch jobs
        update batch jobs/status
        update batch jobs/finalizers
        create,delete,list,patch,watch core pods",
    ),
    (
        "cronjob-controller",
        "
        get,list,update,watch batch cronjobs
        create,delete,get,list,patch,update,watch batch jobs
        update batch cronjobs/status
        update batch cronjobs/finalizers
        delete,list,watch core pods",
    ),
    (
        "ttl-after-finished-controller",
        "
        delete,get,list,watch batch jobs",
    ),
    (
        "disruption-controller",
        "
        read apps,extensions deployments
        read apps,extensions replicasets
        read core replicationcontrollers
        read policy poddisruptionbudgets
        read apps statefulsets
        update policy poddisruptionbudgets/status
        patch,update core pods/status
        get * */scale",
    ),
    (
        "horizontal-pod-autoscaler",
        "
        read autoscaling horizontalpodautoscalers
        update autoscaling horizontalpodautoscalers/status
        get,update * */scale
        list,watch core pods
        list,watch metrics.k8s.io pods
        read custom.metrics.k8s.io *
        read external.metrics.k8s.io *",
    ),
    (
        "replicaset-controller",
        "
        get,list,update,watch apps,extensions replicasets
        patch,update apps,extensions replicasets/status
        update apps,extensions replicasets/finalizers
        create,delete,get,list,patch,watch core pods",
    ),
];

/// Kubernetes' default Roles: leases by which one scheduler and one controller manager leads, and what
/// aggregated API servers read about authentication.
pub const ROLES: &[RoleRow] = &[
    RoleRow {
        namespace: "kube-system",
        name: "extension-apiserver-authentication-reader",
        rules: "read core configmaps extension-apiserver-authentication",
    },
    RoleRow {
        namespace: "kube-system",
        name: "system::leader-locking-kube-controller-manager",
        rules: "
            watch core configmaps
            get,update core configmaps kube-controller-manager
            create coordination.k8s.io leases
            get,update coordination.k8s.io leases kube-controller-manager",
    },
    RoleRow {
        namespace: "kube-system",
        name: "system::leader-locking-kube-scheduler",
        rules: "
            create,get,list,update,watch coordination.k8s.io leases
            create,get,list,update,watch coordination.k8s.io leasecandidates",
    },
    RoleRow {
        namespace: "kube-system",
        name: "system:controller:bootstrap-signer",
        rules: "read core secrets",
    },
    RoleRow {
        namespace: "kube-system",
        name: "system:controller:token-cleaner",
        rules: "
            delete,get,list,watch core secrets
            create,patch,update core,events.k8s.io events",
    },
    RoleRow {
        namespace: "kube-public",
        name: "system:controller:bootstrap-signer",
        rules: "
            read core configmaps
            update core configmaps cluster-info
            create,patch,update core,events.k8s.io events",
    },
];
