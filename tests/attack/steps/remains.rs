//! What there is of pods on the node.

use std::collections::BTreeSet;

use crate::machine::Machine;

/// Everything of the node that pods and their volumes have, a line each. The parts of the cluster itself come and go, and so do
/// link-local routes of IPv6: the kernel makes them a second or two after a link, when no neighbour has claimed the address (RFC 4862).
const LOOK: &str = r#"
    ps -eo pid=,args= | grep -v -e 'skiff server' -e 'skiff agent' -e 'ps -eo' -e ' bash' -e ' cat$' -e ' grep' -e ' sed ' -e ' \[' | sed 's/^/process /'
    ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/link \1/'
    ip route show table all | grep -v -e fe80:: -e ff00:: | sed 's/^/route /'
    cut -d ' ' -f 5 /proc/self/mountinfo | grep "$PWD" | sed 's/^/mount /'
    losetup --list --noheadings --output NAME,BACK-FILE | grep "$PWD" | sed 's/^/device /'
    find /sys/fs/cgroup -type d -path "*$(tr -c '[:alnum:]' - <<<"$PWD/run" | sed 's/-*$//')*" | sed 's/^/group /'
    find data run -mindepth 2 -maxdepth 2 -not -path 'data/store/*' -not -path 'data/pki/*' | sed 's/^/file /'
    true"#;

/// All of it now.
pub(crate) fn remains(machine: &Machine) -> BTreeSet<String> {
    machine.cluster.sh(LOOK).ok().lines().map(str::to_owned).collect()
}

/// Waits until there is no more than before; the node clears away what it has after the API has forgotten it. What was there and
/// is not any more was for the moment: the pod with which a server tries connections when it starts.
pub(crate) fn nothing_more(machine: &Machine, before: &BTreeSet<String>) {
    let mut more = BTreeSet::new();
    for _ in 0..150 {
        more = &remains(machine) - before;
        if more.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("left on the node: {more:#?}");
}
