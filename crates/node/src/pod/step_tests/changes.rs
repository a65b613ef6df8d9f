//! Pods that change while they run: images and sizes.

use std::sync::Arc;

use super::Story;
use crate::pod::observed::{Granted, Report};
use crate::pod::resize::{changes, event_message, is_under_way};
use crate::pod::sizes::Sizes;
use crate::pod::testing::{at, pod_of};

#[test]
fn a_changed_image_replaces_the_container() {
    let mut story = Story::new(r#"{"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}"#);
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    story.pod.containers[0].spec.image = Some("j".into());
    story.check("BeginStop(c: DefinitionChanged), Terminate(c)");
    story.exited("c", 0, 143);
    assert_eq!(story.observed.quiet_until(), Some(at(1)));
    story.check("Start(c#1)");
    assert_eq!(story.observed.quiet_until(), Some(at(1)), "until it runs");
    story.started("c", 1).check("");
    assert_eq!(story.observed.quiet_until(), None);
    story.exited("c", 1, 1);
    assert_eq!(story.observed.quiet_until(), None, "an end that nobody ordered is told");
}

/// Gives the pod other resources, as the node has granted them.
fn grant(story: &mut Story, spec: &str) {
    let granted = Sizes::of(&pod_of(spec));
    story.pod = granted.applied(story.pod.clone());
    story.observed.resizing.granted = Some(Granted { generation: 2, error: None });
}

/// A container `c`, with its requests and limits of memory, and its policy for that.
fn of_memory(memory: &str, policy: &str) -> String {
    format!(
        r#"{{"containers": [{{"name": "c", "resizePolicy": [{{"resourceName": "memory", "restartPolicy": "{policy}"}}],
            "resources": {{"requests": {{"memory": "{memory}"}}, "limits": {{"memory": "{memory}"}}}}}}]}}"#
    )
}

/// The memory limit that the container is said to have.
fn memory(story: &Story) -> String {
    story.container("c").resources.unwrap().limits.unwrap()["memory"].0.clone()
}

#[test]
fn a_running_container_is_resized_as_it_is() {
    let mut story = Story::new(&of_memory("1Gi", "NotRequired"));
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    grant(&mut story, &of_memory("2Gi", "NotRequired"));
    story.check("Resize");
    assert_eq!(memory(&story), "1Gi", "until it has more");
    assert_eq!(story.condition("PodResizeInProgress"), "True");
    story.hear(Report::ResizeFailed { message: "no".into() }).check("");
    assert_eq!(story.condition("PodResizeInProgress"), "True Error");
    assert_eq!(story.wake, Some(at(1)));
    story.wait(1).check("Resize");
    let to = Arc::new(Sizes::of(&story.pod));
    story.hear(Report::Resized { to, containers: vec![("c".into(), "c0".into())] }).check("");
    assert_eq!((memory(&story).as_str(), story.brief("c").as_str()), ("2Gi", "running/-/0+"));
    assert!(!is_under_way(&story.pod, &story.observed));
}

#[test]
fn a_container_is_started_anew_where_its_policy_says_so() {
    let mut story = Story::new(&of_memory("1Gi", "RestartContainer"));
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("");
    grant(&mut story, &of_memory("2Gi", "RestartContainer"));
    story.check("BeginStop(c: Resized), Terminate(c)");
    assert!(is_under_way(&story.pod, &story.observed));
    // Its pod has room for it before it begins.
    story.exited("c", 0, 0).check("Resize");
    let to = Arc::new(Sizes::of(&story.pod));
    story.hear(Report::Resized { to, containers: Vec::new() }).check("Start(c#1)");
    story.started("c", 1).check("");
    assert_eq!((memory(&story).as_str(), story.brief("c").as_str()), ("2Gi", "running/Completed:0/1+"));
}

#[test]
fn a_limit_of_the_pod_is_that_of_a_container_without_one() {
    let whole = |memory: &str| {
        format!(
            r#"{{"resources": {{"limits": {{"memory": "{memory}"}}}}, "containers": [{{"name": "c"}}, {{"name": "d"}}]}}"#
        )
    };
    let mut story = Story::new(&whole("1Gi"));
    story.set_up();
    story.check("Start(c#0)");
    story.started("c", 0).check("Start(d#0)");
    grant(&mut story, &whole("2Gi"));
    story.check("Resize");
    let changes = changes(&story.pod, &story.observed);
    let limits = |change: &skiff_runtime::Change| (change.from.memory_limit, change.to.memory_limit);
    let both = (Some(1 << 30), Some(2 << 30));
    assert_eq!(changes.pod.as_ref().map(limits), Some(both));
    let [(name, id, change)] = &changes.containers[..] else { panic!("{changes:?}") };
    assert_eq!(
        (name.as_str(), id.as_str(), limits(change)),
        ("c", "c0", both),
        "the other one is being started"
    );
    // A container that is started late begins with what there is then.
    story.exited("c", 0, 1).check("");
    story.hear(Report::Resized { to: Arc::new(Sizes::of(&story.pod)), containers: Vec::new() });
    story.check("Start(c#1)");
}

#[test]
fn events_tell_of_a_resize_as_the_kubelet_does() {
    let pod = pod_of(
        r#"{"initContainers": [{"name": "i"}], "ephemeralContainers": [{"name": "e"}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]}"#,
    );
    assert_eq!(
        event_message("Pod resize started", &pod, 3, ""),
        r#"Pod resize started: {"initContainers":[{"name":"i","resources":{}}],"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1"}}}],"generation":3}"#
    );
    let bare = pod_of(r#"{"containers": []}"#);
    assert_eq!(
        event_message("Pod resize error", &bare, 3, "no"),
        r#"Pod resize error: {"generation":3,"error":"no"}"#
    );
}
