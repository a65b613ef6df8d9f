//! Facts about the machine that the Node object shows.

use super::modules::SecurityModules;
use crate::quantity::{self, Amounts};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeSystemInfo;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use skiff_runtime::images::named_by_images;
use std::path::Path;

/// What the machine has.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) hostname: String,
    pub(crate) cpus: usize,
    /// Bytes.
    pub(crate) memory: u64,
    /// Bytes of the file system that holds the agent's data.
    pub(crate) disk: u64,
    pub(crate) system: NodeSystemInfo,
    /// Whether pods can have user namespaces.
    pub(crate) user_namespaces: bool,
    pub(crate) modules: SecurityModules,
}

impl Machine {
    /// Looks at the machine; what cannot be found out stays empty.
    pub(crate) fn inspect(
        data_dir: &Path,
        (version, kubernetes_version): (&str, &str),
        user_namespaces: bool,
    ) -> Self {
        let uname = rustix::system::uname();
        let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
        Self {
            hostname: text(uname.nodename()),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: total_memory(&read("/proc/meminfo")),
            disk: rustix::fs::statvfs(data_dir).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize)),
            system: NodeSystemInfo {
                architecture: named_by_images(&text(uname.machine())).to_owned(),
                boot_id: read("/proc/sys/kernel/random/boot_id"),
                container_runtime_version: format!("skiff://{version}"),
                kernel_version: text(uname.release()),
                kube_proxy_version: String::new(),
                kubelet_version: kubernetes_version.to_owned(),
                machine_id: read("/etc/machine-id"),
                operating_system: "linux".into(),
                os_image: os_image(&read("/etc/os-release")),
                swap: None,
                system_uuid: read("/sys/class/dmi/id/product_uuid"),
            },
            user_namespaces,
            modules: SecurityModules::inspect(),
        }
    }

    /// What the node offers; all of it can be used by pods.
    pub(crate) fn capacity(&self, max_pods: u32) -> Amounts {
        [
            ("cpu".to_owned(), Quantity(self.cpus.to_string())),
            ("memory".to_owned(), quantity::bytes(self.memory)),
            ("ephemeral-storage".to_owned(), quantity::bytes(self.disk)),
            ("pods".to_owned(), Quantity(max_pods.to_string())),
        ]
        .into()
    }
}

/// What the kernel says of the machine now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// When it was started.
    pub(crate) started: Option<Timestamp>,
    /// Bytes of swap: all and free.
    pub(crate) swap: Option<(u64, u64)>,
    /// Processes and threads: most and now.
    pub(crate) tasks: Option<(u64, u64)>,
}

impl Kernel {
    /// Asks it.
    pub(crate) fn look() -> Self {
        let most = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
        let most = most.iter().filter_map(|path| read(path).parse().ok()).min();
        let meminfo = read("/proc/meminfo");
        Self {
            started: started(&read("/proc/stat")),
            swap: kibibytes(&meminfo, "SwapTotal:").zip(kibibytes(&meminfo, "SwapFree:")),
            tasks: most.zip(tasks(&read("/proc/loadavg"))),
        }
    }
}

/// When the machine was started, from the text of `/proc/stat`.
fn started(stat: &str) -> Option<Timestamp> {
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

/// Processes and threads, from the text of `/proc/loadavg`: the number behind the slash.
fn tasks(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// The file's text without surrounding space; empty when there is none.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Bytes of memory, from the text of `/proc/meminfo`.
fn total_memory(meminfo: &str) -> u64 {
    kibibytes(meminfo, "MemTotal:").unwrap_or(0)
}

/// A line of `/proc/meminfo`, in bytes.
fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The name of the operating system, from the text of `/etc/os-release`.
fn os_image(text: &str) -> String {
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".into(), |name| name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), 16 << 20);
        assert_eq!(os_image("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        assert_eq!(started("cpu 1 2\nbtime 1000\n"), Timestamp::from_second(1000).ok());
        assert_eq!(tasks("0.1 0.2 0.3 2/345 6789"), Some(345));
        assert_eq!((started(""), tasks(""), kibibytes("", "SwapTotal:")), (None, None, None));
    }
}
