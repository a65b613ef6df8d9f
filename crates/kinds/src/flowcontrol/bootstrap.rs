//! The objects that every cluster has, as Kubernetes 1.36 makes them: mandatory ones, whose specs are fixed, and suggested
//! ones, which are kept current as long as nobody changes them.

use serde_json::{Value, json};
use skiff_machinery::Object;

/// The group.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// `"true"` on what later versions may change.
pub const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The level without a limit, and the FlowSchema that leads administrators there.
pub const EXEMPT: &str = "exempt";
/// The level, and FlowSchema, of what nothing else matches.
pub const CATCH_ALL: &str = "catch-all";
/// The condition of a FlowSchema that says whether its level is missing.
pub const DANGLING: &str = "Dangling";

/// The two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// FlowSchema.
    Schema,
    /// PriorityLevelConfiguration.
    Level,
}

impl Which {
    /// As in `kind`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Schema => "FlowSchema",
            Self::Level => "PriorityLevelConfiguration",
        }
    }

    /// As in paths.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Schema => "flowschemas",
            Self::Level => "prioritylevelconfigurations",
        }
    }
}

/// An object that every cluster has.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Its kind.
    pub which: Which,
    /// Its name.
    pub name: &'static str,
    /// Whether it is always there, with this spec.
    pub is_mandatory: bool,
    /// Its spec, defaulted.
    pub spec: Value,
}

/// All of them: levels before the FlowSchemas that lead to them.
pub fn given() -> Vec<Given> {
    let mut all = vec![Given {
        which: Which::Level,
        name: EXEMPT,
        is_mandatory: true,
        spec: json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
    }];
    all.extend(LIMITED.iter().map(level));
    all.extend(schemas());
    all
}

/// The mandatory object of a kind with a name.
pub fn mandatory(which: Which, name: &str) -> Option<Given> {
    // Most names are no mandatory one's: nothing is made for them.
    if !matches!(name, EXEMPT | CATCH_ALL) {
        return None;
    }
    given().into_iter().find(|given| given.which == which && given.name == name && given.is_mandatory)
}

/// The message and reason of the condition [`DANGLING`] of a FlowSchema that leads to a level.
pub fn dangling(level: &str, is_there: bool) -> (&'static str, String) {
    let refers = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    if is_there {
        ("Found", format!("{refers} and it exists"))
    } else {
        ("NotFound", format!("{refers} but there is no such object"))
    }
}

/// The spec that a stored object of this name is to have, and whether its annotation is to say that it is kept current;
/// `None` if it is as it should be. A suggested object is left alone once its annotation says so, or, without a
/// readable one, once somebody has changed its spec.
pub fn revision(given: &Given, stored: &Object) -> Option<(Value, bool)> {
    let annotated = stored.annotations().get(AUTOUPDATE).and_then(|text| parse_bool(text));
    let generation = stored.get(&["metadata", "generation"]).and_then(Value::as_i64);
    let is_ours = given.is_mandatory || annotated.unwrap_or(generation == Some(1));
    let spec = stored.get(&["spec"]).cloned().unwrap_or_default();
    let wanted = if is_ours { wanted(given, &spec) } else { spec.clone() };
    (annotated != Some(is_ours) || wanted != spec).then_some((wanted, is_ours))
}

/// The spec, with what administrators may set in the level without a limit.
fn wanted(given: &Given, stored: &Value) -> Value {
    let mut wanted = given.spec.clone();
    if given.which == Which::Level && given.name == EXEMPT {
        for field in ["nominalConcurrencyShares", "lendablePercent"] {
            if let Some(set) = stored.get("exempt").and_then(|exempt| exempt.get(field)) {
                wanted["exempt"][field] = set.clone();
            }
        }
    }
    wanted
}

/// As Go reads booleans.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A level with a limit.
struct Limited {
    name: &'static str,
    shares: u32,
    lendable: u32,
    /// Queues, and how many of them one flow uses; requests are turned away without any.
    queues: Option<(u32, u32)>,
}

const fn limited(name: &'static str, shares: u32, lendable: u32, queues: Option<(u32, u32)>) -> Limited {
    Limited { name, shares, lendable, queues }
}

const LIMITED: &[Limited] = &[
    limited(CATCH_ALL, 5, 0, None),
    limited("system", 30, 33, Some((64, 6))),
    limited("node-high", 40, 25, Some((64, 6))),
    limited("leader-election", 10, 0, Some((16, 4))),
    limited("workload-high", 40, 50, Some((128, 6))),
    limited("workload-low", 100, 90, Some((128, 6))),
    limited("global-default", 20, 50, Some((128, 6))),
];

fn level(row: &Limited) -> Given {
    let response = match row.queues {
        None => json!({"type": "Reject"}),
        Some((queues, hand)) => json!({
            "type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50},
        }),
    };
    let spec = json!({
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": row.shares,
            "lendablePercent": row.lendable,
            "limitResponse": response,
        },
    });
    Given { which: Which::Level, name: row.name, is_mandatory: row.name == CATCH_ALL, spec }
}

const EVERYBODY: [&str; 2] = ["system:unauthenticated", "system:authenticated"];
const BY_USER: &str = "ByUser";
const BY_NAMESPACE: &str = "ByNamespace";

fn schemas() -> Vec<Given> {
    let kube_system =
        json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}});
    let nodes = || groups(&["system:nodes"]);
    let users = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({"kind": "User", "user": {"name": name}})).collect()
    };
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let mut electors = users(&["system:kube-controller-manager", "system:kube-scheduler"]);
    electors.push(kube_system.clone());
    let health = json!({
        "subjects": groups(&EVERYBODY),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    let node_health = json!({
        "subjects": nodes(),
        "resourceRules": [resources(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"])],
    });
    let elections = json!({"subjects": electors, "resourceRules": [leases(&["get", "create", "update"])]});
    vec![
        schema(EXEMPT, EXEMPT, 1, None, anything(groups(&["system:masters"]))),
        schema("probes", EXEMPT, 2, None, health),
        schema("system-leader-election", "leader-election", 100, Some(BY_USER), elections),
        schema("system-node-high", "node-high", 400, Some(BY_USER), node_health),
        schema("system-nodes", "system", 500, Some(BY_USER), anything(nodes())),
        schema(
            "kube-controller-manager",
            "workload-high",
            800,
            Some(BY_NAMESPACE),
            anything(users(&["system:kube-controller-manager"])),
        ),
        schema(
            "kube-scheduler",
            "workload-high",
            800,
            Some(BY_NAMESPACE),
            anything(users(&["system:kube-scheduler"])),
        ),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            Some(BY_NAMESPACE),
            anything(vec![kube_system]),
        ),
        schema(
            "service-accounts",
            "workload-low",
            9000,
            Some(BY_USER),
            anything(groups(&["system:serviceaccounts"])),
        ),
        schema("global-default", "global-default", 9900, Some(BY_USER), anything(groups(&EVERYBODY))),
        schema(CATCH_ALL, CATCH_ALL, 10000, Some(BY_USER), anything(groups(&EVERYBODY))),
    ]
}

fn schema(name: &'static str, level: &str, precedence: u32, method: Option<&str>, rule: Value) -> Given {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    });
    if let Some(method) = method {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    Given { which: Which::Schema, name, is_mandatory: matches!(name, EXEMPT | CATCH_ALL), spec }
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

/// Whatever these ask for.
fn anything(subjects: Vec<Value>) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], is_global: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if is_global {
        rule["clusterScope"] = true.into();
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::testing::{object, with_context};

    #[test]
    fn the_given_objects_are_valid_and_defaulted() {
        let catalogue = crate::builtin();
        let given = given();
        assert_eq!(given.len(), 8 + 11);
        assert_eq!(given.iter().filter(|given| given.is_mandatory).count(), 4);
        for Given { which, name, spec, .. } in given {
            let kind = catalogue.find(GROUP, "v1", which.plural()).unwrap();
            let before = object(json!({"metadata": {"name": name}, "spec": spec}));
            let mut after = before.clone();
            kind.fill(&mut after);
            assert_eq!(after.get(&["spec"]), before.get(&["spec"]), "{name}");
            let errors = with_context(|cx| kind.strategy.validate(cx, &after));
            assert!(errors.is_empty(), "{name}: {errors:?}");
        }
    }

    #[test]
    fn what_is_ours_is_kept_current() {
        let given = given();
        let find = |which, name| given.iter().find(|g| g.which == which && g.name == name).unwrap();
        let stored = |annotation: Option<&str>, generation: u32, spec: &Value| {
            let annotations = annotation.map(|text| json!({AUTOUPDATE: text}));
            object(json!({"metadata": {"generation": generation, "annotations": annotations}, "spec": spec}))
        };
        let other = json!({"type": "Limited"});
        let low = find(Which::Level, "workload-low");
        let check = |given: &Given, stored: &Object, expected: Option<(&Value, bool)>| {
            assert_eq!(revision(given, stored), expected.map(|(spec, ours)| (spec.clone(), ours)));
        };
        check(low, &stored(Some("true"), 3, &low.spec), None);
        check(low, &stored(Some("true"), 3, &other), Some((&low.spec, true)));
        check(low, &stored(Some("false"), 3, &other), None);
        check(low, &stored(None, 1, &other), Some((&low.spec, true)));
        check(low, &stored(None, 2, &other), Some((&other, false)));
        check(low, &stored(Some("odd"), 2, &low.spec), Some((&low.spec, false)));
        let all = find(Which::Schema, CATCH_ALL);
        check(all, &stored(Some("false"), 2, &other), Some((&all.spec, true)));
        let exempt = find(Which::Level, EXEMPT);
        let set = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 7, "lendablePercent": 50}});
        check(exempt, &stored(Some("true"), 2, &set), None);
        check(exempt, &stored(Some("true"), 2, &json!({"type": "Exempt"})), Some((&exempt.spec, true)));
    }
}
