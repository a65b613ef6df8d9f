use serde_json::Value;

use super::*;

const NOW: &str = "2026-01-01T00:00:00Z";

fn definition(name: &str, kind: &str, short: &[&str]) -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": format!("{name}.example.com"), "uid": name},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": [],
            "names": {"plural": name, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": short}},
    }))
    .unwrap()
}

fn look(definition: &CustomResourceDefinition, others: &[CustomResourceDefinition]) -> Step {
    let others: Vec<_> = others.iter().cloned().map(Arc::new).collect();
    step(definition, &others, NOW.parse().unwrap())
}

/// A definition after its status was reported.
fn settled(
    mut definition: CustomResourceDefinition,
    others: &[CustomResourceDefinition],
) -> CustomResourceDefinition {
    let Step::Report(status) = look(&definition, others) else { panic!("nothing is reported") };
    definition.status = Some(*status);
    definition
}

fn conditions(definition: &CustomResourceDefinition) -> Vec<String> {
    let value = serde_json::to_value(definition).unwrap();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let conditions = value["status"]["conditions"].as_array().unwrap().iter();
    conditions
        .map(|one| ["type", "status", "reason", "message"].map(|field| text(one, field)).join(" "))
        .collect()
}

#[test]
fn a_new_definition_is_established_at_once() {
    let widgets = settled(definition("widgets", "Widget", &["wd"]), &[]);
    assert_eq!(
        conditions(&widgets),
        [
            "NamesAccepted True NoConflicts no conflicts found",
            "Established True InitialNamesAccepted the initial names have been accepted",
        ]
    );
    assert_eq!(look(&widgets, &[]), Step::Nothing);
}

#[test]
fn names_in_use_are_refused_until_they_are_free() {
    let widgets = settled(definition("widgets", "Widget", &["wd"]), &[]);
    let others = [widgets.clone()];
    let check = |other: CustomResourceDefinition, reason: &str, name: &str| {
        let other = settled(other, &others);
        let expected = [
            format!("NamesAccepted False {reason} {name:?} is already in use"),
            "Established False NotAccepted not all names are accepted".to_owned(),
        ];
        assert_eq!(conditions(&other), expected);
        other
    };
    check(definition("gadgets", "Widget", &[]), "ListKindConflict", "WidgetList");
    let waiting = check(definition("gadgets", "Gadget", &["wd"]), "ShortNamesConflict", "wd");
    assert_eq!(look(&waiting, &others), Step::Nothing);
    assert!(conditions(&settled(waiting, &[]))[1].starts_with("Established True"));
}

#[test]
fn a_served_definition_stays_served() {
    let mut widgets = settled(definition("widgets", "Widget", &[]), &[]);
    widgets.spec.names.short_names = Some(vec!["gd".to_owned()]);
    let gadgets = settled(definition("gadgets", "Gadget", &["gd"]), &[]);
    let widgets = settled(widgets, &[gadgets]);
    let found = conditions(&widgets);
    assert!(found[0].starts_with("NamesAccepted False ShortNamesConflict"), "{found:?}");
    assert!(found[1].starts_with("Established True"), "{found:?}");
}

#[test]
fn a_deleted_definition_goes_after_its_objects() {
    let mut widgets = settled(definition("widgets", "Widget", &[]), &[]);
    widgets.metadata.deletion_timestamp = serde_json::from_value(json!(NOW)).unwrap();
    assert_eq!(look(&widgets, &[]), Step::Nothing);
    widgets.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    assert_eq!(look(&widgets, &[]), Step::DeleteObjects);
    widgets.status = None;
    assert_eq!(look(&widgets, &[]), Step::Release);
}

#[test]
fn groups_of_kubernetes_need_approval() {
    let mut guarded = definition("widgets", "Widget", &[]);
    guarded.spec.group = "x.k8s.io".to_owned();
    guarded
        .annotations_mut()
        .insert("api-approved.kubernetes.io".to_owned(), "unapproved, a test".to_owned());
    let found = conditions(&settled(guarded, &[]));
    assert_eq!(
        found[2],
        r#"KubernetesAPIApprovalPolicyConformant False UnapprovedAnnotation not approved: "unapproved, a test""#
    );
}
