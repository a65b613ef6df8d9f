//! What cannot be had or done at once, and is tried again.

use super::{ONE, Story};
use crate::pod::observed::{Report, StartError};
use crate::pod::testing::at;

#[test]
fn images_that_cannot_be_pulled_are_waited_for() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let failed = || Report::StartFailed {
        container: "c".into(),
        reason: StartError::ErrImagePull,
        message: "no".into(),
        image: None,
    };
    story.hear(failed()).check("");
    assert_eq!((story.phase(), story.brief("c").as_str()), ("Pending", "ErrImagePull/-/0"));
    story.wait(2).check("NoteImageBackOff(c)");
    assert_eq!(story.brief("c"), "ImagePullBackOff/-/0");
    let message = story.container("c").state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "Back-off pulling image \"i\": ErrImagePull: no");
    assert_eq!(story.wake, Some(at(10)));
    story.wait(8).check("Start(c#0)");
    story.hear(failed()).wait(2).check("NoteImageBackOff(c)");
    assert_eq!(story.wake, Some(at(30)));
    // A corrected image is tried at once.
    story.pod.containers[0].spec.image = Some("good".into());
    story.check("Start(c#0)");
}

#[test]
fn images_of_volumes_are_named_while_they_are_waited_for() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let failed = Report::StartFailed {
        container: "c".into(),
        reason: StartError::ErrImagePull,
        message: "no".into(),
        image: Some("data:1".into()),
    };
    story.hear(failed).wait(2).check("NoteImageBackOff(c)");
    let message = story.container("c").state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "Back-off pulling image \"data:1\": ErrImagePull: no");
}

#[test]
fn a_command_that_cannot_be_run_counts_as_an_end() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let failed =
        |attempt| Report::RunFailed { container: "c".into(), attempt, message: "no such file".into() };
    story.hear(failed(0)).check("Start(c#1)");
    story.hear(failed(1)).check("NoteCrashBackOff(c)");
    assert_eq!(story.brief("c"), "CrashLoopBackOff/StartError:128/1");
    assert_eq!(story.phase(), "Running");
}

#[test]
fn missing_configuration_is_retried_when_it_arrives() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let reason = StartError::CreateContainerConfigError;
    story
        .hear(Report::StartFailed {
            container: "c".into(),
            reason,
            message: "configmap \"m\" not found".into(),
            image: None,
        })
        .check("");
    assert_eq!(story.brief("c"), "CreateContainerConfigError/-/0");
    story.hear(Report::Retry).check("Start(c#0)");
}

#[test]
fn a_start_that_hung_is_tried_again_ever_later() {
    let mut story = Story::new(ONE);
    story.set_up();
    story.check("Start(c#0)");
    let failed = || Report::StartFailed {
        container: "c".into(),
        reason: StartError::RunContainerError,
        message: "context deadline exceeded: run the program".into(),
        image: None,
    };
    story.hear(failed()).check("");
    assert_eq!((story.phase(), story.brief("c").as_str()), ("Pending", "RunContainerError/-/0"));
    assert_eq!(story.wake, Some(at(10)));
    story.wait(10).check("Start(c#0)");
    story.hear(failed()).check("");
    assert_eq!(story.wake, Some(at(30)));
    // What it waits for is no object of the API.
    story.hear(Report::Retry).check("");
}

#[test]
fn volumes_and_sandboxes_are_tried_again() {
    let mut story = Story::new(ONE);
    story.check("MountVolumes");
    story.hear(Report::Volumes(Err("no".into()))).check("");
    assert_eq!(story.wake, Some(at(1)));
    story.wait(1).check("MountVolumes");
    story.hear(Report::Volumes(Err("no".into()))).check("");
    assert_eq!(story.wake, Some(at(3)));
    story.hear(Report::Retry).check("MountVolumes");
    story.hear(Report::Volumes(Ok(()))).check("StartSandbox");
    story.hear(Report::Sandbox(Err("no".into()))).wait(1).check("StartSandbox");
}

#[test]
fn a_lost_sandbox_is_made_anew_with_everything_in_it() {
    let mut story = Story::new(r#"{"initContainers": [{"name": "a"}], "containers": [{"name": "c"}]}"#);
    story.set_up();
    story.check("Start(a#0)");
    story.started("a", 0).exited("a", 0, 0).check("Start(c#0)");
    story.started("c", 0).hear(Report::SandboxLost).check("StartSandbox");
    story.hear(Report::Sandbox(Ok(Vec::new()))).check("Start(a#1)");
    story.started("a", 1).exited("a", 1, 0).check("Start(c#1)");
    story.started("c", 1).check("");
    assert_eq!(story.brief("c"), "running/Error:137/1+");
}
