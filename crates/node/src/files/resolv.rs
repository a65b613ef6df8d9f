//! The `/etc/resolv.conf` of a pod.

use crate::pod::local::LocalPod;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Most nameservers a resolver looks at.
const MAX_NAMESERVERS: usize = 3;
/// Most search domains, and most characters of all of them with the spaces between.
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
/// Most characters of one search domain.
const MAX_SEARCH_NAME: usize = 255;

/// What the node tells every pod about name resolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClusterDns<'a> {
    pub(crate) address: IpAddr,
    pub(crate) domain: &'a str,
}

/// A resolver configuration, taken apart.
#[derive(Clone, Debug, Default, PartialEq)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// The file's text, and what had to be left out (messages of `DNSConfigForming` events).
#[derive(Debug, PartialEq)]
pub(crate) struct ResolvConf {
    pub(crate) text: String,
    pub(crate) warnings: Vec<String>,
}

/// Makes the file for `pod`; `host` is the text of the node's own file.
pub(crate) fn resolv_conf(pod: &LocalPod, cluster: ClusterDns<'_>, host: &str) -> ResolvConf {
    let host = parse(host);
    let policy = pod.spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let mut resolver = match policy {
        "None" => Resolver::default(),
        "ClusterFirst" if !pod.host_network() => cluster_first(pod, cluster, &host),
        "ClusterFirstWithHostNet" => cluster_first(pod, cluster, &host),
        _ => host,
    };
    if let Some(config) = &pod.spec.dns_config {
        resolver.nameservers.extend(config.nameservers.iter().flatten().cloned());
        resolver.searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            resolver.options.retain(|known| known.split(':').next() != Some(name));
            resolver.options.push(match &option.value {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name.clone(),
            });
        }
    }
    render(resolver)
}

fn cluster_first(pod: &LocalPod, cluster: ClusterDns<'_>, host: &Resolver) -> Resolver {
    let ClusterDns { address, domain } = cluster;
    let own = [format!("{}.svc.{domain}", pod.namespace), format!("svc.{domain}"), domain.to_owned()];
    Resolver {
        nameservers: vec![address.to_string()],
        searches: own.into_iter().chain(host.searches.iter().cloned()).collect(),
        options: vec!["ndots:5".into()],
    }
}

/// Reads a resolver configuration; the last `search` line counts, a search for the root is dropped.
fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => {
                let names = words.filter(|name| *name != ".");
                // With and without the final dot it is the same domain, and counts once.
                resolver.searches = names.map(|name| name.strip_suffix('.').unwrap_or(name).into()).collect();
            }
            Some("options") => resolver.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    resolver
}

/// Removes repetitions, applies the limits and writes the file.
fn render(resolver: Resolver) -> ResolvConf {
    let mut warnings = Vec::new();
    let mut nameservers = unique(resolver.nameservers);
    if nameservers.len() > MAX_NAMESERVERS {
        nameservers.truncate(MAX_NAMESERVERS);
        let line = nameservers.join(" ");
        warnings.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {line}"
        ));
    }
    let all = unique(resolver.searches);
    let mut searches: Vec<String> = Vec::new();
    let mut length = 0;
    for name in all.iter().filter(|name| name.len() <= MAX_SEARCH_NAME).take(MAX_SEARCHES) {
        let longer = length + name.len() + usize::from(!searches.is_empty());
        if longer > MAX_SEARCH_CHARS {
            break;
        }
        length = longer;
        searches.push(name.clone());
    }
    if searches.len() < all.len() {
        let line = searches.join(" ");
        warnings.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {line}"
        ));
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text += &format!("search {}\n", searches.join(" "));
    }
    for server in nameservers {
        text += &format!("nameserver {server}\n");
    }
    if !resolver.options.is_empty() {
        text += &format!("options {}\n", resolver.options.join(" "));
    }
    ResolvConf { text, warnings }
}

fn unique(list: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    list.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::testing::pod_of;

    const HOST: &str = "# comment\nnameserver 1.1.1.1\nsearch example.com. example.com . svc.cluster.local\noptions rotate\n";

    fn check(spec: &str, expected: &str) {
        let pod = pod_of(&format!(r#"{{"containers": [] {spec}}}"#));
        let cluster = ClusterDns { address: "10.96.0.10".parse().unwrap(), domain: "cluster.local" };
        assert_eq!(
            resolv_conf(&pod, cluster, HOST),
            ResolvConf { text: expected.into(), warnings: Vec::new() },
            "{spec}"
        );
    }

    const CLUSTER: &str = "search ns.svc.cluster.local svc.cluster.local cluster.local example.com\nnameserver 10.96.0.10\noptions ndots:5\n";
    const NODE: &str = "search example.com svc.cluster.local\nnameserver 1.1.1.1\noptions rotate\n";

    #[test]
    fn policies() {
        check("", CLUSTER);
        check(r#", "dnsPolicy": "ClusterFirst""#, CLUSTER);
        check(r#", "dnsPolicy": "ClusterFirst", "hostNetwork": true"#, NODE);
        check(r#", "dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true"#, CLUSTER);
        check(r#", "dnsPolicy": "Default""#, NODE);
        check(
            r#", "dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}"#,
            "search a.b\nnameserver 9.9.9.9\noptions ndots:2 edns0\n",
        );
        check(
            r#", "dnsPolicy": "None", "dnsConfig": {"nameservers": ["9.9.9.9"], "searches": [".", "_tcp.a_b.example.com."]}"#,
            "search . _tcp.a_b.example.com.\nnameserver 9.9.9.9\n",
        );
        check(
            r#", "dnsConfig": {"nameservers": ["10.96.0.10"], "options": [{"name": "ndots", "value": "1"}]}"#,
            "search ns.svc.cluster.local svc.cluster.local cluster.local example.com\nnameserver 10.96.0.10\noptions ndots:1\n",
        );
    }

    #[test]
    fn limits_are_applied_and_reported() {
        let names = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
        let made = render(Resolver { nameservers: names(4), searches: names(40), options: Vec::new() });
        assert_eq!(made.warnings.len(), 2);
        assert_eq!(made.text.lines().count(), 4);
        assert_eq!(made.text.lines().next().unwrap().split(' ').count(), 33);
        let long = vec!["x".repeat(256), "y".repeat(255), "z".repeat(255)];
        let made = render(Resolver { searches: long, ..Resolver::default() });
        assert!(!made.text.contains('x') && made.text.contains('z') && made.warnings.len() == 1);
    }
}
