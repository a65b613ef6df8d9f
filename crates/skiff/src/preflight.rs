//! What must be true before a cluster can start; each failure is one sentence with the cause and the remedy.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};
use nix::sched::CloneFlags;
use skiff_runtime::{Runtime, RuntimeConfig};

use crate::args::ServerArgs;
use crate::layout::Layout;

/// Checks the machine, and leaves it as it was. What only a try can tell is tried: kernels load modules when they are
/// needed, and list them only then.
pub(crate) fn check(args: &ServerArgs) -> anyhow::Result<()> {
    root()?;
    port_is_free(args.api_port, "--api-port", "API server")?;
    if !args.without_agent {
        port_is_free(args.kubelet_port, "--kubelet-port", "node")?;
        runtime(&args.layout.layout())?.check()?;
        network()?;
    }
    Ok(())
}

/// What cannot run on this machine, in one sentence each, though a cluster can.
pub(crate) fn lacks(layout: &Layout) -> anyhow::Result<Vec<String>> {
    let users = runtime(layout)?.check_users().err();
    Ok(users
        .map(|error| format!("pods with hostUsers: false cannot run here: {error}"))
        .into_iter()
        .collect())
}

/// Makes once what the network of pods and Services is made of, in a network namespace that ends with its thread.
fn network() -> anyhow::Result<()> {
    let trial = || -> anyhow::Result<()> {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).context(
            "the kernel makes no network namespace (CONFIG_NET_NS); inside a container skiff needs a privileged one",
        )?;
        skiff_proxy::kernel::try_out()?;
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(tokio.block_on(skiff_podnet::try_out())?)
    };
    let thread = std::thread::Builder::new().name("network-trial".to_owned()).spawn(trial)?;
    thread.join().unwrap_or_else(|_panic| bail!("the trial of the kernel's network panicked"))
}

/// Only root can make what a cluster is made of.
pub(crate) fn root() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("skiff needs root, for namespaces, cgroups and the kernel's packet filter; run it with sudo");
    }
    Ok(())
}

/// The container runtime of this cluster.
pub(crate) fn runtime(layout: &Layout) -> anyhow::Result<Runtime> {
    Ok(Runtime::new(RuntimeConfig {
        data_dir: layout.data().to_owned(),
        run_dir: layout.run().to_owned(),
        executable: std::env::current_exe()?,
        image_limits: layout.image_limits(),
        cgroup_parent: cluster_name(layout.run()),
        start_limit: skiff_runtime::START_LIMIT,
    })?)
}

/// The name of a cluster's cgroup and service: `skiff` for the default run directory, else one made from it, so that
/// several clusters on one machine do not meet.
pub(crate) fn cluster_name(run_dir: &std::path::Path) -> String {
    if run_dir == std::path::Path::new("/run/skiff") {
        return "skiff".to_owned();
    }
    let name: String =
        run_dir.to_string_lossy().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("skiff{name}")
}

fn port_is_free(port: u16, option: &str, of: &str) -> anyhow::Result<()> {
    match TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!(
                "port {port} of the {of} is taken by another program; stop it, or choose another port with {option}"
            )
        }
        Err(error) => bail!("port {port} of the {of} cannot be opened: {error}"),
    }
}
