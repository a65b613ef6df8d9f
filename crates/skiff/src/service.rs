//! The cluster as a service of systemd: `skiff up --service` installs a unit, and from then on systemd, not a keeper,
//! starts the server, also when the machine starts, and again when it ends by itself.
//!
//! The unit is found by its name alone, which is made from the run directory; who has removed it has no service.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::layout::Layout;
use crate::preflight;
use crate::progress::Report;

/// There when systemd is the machine's first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Where an administrator's units are (systemd.unit(5)).
const UNITS: &str = "/etc/systemd/system";

/// A cluster's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    name: String,
}

impl Unit {
    /// The unit of a cluster, if it is installed.
    pub(crate) fn installed(layout: &Layout) -> Option<Self> {
        let unit = Self::of(layout);
        unit.path().exists().then_some(unit)
    }

    /// Writes the unit of a cluster whose server is `program` with `arguments`, and makes systemd know it.
    pub(crate) fn install(layout: &Layout, program: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        if !Path::new(BOOTED).exists() {
            bail!("this machine is not run by systemd; without --service, a keeper starts the server again");
        }
        let unit = Self::of(layout);
        let environment = ["HOME", "KUBECONFIG", "RUST_LOG"];
        let environment = environment.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
        let text = text(layout, program, arguments, &environment.collect::<Vec<_>>());
        let path = unit.path();
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        systemctl(&["daemon-reload"])?;
        Ok(unit)
    }

    fn of(layout: &Layout) -> Self {
        Self { name: format!("{}.service", preflight::cluster_name(layout.run())) }
    }

    fn path(&self) -> PathBuf {
        Path::new(UNITS).join(&self.name)
    }

    /// Its name, e.g. `skiff.service`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts the server, now and when the machine starts; returns when pods can run.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        systemctl(&["enable", "--now", &self.name])
            .with_context(|| format!("`journalctl --unit {}` says more", self.name))
    }

    /// Stops the server, and does not start it with the machine any more.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        systemctl(&["disable", "--now", &self.name])
    }

    /// Removes the unit, which must have been stopped.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        let path = self.path();
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        systemctl(&["daemon-reload"])
    }

    /// Whether systemd starts the server again when it ends, in words for `skiff status`.
    pub(crate) fn status(&self) -> Result<String, String> {
        let shown = run(&["show", "--property=ActiveState,NRestarts,Result", &self.name]);
        let shown = shown.map_err(|error| format!("{error:#}"))?;
        let words = shown.split_whitespace().collect::<Vec<_>>().join(", ");
        if words.contains("ActiveState=active") {
            Ok(format!("systemd, {}: {words}", self.name))
        } else {
            Err(format!("systemd does not run {}: {words}", self.name))
        }
    }
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    run(arguments).map(drop)
}

fn run(arguments: &[&str]) -> anyhow::Result<String> {
    let line = arguments.join(" ");
    let output = Command::new("systemctl").args(arguments).output();
    let output = output.with_context(|| format!("run systemctl {line}"))?;
    if !output.status.success() {
        bail!("systemctl {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The unit's text. `KillMode=process`: pods are not stopped with the server. `Type=notify`: started means that pods can
/// run.
fn text(layout: &Layout, program: &Path, arguments: &[String], environment: &[(&str, String)]) -> String {
    let program = program.display().to_string();
    let command: Vec<String> = std::iter::once(&program).chain(arguments).map(|word| quote(word)).collect();
    let environment: String = environment
        .iter()
        .map(|(name, value)| format!("Environment={}\n", quote(&format!("{name}={value}"))))
        .collect();
    format!(
        "# Written by `skiff up --service`; `skiff down --purge` removes it.\n\
         [Unit]\n\
         Description=skiff, a Kubernetes cluster in {data}\n\
         After=network.target nftables.service\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=notify\n\
         ExecStart={command}\n\
         {environment}\
         Environment=MALLOC_ARENA_MAX=2\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         TimeoutStartSec=180\n\
         KillMode=process\n\
         Delegate=yes\n\
         TasksMax=infinity\n\
         LimitNOFILE=1048576\n\
         OOMScoreAdjust=-999\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        data = layout.data().display().to_string().replace('%', "%%"),
        command = command.join(" "),
    )
}

/// A word of a unit file as systemd reads it (systemd.service(5), "Command lines").
fn quote(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if escaped.contains(|c: char| c.is_whitespace() || c == '\'' || c == '"') || escaped.is_empty() {
        format!("\"{escaped}\"")
    } else {
        escaped
    }
}

/// Tells systemd how far the start is, when it has started this process and asks for it (sd_notify(3)).
pub(crate) fn notify(report: &Report) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let text = match report {
        Report::Ready => "READY=1\nSTATUS=pods can run".to_owned(),
        // An assignment ends with its line.
        Report::Step(text) | Report::Remark(text) | Report::Failed(text) => {
            format!("STATUS={}", text.replace('\n', ";"))
        }
    };
    if let Err(error) = send(&socket.to_string_lossy(), &text) {
        tracing::warn!(%error, "systemd cannot be told how far the start is");
    }
}

fn send(socket: &str, text: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_systemd_reads() {
        let check = |word: &str, quoted: &str| assert_eq!(quote(word), quoted);
        check("--data-dir", "--data-dir");
        check("/a b", "\"/a b\"");
        check("50%$x\\", "50%%$$x\\\\");
        check("it\"s", "\"it\\\"s\"");
        check("", "\"\"");
    }

    #[test]
    fn the_unit_leaves_pods_alone() {
        let layout = Layout::new("/var/lib/skiff".into(), "/run/skiff".into());
        let arguments = ["server".to_owned(), "--data-dir".to_owned(), "/a b".to_owned()];
        let text = text(&layout, Path::new("/usr/bin/skiff"), &arguments, &[("HOME", "/root".to_owned())]);
        for line in [
            "ExecStart=/usr/bin/skiff server --data-dir \"/a b\"",
            "KillMode=process",
            "Environment=HOME=/root",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }

    #[test]
    fn tells_systemd_over_both_kinds_of_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("skiff-test-{}", std::process::id());
        let abstract_socket = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&abstract_socket).unwrap(), format!("@{name}")),
        ];
        for (socket, address) in sockets {
            send(&address, "READY=1").unwrap();
            let mut buffer = [0; 16];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
    }
}
