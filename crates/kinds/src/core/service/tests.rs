//! Services through the whole strategy, in the order in which the pipeline calls it.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::ServiceStrategy;
use crate::shared::testing::with_context;
use skiff_machinery::{AddressSpace, AllocationError, Claim, Object, Strategy, addresses};

/// A cluster with these ranges; searches start at the first dynamic number.
struct Cluster {
    cidrs: Vec<IpNet>,
    taken: BTreeSet<Claim>,
    dry_run: bool,
}

impl Cluster {
    fn new(cidrs: &[&str]) -> Self {
        let cidrs = cidrs.iter().map(|cidr| addresses::cidr(cidr).unwrap()).collect();
        Self { cidrs, taken: BTreeSet::new(), dry_run: false }
    }

    fn create(&mut self, spec: Value) -> Result<Object, String> {
        let mut object = Object::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
        ServiceStrategy.default(&mut object);
        with_context(|cx| ServiceStrategy.prepare_create(cx, &mut object));
        self.finish(object, None)
    }

    fn update(&mut self, old: &Object, change: impl FnOnce(&mut Object)) -> Result<Object, String> {
        let mut object = old.clone();
        change(&mut object);
        ServiceStrategy.default(&mut object);
        with_context(|cx| ServiceStrategy.prepare_update(cx, &mut object, old));
        self.finish(object, Some(old))
    }

    fn finish(&mut self, mut object: Object, old: Option<&Object>) -> Result<Object, String> {
        let claims = with_context(|cx| ServiceStrategy.allocate(cx, &mut object, old, self));
        let claims = claims.map_err(|error| error.to_string())?;
        let errors = with_context(|cx| match old {
            None => ServiceStrategy.validate(cx, &object),
            Some(old) => ServiceStrategy.validate_update(cx, &object, old),
        });
        if !errors.is_empty() {
            return Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        }
        if !self.dry_run {
            self.taken.extend(claims);
        }
        Ok(object)
    }
}

impl AddressSpace for Cluster {
    fn service_cidrs(&self) -> Vec<IpNet> {
        self.cidrs.clone()
    }

    fn is_taken(&self, claim: Claim) -> bool {
        self.taken.contains(&claim)
    }

    fn pick(&mut self, _: u64) -> u64 {
        0
    }

    fn dry_run(&self) -> bool {
        self.dry_run
    }
}

fn single() -> Cluster {
    Cluster::new(&["10.96.0.0/12"])
}

fn dual() -> Cluster {
    Cluster::new(&["10.96.0.0/12", "fd00::/108"])
}

fn http() -> Value {
    json!([{"port": 80}])
}

fn node_ports(object: &Object) -> Vec<i64> {
    super::facts::node_ports(object)
}

#[test]
fn fills_defaults_and_allocates() {
    let service = single().create(json!({"ports": http(), "selector": {"app": "a"}})).unwrap();
    let expected = json!({
        "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
        "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "selector": {"app": "a"},
        "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
    });
    assert_eq!(service.get(&["spec"]), Some(&expected));
    assert_eq!(service.get(&["status"]), Some(&json!({"loadBalancer": {}})));
}

#[test]
fn refuses_bad_specs_in_kubernetes_words() {
    let check = |spec: Value, text: &str| assert_eq!(single().create(spec).unwrap_err(), text);
    check(json!({}), "spec.ports: Required value");
    check(
        json!({"ports": [{"port": 0}]}),
        concat!(
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, ",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
    );
    check(
        json!({"ports": [{"port": 80}, {"port": 443, "name": "https"}]}),
        "spec.ports[0].name: Required value",
    );
    check(
        json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}),
        r#"spec.ports[1].name: Duplicate value: "a""#,
    );
    check(
        json!({"ports": http(), "type": "Foo"}),
        r#"spec.type: Unsupported value: "Foo": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#,
    );
    check(
        json!({"ports": [{"port": 80, "protocol": "ICMP"}]}),
        r#"spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP""#,
    );
    check(
        json!({"ports": [{"port": 80, "nodePort": 30080}]}),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    );
    check(json!({"type": "ExternalName"}), "spec.externalName: Required value");
    check(
        json!({"type": "ExternalName", "externalName": "a.example", "clusterIP": "10.96.0.9"}),
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
    );
    check(
        json!({"type": "NodePort", "ports": http(), "clusterIP": "None"}),
        r#"spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services"#,
    );
    check(
        json!({"ports": http(), "externalTrafficPolicy": "Local"}),
        r#"spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services"#,
    );
    check(
        json!({"ports": http(), "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
    );
    check(
        json!({"ports": http(), "externalIPs": ["127.0.0.1"]}),
        r#"spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#,
    );
    check(
        json!({"ports": http(), "clusterIP": "10.96.0.300"}),
        r#"spec.clusterIPs[0]: Invalid value: "10.96.0.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#,
    );
}

#[test]
fn names_why_an_address_cannot_be_had() {
    let mut cluster = single();
    let spec = json!({"ports": http(), "clusterIP": "10.96.0.1"});
    cluster.create(spec.clone()).unwrap();
    assert_eq!(
        cluster.create(spec).unwrap_err(),
        r#"spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated"#
    );
    assert!(
        cluster.create(json!({"ports": http(), "clusterIP": "10.0.0.1"})).unwrap_err().contains(
            "failed to allocate IP 10.0.0.1: the provided network does not match the current range"
        )
    );
    assert!(cluster.create(json!({"ports": http(), "clusterIP": "10.96.0.0"})).is_err());
}

#[test]
fn full_ranges_are_the_servers_fault() {
    let mut cluster = Cluster::new(&["10.0.0.0/30"]);
    for _ in 0..2 {
        cluster.create(json!({"ports": http()})).unwrap();
    }
    let mut object = Object::from_value(json!({"spec": {"ports": [], "type": "ClusterIP"}})).unwrap();
    let result = with_context(|cx| ServiceStrategy.allocate(cx, &mut object, None, &mut cluster));
    let text = "failed to allocate a serviceIP: range is full".to_owned();
    assert_eq!(result, Err(AllocationError::Exhausted(text)));
}

#[test]
fn node_ports_are_chosen_shared_and_refused() {
    let mut cluster = single();
    let dns = json!([
        {"name": "a", "port": 53, "protocol": "UDP"},
        {"name": "b", "port": 53, "protocol": "TCP"},
        {"name": "c", "port": 80},
    ]);
    let service = cluster.create(json!({"type": "NodePort", "ports": dns})).unwrap();
    assert_eq!(node_ports(&service), [30086, 30086, 30087]);
    assert_eq!(service.str(&["spec", "externalTrafficPolicy"]), "Cluster");

    let fixed = |port: i64| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    cluster.create(fixed(30080)).unwrap();
    assert_eq!(
        cluster.create(fixed(30080)).unwrap_err(),
        "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    assert_eq!(
        cluster.create(fixed(80)).unwrap_err(),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"
    );
    let twice =
        json!([{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30001}]);
    assert_eq!(
        cluster.create(json!({"type": "NodePort", "ports": twice})).unwrap_err(),
        "spec.ports[1].nodePort: Invalid value: 30001: provided port is already allocated"
    );
}

#[test]
fn load_balancers_get_a_health_check_port() {
    let mut cluster = single();
    let spec = json!({"type": "LoadBalancer", "ports": http(), "externalTrafficPolicy": "Local"});
    let service = cluster.create(spec).unwrap();
    assert_eq!(node_ports(&service), [30086]);
    assert_eq!(service.get(&["spec", "healthCheckNodePort"]), Some(&json!(30087)));
    let moved = cluster.update(&service, |s| s.set(&["spec", "healthCheckNodePort"], 30500));
    assert_eq!(moved.unwrap_err(), "spec.healthCheckNodePort: Forbidden: field is immutable");
    let cluster_wide =
        cluster.update(&service, |s| s.set(&["spec", "externalTrafficPolicy"], "Cluster")).unwrap();
    assert_eq!(cluster_wide.get(&["spec", "healthCheckNodePort"]), None);
}

#[test]
fn dry_run_searches_nothing() {
    let mut cluster = single();
    cluster.dry_run = true;
    let service = cluster.create(json!({"ports": http()})).unwrap();
    assert_eq!(service.str(&["spec", "clusterIP"]), "10.96.0.0");
    let ports =
        json!([{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "TCP"}]);
    let service = cluster.create(json!({"type": "NodePort", "ports": ports})).unwrap();
    let chosen: Vec<_> =
        (0..2).map(|at| service.get(&["spec", "ports"]).unwrap()[at]["nodePort"].clone()).collect();
    assert_eq!(chosen, [32769, 32770], "each port has one of its own");
}

#[test]
fn applying_the_same_manifest_keeps_what_was_allocated() {
    let mut cluster = single();
    let spec = json!({"type": "NodePort", "ports": http()});
    let service = cluster.create(spec.clone()).unwrap();
    let again = cluster.update(&service, |s| s.set(&["spec"], spec)).unwrap();
    assert_eq!(again, service);
}

#[test]
fn addresses_do_not_change() {
    let mut cluster = single();
    let service = cluster.create(json!({"ports": http()})).unwrap();
    let changed = cluster.update(&service, |s| s.set(&["spec", "clusterIP"], "10.96.0.7"));
    assert_eq!(
        changed.unwrap_err(),
        r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.7"]: may not change once set"#
    );
    let headless = cluster.update(&service, |s| s.set(&["spec", "clusterIP"], "None"));
    assert!(headless.unwrap_err().contains("may not change once set"));
    let cleared = cluster.update(&service, |s| s.set(&["spec", "clusterIP"], "")).unwrap();
    assert_eq!(cleared.str(&["spec", "clusterIP"]), "10.96.1.1");
}

#[test]
fn type_changes_release_and_allocate() {
    let mut cluster = single();
    let service = cluster.create(json!({"ports": http()})).unwrap();
    let to = |kind: &'static str| move |s: &mut Object| s.set(&["spec", "type"], kind);

    let node_port = cluster.update(&service, to("NodePort")).unwrap();
    assert_eq!(node_ports(&node_port), [30086]);
    assert_eq!(node_port.str(&["spec", "clusterIP"]), "10.96.1.1");

    let back = cluster.update(&node_port, to("ClusterIP")).unwrap();
    assert_eq!(back.get(&["spec"]), service.get(&["spec"]));

    let external = cluster
        .update(&node_port, |s| {
            s.set(&["spec", "type"], "ExternalName");
            s.set(&["spec", "externalName"], "a.example");
        })
        .unwrap();
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
        assert_eq!(external.get(&["spec", field]), None, "{field}");
    }
    assert_eq!(node_ports(&external), [0]);

    let again = cluster.update(&external, to("ClusterIP")).unwrap();
    assert_eq!(again.str(&["spec", "clusterIP"]), "10.96.1.2");
}

#[test]
fn families_follow_the_policy() {
    let families = |service: &Object| service.get(&["spec", "ipFamilies"]).cloned().unwrap();
    let both = |policy: &str| json!({"ports": http(), "ipFamilyPolicy": policy});

    let service = dual().create(both("RequireDualStack")).unwrap();
    assert_eq!(service.get(&["spec", "clusterIPs"]), Some(&json!(["10.96.1.1", "fd00::101"])));
    assert_eq!(
        single().create(both("RequireDualStack")).unwrap_err(),
        r#"spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services"#
    );
    assert_eq!(families(&single().create(both("PreferDualStack")).unwrap()), json!(["IPv4"]));
    let v6 = json!({"ports": http(), "ipFamilies": ["IPv6"]});
    assert_eq!(
        single().create(v6.clone()).unwrap_err(),
        r#"spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster"#
    );
    assert_eq!(dual().create(v6).unwrap().str(&["spec", "clusterIP"]), "fd00::101");

    let headless = single().create(json!({"clusterIP": "None"})).unwrap();
    assert_eq!(headless.str(&["spec", "ipFamilyPolicy"]), "RequireDualStack");
    assert_eq!(families(&headless), json!(["IPv4", "IPv6"]));
    let selecting = single().create(json!({"clusterIP": "None", "selector": {"a": "b"}})).unwrap();
    assert_eq!(selecting.str(&["spec", "ipFamilyPolicy"]), "SingleStack");
    assert_eq!(families(&selecting), json!(["IPv4"]));
}

#[test]
fn second_families_come_and_go() {
    let mut cluster = dual();
    let service = cluster.create(json!({"ports": http()})).unwrap();
    let policy = |policy: &'static str| move |s: &mut Object| s.set(&["spec", "ipFamilyPolicy"], policy);
    let both = cluster.update(&service, policy("PreferDualStack")).unwrap();
    assert_eq!(both.get(&["spec", "clusterIPs"]), Some(&json!(["10.96.1.1", "fd00::101"])));
    let one = cluster.update(&both, policy("SingleStack")).unwrap();
    assert_eq!(one.get(&["spec", "clusterIPs"]), Some(&json!(["10.96.1.1"])));
    assert_eq!(one.get(&["spec", "ipFamilies"]), Some(&json!(["IPv4"])));
    let reduced = cluster.update(&both, |s| s.set(&["spec", "ipFamilies"], json!(["IPv4"])));
    assert!(reduced.unwrap_err().contains("must be 'SingleStack' to release the secondary IP family"));
}

#[test]
fn status_belongs_to_load_balancers() {
    let check = |kind: &str, point: Value, text: &str| {
        let object = json!({"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [point]}}});
        let object = Object::from_value(object).unwrap();
        let errors = with_context(|cx| ServiceStrategy.validate_status(cx, &object, &object));
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), text);
    };
    let path = "status.loadBalancer.ingress";
    check("LoadBalancer", json!({"ip": "192.0.2.1", "ipMode": "VIP"}), "");
    check(
        "ClusterIP",
        json!({"hostname": "a"}),
        &format!("{path}: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"),
    );
    check(
        "LoadBalancer",
        json!({"ip": "192.0.2.1"}),
        &format!("{path}[0].ipMode: Required value: must be specified when `ip` is set"),
    );
    check(
        "LoadBalancer",
        json!({"hostname": "192.0.2.1"}),
        &format!("{path}[0].hostname: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address"),
    );
}

#[test]
fn warns_of_what_is_ignored() {
    let check = |spec: Value, warnings: &[&str]| {
        let mut object = Object::from_value(json!({"spec": spec})).unwrap();
        ServiceStrategy.default(&mut object);
        assert_eq!(ServiceStrategy.warnings(&object, None), warnings);
    };
    check(json!({"ports": http()}), &[]);
    check(json!({"clusterIP": "None", "clusterIPs": ["None"]}), &[]);
    check(
        json!({"clusterIPs": ["None"], "sessionAffinity": "ClientIP"}),
        &["spec.SessionAffinity is ignored for headless services"],
    );
    check(
        json!({"externalName": "a.example"}),
        &["spec.externalName is ignored when spec.type is not \"ExternalName\""],
    );
    check(
        json!({"trafficDistribution": "PreferClose"}),
        &["spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""],
    );
    check(
        json!({"clusterIPs": ["FD00::1"]}),
        &[
            "spec.clusterIPs[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
        ],
    );
}
