//! Stories of pods, told as the steps that each event leads to.

mod changes;
mod ends;
mod order;
mod told;
mod troubles;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ContainerStatus;

use crate::pod::local::LocalPod;
use crate::pod::observed::{Finished, Observed, Report};
use crate::pod::status::{phase, status};
use crate::pod::step::{Step, plan};
use crate::pod::testing::{at, pod, pod_of};

/// A pod, what is known of it, and the time.
struct Story {
    pod: LocalPod,
    observed: Observed,
    now: i64,
    wake: Option<Timestamp>,
    done: bool,
}

impl Story {
    fn new(spec: &str) -> Self {
        Self { pod: pod_of(spec), observed: Observed::new(at(0)), now: 0, wake: None, done: false }
    }

    /// Takes every step that is due and names them.
    #[track_caller]
    fn check(&mut self, expected: &str) {
        let mut names = Vec::new();
        for _ in 0..20 {
            let plan = plan(&self.pod, &self.observed, at(self.now));
            (self.wake, self.done) = (plan.wake, plan.done);
            if plan.steps.is_empty() {
                break;
            }
            for step in plan.steps {
                names.push(name(&step));
                self.observed.issue(&step, &self.pod, at(self.now));
            }
        }
        assert_eq!(names.join(", "), expected, "at {}", self.now);
    }

    fn hear(&mut self, report: Report) -> &mut Self {
        self.observed.apply(report, &self.pod, at(self.now));
        self
    }

    fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self
    }

    /// Until containers can be started.
    fn set_up(&mut self) {
        self.check("MountVolumes");
        self.hear(Report::Volumes(Ok(()))).check("StartSandbox");
        self.hear(Report::Sandbox(Ok(vec!["10.0.0.5".parse().unwrap()])));
    }

    fn started(&mut self, container: &str, attempt: u32) -> &mut Self {
        let id = format!("{container}{attempt}");
        let now = at(self.now);
        self.hear(Report::Started {
            container: container.into(),
            attempt,
            id,
            at: now,
            user: Default::default(),
        })
    }

    fn exited(&mut self, container: &str, attempt: u32, exit_code: i32) -> &mut Self {
        let end = Finished {
            id: format!("{container}{attempt}"),
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
            message: String::new(),
            started_at: Some(at(0)),
            finished_at: at(self.now),
        };
        self.hear(Report::Exited { container: container.into(), end })
    }

    /// Asks for deletion, as the API shows it.
    fn delete(&mut self, grace: i64) -> &mut Self {
        self.pod.meta.deletion_timestamp = Some(crate::time::api_time(at(self.now + grace)));
        self.pod.meta.deletion_grace_period_seconds = Some(grace);
        self
    }

    fn phase(&self) -> &'static str {
        phase(&self.pod, &self.observed).as_str()
    }

    fn container(&self, name: &str) -> ContainerStatus {
        let status = status(&self.pod, &self.observed, &["192.168.0.1".parse().unwrap()], at(self.now));
        let lists = [status.init_container_statuses, status.container_statuses];
        lists.into_iter().flatten().flatten().find(|status| status.name == name).unwrap()
    }

    /// `state/last state/restarts` of a container, in short, and `+` if it is ready.
    fn brief(&self, name: &str) -> String {
        let status = self.container(name);
        let brief = |state: Option<k8s_openapi::api::core::v1::ContainerState>| {
            let state = state.unwrap_or_default();
            match (state.waiting, state.running, state.terminated) {
                (Some(waiting), None, None) => waiting.reason.unwrap_or_default(),
                (None, Some(_), None) => "running".into(),
                (None, None, Some(end)) => format!("{}:{}", end.reason.unwrap_or_default(), end.exit_code),
                (None, None, None) => "-".into(),
                several => panic!("{several:?}"),
            }
        };
        let ready = if status.ready { "+" } else { "" };
        format!("{}/{}/{}{ready}", brief(status.state), brief(status.last_state), status.restart_count)
    }

    /// The condition's status and reason.
    fn condition(&self, kind: &str) -> String {
        let status = status(&self.pod, &self.observed, &[], at(self.now));
        let condition = status.conditions.into_iter().flatten().find(|c| c.type_ == kind).unwrap();
        [condition.status, condition.reason.unwrap_or_default()].join(" ").trim().to_owned()
    }
}

/// `Start(c#0)` and the like.
fn name(step: &Step) -> String {
    match step {
        Step::End(cause) => format!("End({cause:?})"),
        Step::Start { container, attempt } => format!("Start({container}#{attempt})"),
        Step::PostStart { container } => format!("PostStart({container})"),
        Step::BeginStop { container, cause } => format!("BeginStop({container}: {cause:?})"),
        Step::PreStop { container, .. } => format!("PreStop({container})"),
        Step::Terminate { container } => format!("Terminate({container})"),
        Step::Kill { container } => format!("Kill({container})"),
        Step::NoteCrashBackOff { container } => format!("NoteCrashBackOff({container})"),
        Step::NoteImageBackOff { container } => format!("NoteImageBackOff({container})"),
        other => format!("{other:?}"),
    }
}

const ONE: &str = r#"{"containers": [{"name": "c", "image": "i"}]}"#;
