//! `/configz`: the kubelet's configuration as far as this node has the same settings. None of them can be changed.

use super::access::{AUTHORIZED_TTL, TOKEN_TTL, UNAUTHORIZED_TTL};
use crate::config::AgentConfig;
use crate::time::go_duration;
use serde_json::{Value, json};

/// The document for this configuration. What it does not name the node has not got.
pub(super) fn configz(config: &AgentConfig) -> Value {
    let kubelet = json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": config.listen.ip(),
        "port": config.listen.port(),
        "authentication": {
            "x509": {},
            "webhook": {"enabled": true, "cacheTTL": go_duration(TOKEN_TTL)},
            "anonymous": {"enabled": false},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {
                "cacheAuthorizedTTL": go_duration(AUTHORIZED_TTL),
                "cacheUnauthorizedTTL": go_duration(UNAUTHORIZED_TTL),
            },
        },
        "clusterDomain": config.cluster_domain,
        "clusterDNS": [config.cluster_dns],
        "maxPods": config.max_pods,
        "resolvConf": config.resolv_conf,
        "failSwapOn": false,
        "memorySwap": {"swapBehavior": "NoSwap"},
        "enableServer": true,
        "enableDebuggingHandlers": true,
        "enableSystemLogHandler": true,
        "enableSystemLogQuery": false,
        "registerNode": true,
    });
    let mut kubelet = kubelet;
    let given = config.eviction_hard.to_string();
    for (signal, threshold) in given.split(',').filter_map(|part| part.split_once('<')) {
        kubelet["evictionHard"][signal] = threshold.into();
    }
    json!({"kubeletconfig": kubelet})
}
