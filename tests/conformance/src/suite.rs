//! Kubernetes' end-to-end suite as a program.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use skiff_tests::Cluster;

use crate::outcome::Outcome;

/// How long a test may take. The longest watch something not happen for five minutes, or wait ten for a server to
/// forget an old revision.
const BOUND_SECONDS: u32 = 900;
/// How long a test whose time is over may clean up before it is killed.
const GRACE_SECONDS: u32 = 60;

/// What `build` left.
#[derive(Debug)]
pub(crate) struct Suite {
    directory: PathBuf,
}

/// One test of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// Its place among the conformance tests, from 1.
    number: usize,
    name: String,
}

impl Test {
    /// The full name: every text from the outermost group to the test.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name of its log among all logs; names of tests are no names of files.
    pub(crate) fn log(&self) -> String {
        format!("{:03}.log", self.number)
    }

    /// Whether no other test may run at the same time.
    pub(crate) fn serial(&self) -> bool {
        self.name.contains("[Serial]")
    }

    /// The regular expression that ginkgo selects this test by, and no other: it looks at the suite's name with the test's after it,
    /// and no other test's name begins in the middle.
    fn focus(&self) -> String {
        format!(r"{}\s*$", regex::escape(&self.name))
    }
}

impl Suite {
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let directory =
            directory.canonicalize().with_context(|| format!("{} is not there", directory.display()))?;
        Ok(Self { directory })
    }

    /// All conformance tests, as the suite lists them.
    pub(crate) fn conformance_tests(&self) -> anyhow::Result<Vec<Test>> {
        let program = self.program("e2e.test");
        let output = Command::new(&program).arg("--list-tests").output();
        let output = output.with_context(|| program.display().to_string())?;
        ensure!(output.status.success(), "{} --list-tests: {}", program.display(), output.status);
        Ok(listed(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Runs one test to its end on a cluster; what it prints goes to the file `log`.
    pub(crate) fn run(&self, cluster: &Cluster, test: &Test, log: &Path) -> anyhow::Result<Outcome> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        // A terminal's interrupt is for the run, which then ends its tests.
        let mut command = self.command(cluster, test);
        let status = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()
            .context("running timeout")?;
        let output = std::fs::read(log).with_context(|| log.display().to_string())?;
        Ok(Outcome::read(status.code(), &String::from_utf8_lossy(&output)))
    }

    fn command(&self, cluster: &Cluster, test: &Test) -> Command {
        let mut command = cluster.command("timeout");
        command.arg("--signal=INT").arg(format!("--kill-after={GRACE_SECONDS}"));
        command.arg(BOUND_SECONDS.to_string()).arg(self.program("e2e.test"));
        command.args(["--provider=skeleton", "--num-nodes=1", "--ginkgo.v", "--ginkgo.no-color"]);
        // The suite waits for so many pods of kube-system; skiff's DNS and proxy are no pods.
        command.arg("--minStartupPods=-1");
        command.args(["--dump-logs-on-failure=false", "--disable-log-dump=true"]);
        command.arg(format!("--kubeconfig={}", cluster.kubeconfig().display()));
        command.arg(format!("--kubectl-path={}", self.program("kubectl").display()));
        command.arg(format!("--repo-root={}", self.directory.join("kubernetes").display()));
        command.arg(format!("--ginkgo.focus={}", test.focus()));
        command
    }

    fn program(&self, name: &str) -> PathBuf {
        self.directory.join("bin").join(name)
    }
}

/// The conformance tests in the suite's list, whose lines are `FILE:LINE: NAME`.
fn listed(text: &str) -> Vec<Test> {
    let names = text.lines().filter_map(|line| {
        let (place, name) = line.strip_prefix("    ")?.split_once(": ")?;
        (place.contains(".go:") && name.contains("[Conformance]")).then(|| name.trim().to_owned())
    });
    names.zip(1..).map(|(name, number)| Test { number, name }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conformance_tests_are_found_in_the_list() {
        let text = "The following spec names can be used with 'ginkgo run --focus/skip':
    ../apps/cronjob.go:70: [sig-apps] CronJob should schedule: many [Conformance]
    ../apps/cronjob.go:90: [sig-apps] CronJob should wait
    ../node/taints.go:12: [sig-node] Taints [Serial] evict (a|b) [Conformance] 

";
        let tests = listed(text);
        let names: Vec<&str> = tests.iter().map(Test::name).collect();
        let expected = [
            "[sig-apps] CronJob should schedule: many [Conformance]",
            "[sig-node] Taints [Serial] evict (a|b) [Conformance]",
        ];
        assert_eq!(names, expected);
        assert_eq!((tests[0].serial(), tests[1].serial()), (false, true));
        assert_eq!((tests[0].log(), tests[1].log()), ("001.log".to_owned(), "002.log".to_owned()));
        let focus = regex::Regex::new(&tests[1].focus()).unwrap();
        assert!(
            focus.is_match(&format!("Kubernetes e2e suite {}", names[1]))
                && !focus.is_match(&format!("{} more", names[1]))
        );
    }
}
