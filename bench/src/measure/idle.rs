//! What a cluster costs while nothing happens.

use std::thread::sleep;
use std::time::Duration;

use anyhow::bail;
use skiff_tests::{Cluster, Output};

use crate::report::Result as Row;
use crate::server::ApiServer;

/// Long enough for leases and probes to show.
const WATCHED: Duration = Duration::from_secs(60);

/// Long enough for what a change leaves to do.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);
/// Pods added to see what each costs.
const PODS: u32 = 20;

/// Sums the memory of all the server's processes on the host (proportional set size and swap, KiB) and the CPU ticks that
/// they have used so far. The processes go by their names, which containers' own programs do not share. What has
/// ended and is not reaped (the first process of these namespaces reaps nobody) has no memory.
const USAGE: &str = r#"pss=0; ticks=0
for p in /proc/[0-9]*; do
    [[ " $* " == *" $(cat $p/comm 2>/dev/null) "* ]] || continue
    memory=$(awk '/^(Pss|SwapPss):/ {sum += $2} END {print sum}' $p/smaps_rollup 2>/dev/null)
    pss=$((pss + ${memory:-0}))
    ticks=$((ticks + $(awk '{print $14 + $15}' $p/stat)))
done
echo $pss $ticks $(getconf CLK_TCK)"#;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::up();
    sleep(SETTLED);
    let before = usage(&cluster)?;
    sleep(WATCHED);
    let after = usage(&cluster)?;
    let cpu = (after.ticks - before.ticks) / after.per_second / WATCHED.as_secs_f64() * 100.0;
    let empty = after.pss_mib;
    cluster.create_kubia(skiff_tests::Kubectl::New);
    sleep(SETTLED);
    let few = usage(&cluster)?.pss_mib;
    cluster.k(&format!("scale rc kubia --replicas={}", 3 + PODS));
    cluster.wait_ready_replicas(3 + PODS);
    sleep(SETTLED);
    let each = (usage(&cluster)?.pss_mib - few) / f64::from(PODS);
    cluster.k("delete rc,service kubia");
    cluster.k("wait pod -l app=kubia --for=delete --timeout=60s");
    sleep(SETTLED);
    let used = usage(&cluster)?.pss_mib;
    Ok(vec![
        Row::at_most("memory of an idle one-node cluster, DNS included (PSS)", empty, 60.0, "MiB"),
        Row::at_most("the same after kubectl and 23 pods have come and gone", used, 60.0, "MiB"),
        Row::at_most("memory of each further pod, ours (PSS)", each, 2.0, "MiB"),
        Row::at_most("idle CPU", cpu, 0.3, "% of a core"),
    ])
}

pub(crate) struct Usage {
    pub(crate) pss_mib: f64,
    ticks: f64,
    per_second: f64,
}

impl Usage {
    /// Seconds that all of them have worked.
    pub(super) fn seconds(&self) -> f64 {
        self.ticks / self.per_second
    }
}

pub(crate) fn usage(server: &dyn ApiServer) -> anyhow::Result<Usage> {
    let mut command = server.host().command("bash");
    let text = Output::of(command.args(["-c", USAGE, "usage"]).args(server.processes())).ok();
    let words: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match words[..] {
        [pss, ticks, per_second] if pss > 0.0 => Ok(Usage { pss_mib: pss / 1024.0, ticks, per_second }),
        _ => bail!("no process by the name of {:?} in {text:?}", server.processes()),
    }
}
