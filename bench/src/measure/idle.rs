//! What a cluster costs while nothing happens.

use std::thread::sleep;
use std::time::Duration;

use skiff_tests::Cluster;

use crate::report::Result as Row;

/// Long enough for leases and probes to show.
const WATCHED: Duration = Duration::from_secs(60);

/// Sums proportional set size (KiB) of all processes on the host, and CPU ticks used so far.
const USAGE: &str = r#"pss=0; ticks=0
for p in /proc/[0-9]*; do
    case "$(tr '\0' ' ' < $p/cmdline)" in *skiff*) ;; *) continue ;; esac
    [ "$p" = /proc/1 ] && continue
    pss=$((pss + $(awk '/^Pss:/ {print $2}' $p/smaps_rollup)))
    ticks=$((ticks + $(awk '{print $14 + $15}' $p/stat)))
done
echo $pss $ticks $(getconf CLK_TCK)"#;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::up();
    sleep(Duration::from_secs(5));
    let before = usage(&cluster);
    sleep(WATCHED);
    let after = usage(&cluster);
    let cpu = (after.ticks - before.ticks) / after.per_second / WATCHED.as_secs_f64() * 100.0;
    let empty = after.pss_mib;
    cluster.create_kubia(skiff_tests::Kubectl::New);
    cluster.k("scale rc kubia --replicas=20");
    cluster.wait_ready_replicas(20);
    let each = (usage(&cluster).pss_mib - empty) / 20.0;
    Ok(vec![
        Row {
            promise: "memory of an idle one-node cluster, DNS included (PSS)",
            bound: "≤ 60 MiB",
            measured: format!("{empty:.1} MiB"),
            holds: Some(empty <= 60.0),
        },
        Row {
            promise: "memory of each further pod, ours (PSS)",
            bound: "≤ 2 MiB",
            measured: format!("{each:.2} MiB"),
            holds: Some(each <= 2.0),
        },
        Row {
            promise: "idle CPU",
            bound: "≤ 0.3 % of a core",
            measured: format!("{cpu:.2} %"),
            holds: Some(cpu <= 0.3),
        },
    ])
}

struct Usage {
    pss_mib: f64,
    ticks: f64,
    per_second: f64,
}

fn usage(cluster: &Cluster) -> Usage {
    let text = cluster.sh(USAGE).ok();
    let words: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let word = |i: usize| words.get(i).copied().unwrap_or(f64::NAN);
    Usage { pss_mib: word(0) / 1024.0, ticks: word(1), per_second: word(2) }
}
