//! Many pods: what they cost in memory and in time to read, and whether that ends with them.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use skiff_tests::Cluster;

use super::idle::{SETTLED, usage};
use super::{inside, number};
use crate::report::Result as Row;

/// After which time memory has come back.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Lets the highest memory of the server be counted anew, or shows it in KiB.
const RESET_PEAK: &str = "for p in $(pgrep -x skiff); do echo 5 > /proc/$p/clear_refs; done";
const PEAK: &str =
    "for p in $(pgrep -x skiff); do awk '/^VmHWM:/ {print $2}' /proc/$p/status; done | sort -n | tail -1";

pub(crate) fn run(pods: u32) -> anyhow::Result<Vec<Row>> {
    let cluster = Cluster::empty();
    sleep(SETTLED);
    let before = usage(&cluster)?.pss_mib;
    let seconds = number(&inside(&cluster, &["load", &pods.to_string()])?, "seconds");
    sleep(SETTLED);
    let full = usage(&cluster)?.pss_mib;
    cluster.sh(RESET_PEAK).ok();
    let resting = peak(&cluster)?;
    let read = inside(&cluster, &["read"])?;
    let more = peak(&cluster)? - resting;
    inside(&cluster, &["clear"])?;
    sleep(FORGOTTEN);
    let after = usage(&cluster)?.pss_mib / before;
    let (first, last) = (number(&read, "first"), number(&read, "last"));
    let (all, bytes) = (number(&read, "all"), number(&read, "allBytes"));
    let by_page = number(&read, "lastBytes") / last;
    let more_of_all = more * f64::from(1 << 20) / bytes;
    Ok(vec![
        Row::told("pods of 4.5 KB, created through the API", format!("{pods} in {seconds:.1} s")),
        Row::at_most("memory of a cluster with them (PSS)", full, 160.0, "MiB"),
        Row::at_most("a node's list of 30 pods among them", number(&read, "node"), 2.0, "ms"),
        Row::at_most("a list of 30 pods with a label among them", number(&read, "label"), 2.0, "ms"),
        Row::at_most("a page of 500 before all others, of one that ends the list", first / last, 1.25, "×"),
        Row::told("LIST of all of them", format!("{all:.0} ms, {more:.1} MiB more memory at the peak")),
        Row::at_most("time for a byte of it, of one of a page of 500", by_page * all / bytes, 1.25, "×"),
        Row::at_most("memory for it at the peak, of its length", more_of_all, 0.1, "×"),
        Row::at_most("memory 60 s after they were deleted, of that before", after, 1.3, "×"),
    ])
}

/// MiB.
fn peak(cluster: &Cluster) -> anyhow::Result<f64> {
    let text = cluster.sh(PEAK).ok();
    Ok(text.trim().parse::<f64>().with_context(|| format!("the server's peak is {text:?}"))? / 1024.0)
}
