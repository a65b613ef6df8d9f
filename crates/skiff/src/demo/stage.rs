//! Where the demo plays: directories of its own, and a kubectl that reaches its cluster.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::args::{DownArgs, LayoutArgs};
use crate::down;
use skiff_runtime::ImageLimits;

/// The demo's directories and environment.
pub(super) struct Stage {
    directory: tempfile::TempDir,
    program: PathBuf,
    search_path: OsString,
    colours: bool,
}

impl Stage {
    pub(super) fn new() -> anyhow::Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("skiff-demo-").tempdir().context("make a directory")?;
        let program = std::env::current_exe().context("find the skiff program")?;
        let tools = directory.path().join("bin");
        std::fs::create_dir(&tools)?;
        symlink(&program, tools.join("skiff"))?;
        let mut real = Command::new("kubectl");
        real.args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null());
        if !real.status().is_ok_and(|status| status.success()) {
            // `skiff` called by this name has the verbs that the tour needs.
            symlink(&program, tools.join("kubectl"))?;
        }
        let old = std::env::var_os("PATH").unwrap_or_default();
        let search_path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&old)))?;
        Ok(Self { directory, program, search_path, colours: std::io::stdout().is_terminal() })
    }

    /// A heading and what it is about.
    pub(super) fn explain(&self, title: &str, text: &str) -> anyhow::Result<()> {
        let title = if self.colours { format!("\x1b[1;36m{title}\x1b[0m") } else { title.to_owned() };
        skiff_print::line(format_args!("\n{title}"))?;
        for line in text.lines() {
            skiff_print::line(format_args!("  {}", line.trim()))?;
        }
        Ok(skiff_print::line("")?)
    }

    /// Shows a command and runs it for the audience; it must succeed.
    pub(super) fn show(&self, command: &str) -> anyhow::Result<()> {
        let status = self.shell(command)?.status()?;
        if !status.success() {
            bail!("the demo's command `{command}` failed ({status})");
        }
        Ok(())
    }

    /// Shows a command that is expected to fail.
    pub(super) fn show_failing(&self, command: &str) -> anyhow::Result<()> {
        let status = self.shell(command)?.status()?;
        if status.success() {
            bail!("the demo's command `{command}` succeeded, against expectation");
        }
        skiff_print::line(format_args!("(exit code {})", status.code().unwrap_or(-1)))?;
        Ok(())
    }

    /// Runs a command behind the scenes; what it printed.
    pub(super) fn ask(&self, command: &str) -> anyhow::Result<String> {
        let output = self.environment(Command::new("sh").args(["-c", command])).output()?;
        if !output.status.success() {
            bail!("`{command}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Writes a file for the tour; its path.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// Shows a command whose output goes on, until a line of it is the expected one.
    pub(super) fn wait_for_line(&self, command: &str, expected: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let mut child = self.shell(command)?.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut found = false;
        for line in BufReader::new(output).lines() {
            let line = line?;
            skiff_print::line(&line)?;
            found = expected(&line);
            if found {
                break;
            }
        }
        child.kill()?;
        child.wait()?;
        if !found {
            bail!("`{command}` ended before it showed what was waited for");
        }
        Ok(())
    }

    fn shell(&self, command: &str) -> anyhow::Result<Command> {
        let prompt = if self.colours { "\x1b[1;32m$\x1b[0m" } else { "$" };
        skiff_print::line(format_args!("{prompt} {command}"))?;
        let mut shell = Command::new("sh");
        self.environment(shell.args(["-c", command]));
        Ok(shell)
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let directory = self.directory.path();
        command.env("PATH", &self.search_path).env("HOME", directory);
        command.env("KUBECONFIG", directory.join("kubeconfig"));
        command.env("SKIFF_DATA_DIR", directory.join("data")).env("SKIFF_RUN_DIR", directory.join("run"))
    }

    /// Says how to reach the cluster, and leaves it.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let directory = self.directory.keep();
        let (program, at) = (self.program.display(), directory.display());
        skiff_print::line(
            "\nThe demo's cluster runs on. It lives in a network namespace of its own, so work from a shell in there:",
        )?;
        skiff_print::line(format_args!(
            "  nsenter --net=/proc/$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' {at}/run/server.json)/ns/net"
        ))?;
        skiff_print::line(format_args!(
            "  export KUBECONFIG={at}/kubeconfig SKIFF_DATA_DIR={at}/data SKIFF_RUN_DIR={at}/run"
        ))?;
        skiff_print::line(format_args!("  {program} down --purge      ends it"))?;
        Ok(())
    }

    /// Stops the cluster and deletes all that is left of it.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        let directory = self.directory.path();
        let (data_dir, run_dir) = (directory.join("data"), directory.join("run"));
        let layout = LayoutArgs { data_dir, run_dir, image_limit: ImageLimits::default() };
        let kubeconfig = directory.join("kubeconfig");
        down::stop(&DownArgs { layout, purge: true, context: "skiff".to_owned() }, Some(&kubeconfig))?;
        self.directory.close().context("remove the demo's directory")
    }
}
