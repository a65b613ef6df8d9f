//! Everything that may be killed is killed and the disk is filled, in a random order, while clients write and a
//! connection is in use. At the end what was acknowledged is there, the connection still answers, and `skiff down`
//! leaves nothing.
//!
//! The order follows from a seed, which is printed; `SKIFF_CHAOS_SEED` plays it again. `SKIFF_CHAOS_SECONDS` is for how
//! long; `./dev chaos` sets it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use skiff_tests::{Cluster, Dice, Kubectl, setting};

const SECONDS: u64 = 10;

/// A program that goes on until there is a file `stop`.
struct Load(Child);

impl Load {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.kill().unwrap();
        }
        self.0.wait().unwrap();
    }
}

/// Creates ConfigMaps without a pause, and notes the name of each that was acknowledged in a file.
fn writer(cluster: &Cluster, name: &str) -> Load {
    let script = format!(
        r#"{}
        for ((i = 0; ; i++)); do
            [ -e stop ] && exit
            code=$(post configmaps '{{"metadata":{{"name":"{name}-'$i'"}}}}')
            [ "$code" = 201 ] && echo "configmap/{name}-$i" >> {name}.accepted
            [ "$code" = 201 ] || sleep 0.05
        done"#,
        skiff_tests::poster(name)
    );
    Load::start(&mut cluster.shell(&script))
}

/// One connection through the ClusterIP that is asked again and again; its process ends when it does not answer.
fn connection(cluster: &Cluster, ip: &str) -> Load {
    let script = format!(
        r"exec 3<>/dev/tcp/{ip}/80 || exit 1
        while sleep 0.05 && ! [ -e stop ]; do
            printf 'GET / HTTP/1.1\r\nHost: kubia\r\n\r\n' >&3
            while read -r -t 10 line <&3; do
                case $line in You*) echo $line >> answers; continue 2;; esac
            done
            exit 1
        done"
    );
    Load::start(&mut cluster.shell(&script))
}

/// Process ids of this host whose command line contains `mark`.
fn pids(cluster: &Cluster, mark: &str) -> Vec<String> {
    let processes = cluster.host().processes();
    let pid = |line: &String| line.split_whitespace().next().map(str::to_owned);
    processes.iter().filter(|line| line.contains(mark)).filter_map(pid).collect()
}

/// Does one thing that may happen to a machine, and says what.
fn happen(cluster: &Cluster, dice: &mut Dice) -> String {
    let kill = |mark: &str, dice: &mut Dice| {
        let pids = pids(cluster, mark);
        let Some(pid) = pids.get(usize::try_from(dice.below(pids.len().max(1) as u64)).unwrap()) else {
            return format!("no {mark} to kill");
        };
        // It may have ended by itself meanwhile.
        drop(cluster.sh(&format!("kill -9 {pid}")));
        format!("kill {mark} {pid}")
    };
    match dice.below(8) {
        0 | 1 => kill("skiff server", dice),
        2 => kill("pod-supervisor", dice),
        3 => {
            let killed = kill("skiff keeper", dice);
            // Its promise ends with it; an administrator sees that in `skiff status`.
            if dice.below(2) == 0 {
                return format!("{killed}, {}", kill("skiff server", dice));
            }
            killed
        }
        4 => {
            drop(cluster.sh("dd if=/dev/zero of=data/filler bs=64k"));
            "fill the disk".to_owned()
        }
        5 => {
            cluster.sh("rm -f data/filler").ok();
            "free the disk".to_owned()
        }
        _ => {
            // Refused on a full disk, perhaps; at the end it must not be.
            let up = cluster.skiff(["up", "--node-name", "node-1"]);
            let said = up.stderr.lines().last().unwrap_or_default().to_owned();
            format!("skiff up: {:?} {said}", up.code)
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_left() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = setting("SKIFF_CHAOS_SEED").unwrap_or(now.as_secs());
    println!("SKIFF_CHAOS_SEED={seed}");
    let cluster = Cluster::stopped();
    cluster.sh("mkdir data && mount -t tmpfs -o size=512m,mode=700 disk data").ok();
    cluster.start();
    let image = skiff_tests::program("SKIFF_TEST_IMAGE");
    cluster.skiff(["image", "load", &image.to_string_lossy()]).ok();
    cluster.create_kubia(Kubectl::New);
    let ip = cluster.cluster_ip("kubia");
    let names: Vec<String> = (0..3).map(|number| format!("w{number}")).collect();
    let writers: Vec<Load> = names.iter().map(|name| writer(&cluster, name)).collect();
    let mut open = connection(&cluster, &ip);

    let mut dice = Dice::new(seed);
    let end = Instant::now() + Duration::from_secs(setting("SKIFF_CHAOS_SECONDS").unwrap_or(SECONDS));
    while Instant::now() < end {
        println!("{}", happen(&cluster, &mut dice));
        // What happens next comes at any moment of what this one has set off.
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
        assert_eq!(open.0.try_wait().unwrap(), None, "the open connection still answers");
    }

    cluster.sh("rm -f data/filler").ok();
    cluster.start();
    cluster.sh("for i in {1..600}; do [ \"$(curl -sk https://127.0.0.1:6443/readyz)\" = ok ] && exit 0; sleep 0.1; done; exit 1").ok();
    cluster.wait_ready_replicas(3);
    let answered = cluster.sh("wc -l < answers").ok();
    assert_eq!(open.0.try_wait().unwrap(), None, "the open connection still answers");
    cluster
        .sh(&format!(
            "for i in {{1..100}}; do [ $(wc -l < answers) -gt {} ] && exit 0; sleep 0.1; done; exit 1",
            answered.trim()
        ))
        .ok();
    cluster.sh("touch stop").ok();
    drop((open, writers));
    let there: BTreeSet<String> = cluster.k("get configmaps -o name").lines().map(str::to_owned).collect();
    let accepted = names.iter().flat_map(|name| {
        let text =
            std::fs::read_to_string(cluster.host().directory().join(format!("{name}.accepted"))).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let accepted: BTreeSet<String> = accepted.collect();
    println!("{} writes were acknowledged", accepted.len());
    assert!(!accepted.is_empty());
    let lost: Vec<&String> = accepted.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    leaves_nothing(&cluster);
}

fn leaves_nothing(cluster: &Cluster) {
    cluster.skiff(["down", "--purge"]).ok();
    assert_eq!(cluster.host().processes(), Vec::<String>::new());
    assert_eq!(cluster.sh("nft list ruleset; ip route; ls data").stdout, "", "tables, routes and files");
    assert!(!cluster.run_dir().exists());
    let links = cluster.sh("ip -o link | grep -v ' lo:'").stdout;
    assert!(!links.contains("skiff"), "{links}");
    let mounts = cluster.sh("grep skiff-test- /proc/self/mounts").stdout;
    assert_eq!(mounts.lines().count(), 1, "only the disk is mounted: {mounts}");
    let run_dir = cluster.run_dir().to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let groups = cluster.sh(&format!("find /sys/fs/cgroup -type d -name '*{run_dir}*'")).ok();
    assert_eq!(groups, "", "cgroups are left");
    cluster.sh("umount data").ok();
}
