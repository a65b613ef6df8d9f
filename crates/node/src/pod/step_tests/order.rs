//! Init containers and sidecars: in which order containers have their turn.

use super::Story;
use crate::pod::observed::{Report, StartError};

#[test]
fn init_containers_run_in_order() {
    let mut story = Story::new(
        r#"{"initContainers": [{"name": "a"}, {"name": "s", "restartPolicy": "Always"}, {"name": "b"}],
            "containers": [{"name": "c"}, {"name": "d"}]}"#,
    );
    story.set_up();
    story.check("Start(a#0)");
    assert_eq!(story.brief("c"), "PodInitializing/-/0");
    assert_eq!(story.condition("Initialized"), "False ContainersNotInitialized");
    story.started("a", 0).check("");
    story.exited("a", 0, 0).check("Start(s#0)");
    story.started("s", 0).check("Start(b#0)");
    story.started("b", 0).check("");
    story.wait(1).exited("b", 0, 1).check("Start(b#1)");
    assert_eq!(story.phase(), "Pending");
    story.started("b", 1).check("");
    assert_eq!(story.condition("Initialized"), "False ContainersNotInitialized");
    story.exited("b", 1, 0).check("Start(c#0)");
    assert_eq!(story.condition("Initialized"), "True");
    story.started("c", 0).check("Start(d#0)");
    story.started("d", 0).check("");
    assert_eq!(
        (story.phase(), story.brief("a").as_str(), story.brief("s").as_str()),
        ("Running", "Completed:0/-/0+", "running/-/0+")
    );
    // A sidecar is restarted whenever it ends.
    story.exited("s", 0, 0).check("Start(s#1)");
    story.started("s", 1).check("");
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let mut story = Story::new(
        r#"{"restartPolicy": "Never", "initContainers": [{"name": "a"}], "containers": [{"name": "c"}]}"#,
    );
    story.set_up();
    story.check("Start(a#0)");
    story.started("a", 0).exited("a", 0, 3).check("End(Completed), StopSandbox");
    assert_eq!((story.phase(), story.brief("a").as_str()), ("Failed", "Error:3/-/0"));
    assert_eq!(story.brief("c"), "PodInitializing/-/0");
}

#[test]
fn containers_whose_turn_never_came_wait_for_ever() {
    let end_early = |spec: &str| {
        let mut story = Story::new(spec);
        story.set_up();
        story.check("Start(a#0)");
        story.hear(Report::StartFailed {
            container: "a".into(),
            reason: StartError::ErrImagePull,
            message: "no".into(),
            image: None,
        });
        story.delete(0).check("End(Deleted), StopSandbox");
        story
    };
    let story =
        end_early(r#"{"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]}"#);
    assert_eq!(story.phase(), "Failed");
    assert_eq!(story.brief("a"), "ContainerStatusUnknown:137/-/0");
    assert_eq!(story.brief("b"), "PodInitializing/-/0");
    assert_eq!(story.brief("c"), "PodInitializing/-/0");
    // Without init containers it was every container's turn.
    let story = end_early(r#"{"containers": [{"name": "a"}, {"name": "b"}]}"#);
    assert_eq!(story.brief("a"), "ContainerStatusUnknown:137/-/0");
    assert_eq!(story.brief("b"), "ContainerStatusUnknown:137/-/0");
}

#[test]
fn sidecars_end_after_the_main_containers_last_first() {
    let mut story = Story::new(
        r#"{"restartPolicy": "Never", "terminationGracePeriodSeconds": 5,
            "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "t", "restartPolicy": "Always"}],
            "containers": [{"name": "c"}]}"#,
    );
    story.set_up();
    story.check("Start(s#0)");
    story.started("s", 0).check("Start(t#0)");
    story.started("t", 0).check("Start(c#0)");
    story.started("c", 0).exited("c", 0, 0).check("End(Completed), BeginStop(t: PodEnds), Terminate(t)");
    story.exited("t", 0, 143).check("BeginStop(s: PodEnds), Terminate(s)");
    story.wait(5).check("Kill(s)");
    story.exited("s", 0, 137).check("StopSandbox");
    assert_eq!(story.phase(), "Succeeded");
}
