//! How pods are scheduled: the option that says so.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use skiff_apiserver::configuration::{Kind, decode, read_text};
use skiff_scheduler::{Configuration, schema};

use crate::args::said::{Options, Said};

const CONFIGURATION: Kind = Kind {
    definition: "io.k8s.kubescheduler.config.KubeSchedulerConfiguration",
    names: &[("kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration")],
};

/// What the scheduler is configured with, as kube-scheduler's `--config`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct SchedulerArgs {
    /// KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1): profiles, their plugins and arguments; read whenever the server
    /// starts
    #[arg(long, value_name = "FILE")]
    pub(crate) scheduler_config: Option<PathBuf>,
}

impl SchedulerArgs {
    /// What the file says; without one, as Kubernetes does.
    pub(crate) fn configuration(&self) -> anyhow::Result<Configuration> {
        let Some(file) = &self.scheduler_config else { return Ok(Configuration::default()) };
        let name = file.display();
        let text = std::fs::read(file)
            .with_context(|| format!("cannot read the scheduler's configuration {name}"))?;
        let object = read_text(&text).and_then(|object| decode(&object, &CONFIGURATION, &schema()));
        let object = object.map_err(|why| anyhow!("{name}: {why}"))?;
        Configuration::read(&object).map_err(|why| anyhow!("{name}: {why}"))
    }
}

impl Options for SchedulerArgs {
    fn said(&self) -> Said {
        Said::default().file("scheduler_config", self.scheduler_config.as_ref())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_before_anything_starts() {
        let directory = std::env::temp_dir().join(format!("skiff-scheduling-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("scheduler.yaml");
        let args = SchedulerArgs { scheduler_config: Some(file.clone()) };
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            args.configuration().map_err(|error| error.to_string())
        };
        let head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
        read(&format!("{head}profiles:\n- schedulerName: a\n- schedulerName: b\n")).unwrap();
        let error = read(&format!("{head}extenders:\n- urlPrefix: http://a\n")).unwrap_err();
        assert_eq!(error, format!("{}: extenders: Forbidden: extenders are not called", file.display()));
        assert!(read("a: [").unwrap_err().contains("yaml: line 1"));
        assert!(read("kind: Pod\napiVersion: v1\n").unwrap_err().ends_with(
            "no kind \"Pod\" is registered for version \"v1\": KubeSchedulerConfiguration of \
             kubescheduler.config.k8s.io/v1 is expected"
        ));
        let error = read(&format!("{head}profile: []\n")).unwrap_err();
        assert!(error.ends_with("strict decoding error: unknown field \"profile\""), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
        let error = args.configuration().unwrap_err().to_string();
        assert_eq!(error, format!("cannot read the scheduler's configuration {}", file.display()));
        assert_eq!(
            args.said().words(),
            [std::ffi::OsString::from(format!("--scheduler-config={}", file.display()))]
        );
    }
}
