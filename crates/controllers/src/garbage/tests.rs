use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use super::decide::{OwnerState, Verdict, verdict};
use super::graph::{Graph, GroupKind, Uid, Work};

/// Metadata of the object with this UID; `owners` are UIDs, a `!` before one blocks its deletion.
fn meta(uid: &str, owners: &[&str], change: Value) -> ObjectMeta {
    let reference = |owner: &&str| {
        let name = owner.trim_start_matches('!');
        json!({"apiVersion": "v1", "kind": "Owner", "name": name, "uid": name,
               "blockOwnerDeletion": owner.starts_with('!')})
    };
    let owners: Vec<_> = owners.iter().map(reference).collect();
    let mut meta = json!({"namespace": "ns", "name": uid, "uid": uid, "ownerReferences": owners});
    for (key, value) in change.as_object().unwrap() {
        meta[key] = value.clone();
    }
    serde_json::from_value(meta).unwrap()
}

fn put(graph: &mut Graph, uid: &str, owners: &[&str], change: Value) -> Vec<String> {
    show(graph.put(&GroupKind::new("", "Owner"), &meta(uid, owners, change)))
}

fn remove(graph: &mut Graph, uid: &str) -> Vec<String> {
    show(graph.remove(&Uid::new(uid)))
}

fn show(work: Vec<Work>) -> Vec<String> {
    let mut texts: Vec<_> = work.iter().map(ToString::to_string).collect();
    texts.sort();
    texts
}

fn deleted(finalizer: &str) -> Value {
    json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]})
}

const NONE: [&str; 0] = [];

#[test]
fn dependents_are_looked_at_when_their_owner_goes() {
    let mut graph = Graph::default();
    assert_eq!(put(&mut graph, "rc", &[], json!({})), NONE);
    assert_eq!(put(&mut graph, "a", &["rc"], json!({})), NONE);
    assert_eq!(put(&mut graph, "b", &["rc"], json!({})), NONE);
    assert_eq!(remove(&mut graph, "rc"), ["collect a", "collect b"]);
}

#[test]
fn an_unseen_owner_is_verified_and_may_appear_later() {
    let mut graph = Graph::default();
    assert_eq!(put(&mut graph, "a", &["rc"], json!({})), ["collect rc"]);
    assert!(!graph.get(&Uid::new("rc")).unwrap().observed);
    assert_eq!(put(&mut graph, "rc", &[], json!({})), NONE);
    assert!(graph.get(&Uid::new("rc")).unwrap().observed);
    assert_eq!(remove(&mut graph, "rc"), ["collect a"]);
}

#[test]
fn an_unseen_owner_is_forgotten_with_its_last_dependent() {
    let mut graph = Graph::default();
    put(&mut graph, "a", &["rc"], json!({}));
    assert_eq!(remove(&mut graph, "a"), NONE);
    assert!(graph.get(&Uid::new("rc")).is_none());
}

#[test]
fn foreground_deletion_waits_for_blocking_dependents() {
    let mut graph = Graph::default();
    put(&mut graph, "rc", &[], json!({}));
    put(&mut graph, "a", &["!rc"], json!({}));
    put(&mut graph, "b", &["rc"], json!({}));
    let work = put(&mut graph, "rc", &[], deleted("foregroundDeletion"));
    assert_eq!(work, ["collect a", "collect b", "collect rc"]);
    assert_eq!(put(&mut graph, "rc", &[], deleted("foregroundDeletion")), NONE, "only once");
    assert_eq!(graph.blocking(&Uid::new("rc")), [(Uid::new("a"), false)]);
    assert_eq!(put(&mut graph, "a", &["rc"], json!({})), ["collect rc"], "no longer blocking");
    assert_eq!(remove(&mut graph, "b"), ["collect rc"]);
    assert_eq!(put(&mut graph, "c", &["!rc"], json!({})), ["collect c"], "a late dependent");
}

#[test]
fn who_names_an_owner_in_another_namespace_is_looked_at() {
    let mut graph = Graph::default();
    put(&mut graph, "rc", &[], json!({}));
    assert_eq!(put(&mut graph, "a", &["rc"], json!({"namespace": "other"})), ["collect a"]);
    assert_eq!(put(&mut graph, "b", &["late"], json!({"namespace": "other"})), ["collect late"]);
    assert_eq!(
        put(&mut graph, "c", &["late"], json!({})),
        ["collect c"],
        "where it was looked for says nothing"
    );
    assert_eq!(put(&mut graph, "late", &[], json!({})), ["collect b"]);
    put(&mut graph, "node", &[], json!({"namespace": null}));
    assert_eq!(put(&mut graph, "d", &["node"], json!({})), NONE, "what lies in none owns everywhere");
}

#[test]
fn orphaning_starts_with_the_deletion() {
    let mut graph = Graph::default();
    put(&mut graph, "rc", &[], json!({"finalizers": ["orphan"]}));
    assert_eq!(put(&mut graph, "rc", &[], deleted("orphan")), ["orphan the dependents of rc"]);
    assert_eq!(put(&mut graph, "rc", &[], deleted("orphan")), NONE);
    let mut late = Graph::default();
    assert_eq!(put(&mut late, "rc", &[], deleted("orphan")), ["orphan the dependents of rc"]);
}

#[test]
fn released_dependents_are_unlinked() {
    let mut graph = Graph::default();
    put(&mut graph, "rc", &[], json!({}));
    put(&mut graph, "a", &["rc"], json!({}));
    put(&mut graph, "a", &[], json!({}));
    assert_eq!(remove(&mut graph, "rc"), NONE);
}

fn check(owners: &[OwnerState], finalizers: &[&str], has_dependents: bool, waits_in_turn: bool) -> Verdict {
    let owners: Vec<_> =
        owners.iter().enumerate().map(|(i, state)| (Uid::new(&i.to_string()), *state)).collect();
    let finalizers: Vec<_> = finalizers.iter().map(|name| (*name).to_owned()).collect();
    verdict(&owners, &finalizers, has_dependents, waits_in_turn)
}

#[test]
fn verdicts() {
    use OwnerState::{Absent, Solid, Waiting};
    let delete = |policy, unblock_owners| Verdict::Delete { policy, unblock_owners };
    assert_eq!(check(&[], &[], false, false), Verdict::Keep);
    assert_eq!(check(&[Solid], &[], false, false), Verdict::Keep);
    assert_eq!(check(&[Solid, Absent], &[], false, false), Verdict::Disown(vec![Uid::new("1")]));
    assert_eq!(check(&[Absent], &[], true, false), delete(PropagationPolicy::Background, false));
    assert_eq!(check(&[Absent], &["orphan"], true, false), delete(PropagationPolicy::Orphan, false));
    assert_eq!(check(&[Waiting], &[], false, false), delete(PropagationPolicy::Background, false));
    assert_eq!(check(&[Waiting], &[], true, false), delete(PropagationPolicy::Foreground, false));
    assert_eq!(check(&[Waiting, Absent], &[], true, true), delete(PropagationPolicy::Foreground, true));
}
