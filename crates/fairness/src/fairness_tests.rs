//! Configurations, and where requests go.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::dump::Clock;
use crate::matching::Target;
use crate::meter::Reason;
use crate::queues::Ticket;

fn schema(name: &str, level: &str, precedence: i32, user: &str, method: Option<&str>) -> FlowSchema {
    let method = method.map(|method| json!({"type": method}));
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "spec": {
            "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence,
            "distinguisherMethod": method,
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": user}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "resourceRules": [{
                    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
                }],
            }],
        },
    }))
    .unwrap()
}

fn level(name: &str, spec: Value) -> PriorityLevelConfiguration {
    serde_json::from_value(json!({"metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": spec}))
        .unwrap()
}

fn reject(name: &str, shares: u32) -> PriorityLevelConfiguration {
    let limited = json!({"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}});
    level(name, json!({"type": "Limited", "limited": limited}))
}

fn queue(name: &str, shares: u32, lendable: u32) -> PriorityLevelConfiguration {
    let queuing = json!({"queues": 64, "handSize": 6, "queueLengthLimit": 50});
    let limited = json!({
        "nominalConcurrencyShares": shares, "lendablePercent": lendable,
        "limitResponse": {"type": "Queue", "queuing": queuing},
    });
    level(name, json!({"type": "Limited", "limited": limited}))
}

fn mandatory() -> Mandatory {
    Mandatory {
        schemas: vec![
            schema("exempt", "exempt", 1, "root", None),
            schema("catch-all", "catch-all", 10_000, "u", Some("ByUser")),
        ],
        levels: vec![level("exempt", json!({"type": "Exempt"})), reject("catch-all", 5)],
    }
}

struct Server {
    fairness: Fairness,
    now: Instant,
}

impl Server {
    fn new(total: u32) -> Self {
        let now = Instant::now();
        Self { fairness: Fairness::new(now, total, 7, mandatory()), now }
    }

    fn configure(&self, schemas: &[FlowSchema], levels: &[PriorityLevelConfiguration]) -> Settled {
        self.fairness.configure(self.now, schemas, levels)
    }

    fn classify(&self, user: &str) -> Classified {
        let target = Target::Path("/x");
        self.fairness.classify(&Asked { user, groups: &[], verb: "get", target })
    }

    fn enter(&self, user: &str) -> Result<(Arc<Level>, Ticket, bool), Reason> {
        let classified = self.classify(user);
        let level = classified.level().clone();
        let (entered, woken) = classified.enter(self.now, 1, Arc::default(), || Box::new(|| {}));
        assert!(woken.is_empty());
        match entered {
            Entered::Started(ticket) => Ok((level, ticket, true)),
            Entered::Waiting(ticket) => Ok((level, ticket, false)),
            Entered::Rejected(reason) => Err(reason),
        }
    }

    fn seats(&self, level: &str) -> u32 {
        self.fairness.plan().levels[level].state().queues.seats
    }

    fn where_is(&self, user: &str) -> (String, String) {
        let classified = self.classify(user);
        (classified.schema_uid().to_owned(), classified.level_uid().to_owned())
    }
}

fn pair(schema: &str, level: &str) -> (String, String) {
    (format!("uid-{schema}"), format!("uid-{level}"))
}

#[test]
fn the_first_schema_that_matches_decides() {
    let server = Server::new(100);
    assert_eq!(server.where_is("root"), pair("exempt", "exempt"));
    assert_eq!(server.where_is("u"), pair("catch-all", "catch-all"));
    assert_eq!(server.where_is("nobody's"), pair("catch-all", "catch-all"));
    let schemas = [
        schema("zzz", "a", 10_000, "z", None),
        schema("later", "a", 500, "u", None),
        schema("b", "b", 400, "u", None),
        schema("a", "a", 400, "u", None),
        schema("dangling", "none", 2, "u", None),
    ];
    server.configure(&schemas, &[reject("a", 1), reject("b", 1)]);
    assert_eq!(server.where_is("u"), pair("a", "a"), "names decide where the precedence is the same");
    assert_eq!(server.where_is("nobody's"), pair("catch-all", "catch-all"), "whatever comes last");
    server.configure(&schemas[..3], &[reject("a", 1), reject("b", 1)]);
    assert_eq!(server.where_is("u"), pair("b", "b"));
    server.configure(&schemas[..2], &[reject("b", 1)]);
    assert_eq!(server.where_is("u"), pair("catch-all", "catch-all"));
}

#[test]
fn a_broken_level_is_told_of_and_not_used() {
    let server = Server::new(100);
    let broken = level("a", json!({"type": "Limited"}));
    let settled = server.configure(&[schema("s", "a", 400, "u", None)], &[broken]);
    assert_eq!(settled.broken, [("a".to_owned(), crate::spec::BROKEN)]);
    assert_eq!(server.where_is("u"), pair("catch-all", "catch-all"));
}

#[test]
fn a_level_of_one_seat_turns_the_second_away() {
    let server = Server::new(2);
    server.configure(&[schema("s", "a", 400, "u", None)], &[reject("a", 5)]);
    let (level, ticket, _) = server.enter("u").unwrap();
    assert_eq!(server.enter("u").unwrap_err(), Reason::ConcurrencyLimit);
    server.enter("other").unwrap();
    assert!((0..100).all(|_| server.enter("root").is_ok()));
    drop(level.finish(server.now, &ticket));
    server.enter("u").unwrap();
}

#[test]
fn what_is_under_way_survives_every_change() {
    let mut server = Server::new(2);
    let schemas = [schema("s", "a", 400, "u", Some("ByUser"))];
    server.configure(&schemas, &[queue("a", 5, 0)]);
    let (level, first, _) = server.enter("u").unwrap();
    let (_, second, started) = server.enter("u").unwrap();
    assert!(!started);
    // The level goes, and is held until it is idle; new requests go elsewhere.
    server.configure(&[], &[]);
    assert_eq!(server.where_is("u"), pair("catch-all", "catch-all"));
    assert!(server.fairness.dump_levels().contains("a,"));
    assert_eq!(level.finish(server.now, &first).len(), 1, "the second is woken");
    drop(level.finish(server.now, &second));
    server.now += Duration::from_secs(10);
    drop(server.fairness.adjust(server.now));
    assert!(!server.fairness.dump_levels().lines().any(|line| line.starts_with("a,")));
    // It comes back as a new one.
    server.configure(&schemas, &[queue("a", 5, 0)]);
    assert_eq!(server.where_is("u"), pair("s", "a"));
    assert!(server.enter("u").unwrap().2);
}

#[test]
fn busy_levels_borrow_until_the_owner_needs_its_seats() {
    let mut server = Server::new(40);
    let schemas = [schema("a", "a", 400, "u", Some("ByUser")), schema("b", "b", 400, "v", Some("ByUser"))];
    server.configure(&schemas, &[queue("a", 10, 50), queue("b", 10, 50)]);
    let nominal = |level: &str| server.fairness.plan().levels[level].state().bounds.nominal;
    assert_eq!((nominal("a"), nominal("b"), nominal("catch-all")), (16, 16, 8));
    let held: Vec<_> = (0..40).map(|_| server.enter("u").unwrap()).collect();
    server.now += Duration::from_secs(10);
    let woken = server.fairness.adjust(server.now);
    let (a, b) = (server.seats("a"), server.seats("b"));
    assert!(a > 20 && b >= 8 && a + b + server.seats("catch-all") <= 41, "{a} {b}");
    assert!(!woken.is_empty());
    // The other wants its own back: what ends is not replaced, until both have what is theirs.
    let others: Vec<_> = (0..40).map(|_| server.enter("v").unwrap()).collect();
    for _ in 0..30 {
        server.now += Duration::from_secs(10);
        drop(server.fairness.adjust(server.now));
    }
    assert_eq!((server.seats("a"), server.seats("b")), (16, 16));
    drop((held, others));
}

#[test]
fn flows_have_queues_of_their_own() {
    let server = Server::new(1);
    server.configure(&[schema("s", "a", 400, "*", Some("ByUser"))], &[queue("a", 100, 0)]);
    let hash = |user: &str| server.classify(user).hash;
    assert_eq!(hash("u"), hash("u"));
    assert_ne!(hash("u"), hash("v"));
    assert_eq!(server.classify("u").flow, "u");
}

#[test]
fn metrics_have_kubernetes_names() {
    let server = Server::new(100);
    let (level, ticket, _) = server.enter("u").unwrap();
    let text = server.fairness.metrics();
    let check = |line: &str| {
        let line = format!("apiserver_flowcontrol_{line}");
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    };
    let labels = r#"flow_schema="catch-all",priority_level="catch-all""#;
    check(r#"nominal_limit_seats{priority_level="catch-all"} 100"#);
    check(&format!("dispatched_requests_total{{{labels}}} 1"));
    check(&format!("current_executing_requests{{{labels}}} 1"));
    check(&format!("current_inqueue_requests{{{labels}}} 0"));
    check(&format!(r#"request_wait_duration_seconds_bucket{{{labels},execute="true",le="0.005"}} 0"#));
    assert!(!text.contains("rejected_requests_total{"));
    drop(level.finish(server.now, &ticket));
}

#[test]
fn dumps_tell_of_requests() {
    let server = Server::new(1);
    server.configure(&[schema("s", "a", 400, "u", Some("ByUser"))], &[queue("a", 100, 0)]);
    server.enter("u").unwrap();
    server.enter("u").unwrap();
    let clock = Clock { now: server.now, wall: "2026-01-02T03:04:05Z".parse().unwrap() };
    let requests = server.fairness.dump_requests(clock, true);
    let lines: Vec<&str> = requests.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].ends_with("SubResource"));
    assert!(lines[1].contains("0001-01-01T00:00:00Z") && lines[2].contains("-1,"), "{requests}");
    assert_eq!(server.fairness.dump_queues().lines().count(), 3);
    let levels = server.fairness.dump_levels();
    let line = levels.lines().find(|line| line.starts_with("a,")).unwrap();
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    assert_eq!(cells, ["a", "1", "false", "false", "1", "1", "1", "0", "0", "0"]);
}

/// What the way in and out costs a request that need not wait: `cargo test --release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn bench() {
    const ROUNDS: u32 = 100_000;
    let server = Server::new(600);
    let mut schemas: Vec<FlowSchema> = (0..11)
        .map(|i| schema(&format!("s{i}"), "a", 100 + i, &format!("user-{i}"), Some("ByUser")))
        .collect();
    schemas.push(schema("last", "a", 500, "u", Some("ByUser")));
    server.configure(&schemas, &[queue("a", 100, 0)]);
    let details = || {
        let text = |text: &str| text.to_owned();
        let (user, path) = (text("u"), text("/api/v1/namespaces/default/pods/p"));
        Arc::new(Details { user, path, verb: text("get"), resource: text("pods"), ..Details::default() })
    };
    // Others are served meanwhile.
    let held: Vec<_> = (0..20).map(|_| server.enter("u").unwrap()).collect();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let classified = server.classify("u");
        let level = classified.level().clone();
        let (entered, _) = classified.enter(Instant::now(), 1, details(), || Box::new(|| {}));
        let Entered::Started(ticket) = entered else { panic!("there are seats") };
        drop(level.finish(Instant::now(), &ticket));
    }
    println!("{:?} for each request", start.elapsed() / ROUNDS);
    drop(held);
}
