//! The `/etc/hosts` of a pod.

use crate::pod::local::LocalPod;
use std::net::IpAddr;

const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HOST_NETWORK_HEADER: &str = "# Kubernetes-managed hosts file (host network).\n";
const LOCAL_NAMES: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
";

/// The pod's fully qualified name, when its specification gives it a subdomain.
pub(crate) fn fqdn(pod: &LocalPod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.subdomain.as_deref().filter(|name| !name.is_empty())?;
    Some(format!("{}.{subdomain}.{}.svc.{cluster_domain}", pod.hostname(), pod.namespace))
}

/// The host name that programs in the pod see.
pub(crate) fn kernel_hostname(pod: &LocalPod, cluster_domain: &str) -> String {
    match fqdn(pod, cluster_domain) {
        Some(fqdn) if pod.spec.set_hostname_as_fqdn == Some(true) && pod.spec.hostname_override.is_none() => {
            fqdn
        }
        _ => pod.hostname(),
    }
}

/// The file's text; `host` is the node's own file, which a pod on the node's network sees.
pub(crate) fn hosts(pod: &LocalPod, addresses: &[IpAddr], cluster_domain: &str, host: &str) -> String {
    let mut text = String::new();
    if pod.host_network() {
        text += HOST_NETWORK_HEADER;
        text += host;
    } else {
        text += HEADER;
        text += LOCAL_NAMES;
        let hostname = pod.hostname();
        for ip in addresses {
            text += &match fqdn(pod, cluster_domain) {
                Some(fqdn) => format!("{ip}\t{fqdn}\t{hostname}\n"),
                None => format!("{ip}\t{hostname}\n"),
            };
        }
    }
    let aliases = pod.spec.host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text += "\n# Entries added by HostAliases.\n";
        for alias in aliases {
            text += &format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    fn check(spec: &str, expected_tail: &str) {
        let pod = pod_of(&format!(r#"{{"containers": [] {spec}}}"#));
        let text = hosts(&pod, &["10.244.0.5".parse().unwrap()], "cluster.local", "127.0.0.1 localhost\n");
        assert!(text.starts_with("# Kubernetes-managed hosts file"), "{text}");
        assert!(text.ends_with(expected_tail), "{text}");
    }

    #[test]
    fn names_the_pod() {
        check("", "\n10.244.0.5\tp\n");
        check(r#", "hostname": "h""#, "\n10.244.0.5\th\n");
        check(r#", "hostname": "h", "subdomain": "s""#, "\n10.244.0.5\th.s.ns.svc.cluster.local\th\n");
        check(r#", "hostNetwork": true"#, "(host network).\n127.0.0.1 localhost\n");
        check(
            r#", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]"#,
            "\tp\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n",
        );
    }

    #[test]
    fn host_names() {
        let check = |spec: &str, expected: &str| {
            let pod = pod_of(&format!(r#"{{"containers": [] {spec}}}"#));
            assert_eq!(kernel_hostname(&pod, "c.l"), expected);
        };
        check("", "p");
        check(r#", "subdomain": "s""#, "p");
        check(r#", "subdomain": "s", "setHostnameAsFQDN": true"#, "p.s.ns.svc.c.l");
    }
}
