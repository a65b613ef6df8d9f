//! What the status tells.

use super::Story;
use crate::pod::observed::{Observed, Rejection};
use crate::pod::status::status;
use crate::pod::testing::{at, pod, pod_of};

#[test]
fn readiness_gates_hold_a_pod_back() {
    let mut story =
        Story::new(r#"{"readinessGates": [{"conditionType": "x/y"}], "containers": [{"name": "c"}]}"#);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    assert_eq!(story.condition("ContainersReady"), "True");
    assert_eq!(story.condition("Ready"), "False ReadinessGatesNotReady");
    let message = |story: &Story| {
        let status = status(&story.pod, &story.observed, &[], at(9));
        let ready = status.conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
        (ready.status, ready.message)
    };
    let absent = "corresponding condition of pod readiness gate \"x/y\" does not exist.";
    assert_eq!(message(&story), ("False".into(), Some(absent.into())));
    let set = |story: &mut Story, value: &str| {
        let gate = format!(r#"[{{"type": "x/y", "status": "{value}"}}]"#);
        story.pod.status.conditions = Some(serde_json::from_str(&gate).unwrap());
    };
    set(&mut story, "False");
    let closed = "the status of pod readiness gate \"x/y\" is not \"True\", but False";
    assert_eq!(message(&story), ("False".into(), Some(closed.into())));
    set(&mut story, "True");
    assert_eq!(message(&story), ("True".into(), None));
}

#[test]
fn a_refused_pods_status_is_of_the_generation_that_was_refused() {
    let mut pod = pod_of(r#"{"containers": [{"name": "c"}]}"#);
    pod.meta.generation = Some(2);
    let mut observed = Observed::new(at(0));
    observed.rejection = Some(Rejection { reason: "NodeAffinity", message: "Pod was rejected: no".into() });
    let status = status(&pod, &observed, &[], at(9));
    assert_eq!((status.observed_generation, status.phase.as_deref()), (Some(2), Some("Failed")));
}

#[test]
fn others_conditions_are_kept() {
    let pod = pod(
        r#"{"metadata": {"name": "p", "namespace": "ns", "uid": "u", "generation": 3}, "spec": {"containers": [{"name": "c"}]},
            "status": {"qosClass": "BestEffort", "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "x/y", "status": "True"},
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-02T00:00:00Z"}]}}"#,
    );
    let status = status(&pod, &Observed::new(at(0)), &[], at(9));
    let conditions = status.conditions.unwrap();
    let kinds: Vec<&str> = conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(
        kinds,
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "x/y"]
    );
    let ready = &conditions[2];
    assert_eq!(ready.last_transition_time.as_ref().unwrap().0, "2026-01-02T00:00:00Z".parse().unwrap());
    assert_eq!((status.observed_generation, ready.observed_generation), (Some(3), Some(3)));
    let (scheduled, foreign) = (&conditions[4], &conditions[5]);
    assert_eq!((scheduled.observed_generation, foreign.observed_generation), (Some(3), None));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
}

#[test]
fn a_running_container_shows_what_was_set_aside_for_it() {
    let spec = r#"{"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}"#;
    let mut story = Story::new(spec);
    let allocated =
        |story: &Story| story.container("c").allocated_resources.map(|amounts| amounts["cpu"].0.clone());
    assert_eq!(allocated(&story), None);
    story.set_up();
    story.started("c", 0);
    assert_eq!(allocated(&story).as_deref(), Some("1"));
    story.exited("c", 0, 1);
    assert_eq!(allocated(&story), None);
}
