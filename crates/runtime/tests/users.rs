//! Pods with a user namespace, tried from inside on this machine's kernel, as root.

#![allow(clippy::disallowed_methods, reason = "tests prepare what is attacked by path")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod common;

use common::{Machine, PATIENCE, code, exited, log_text, supervisors_of, until};
use skiff_runtime::{
    AttachSpec, ContainerId, ContainerStatus, Device, ExecSpec, FileIds, IdRange, Mount, MountKind,
    PodHandle, PodSandbox, Propagation, RuntimeError, UserSpec,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Starts a machine or leaves the test with a printed reason.
macro_rules! machine {
    () => {
        match Machine::new().await {
            Some(machine) => machine,
            None => return,
        }
    };
}

fn range(number: u32) -> IdRange {
    IdRange::nth(number).unwrap()
}

/// A pod with the range of this number.
fn sandbox(machine: &Machine, name: &str, number: u32) -> PodSandbox {
    PodSandbox { users: Some(range(number)), ..machine.sandbox(name) }
}

async fn start(machine: &Machine, name: &str, number: u32) -> PodHandle {
    machine.runtime.start_pod(sandbox(machine, name, number)).await.unwrap()
}

fn bind(source: &Path, destination: &str, ids: FileIds) -> Mount {
    Mount {
        kind: MountKind::Bind { source: source.into(), below: PathBuf::new(), expected: None, ids },
        destination: destination.into(),
        readonly: false,
        recursive: false,
        propagation: Propagation::Private,
    }
}

async fn pid(pod: &PodHandle, id: &ContainerId) -> i32 {
    match until(pod, id, |status| matches!(status, ContainerStatus::Running { .. })).await.status {
        ContainerStatus::Running { pid, .. } => pid,
        other => panic!("{other:?}"),
    }
}

/// A line of a process' status on the node.
fn status_line(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:\t")));
    line.unwrap().trim().to_owned()
}

async fn in_container(pod: &PodHandle, id: &ContainerId, script: &str) -> String {
    let args = ["sh", "-c", script].map(String::from).to_vec();
    let captured = pod.exec_captured(id, args, PATIENCE, 1 << 16).await.unwrap();
    String::from_utf8(captured.output).unwrap()
}

fn create_error(result: Result<ContainerId, RuntimeError>) -> String {
    match result.unwrap_err() {
        RuntimeError::Create { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Who it is, and that it may be others of its own; nothing of the node's root.
const WHO: &str = "cat /proc/self/uid_map /proc/self/gid_map; id; touch /root.file /tmp.file; \
    chown 1000:2000 /tmp.file; stat -c '%n %u:%g' / /root.file /tmp.file /dev /etc/secret /work /dev/null; \
    echo > /dev/shm/f; stat -c '%n %u:%g %a' /dev/shm /dev/shm/f; cat /etc/secret; echo ok > /dev/stdout; \
    kill -0 1 && echo may signal";

#[tokio::test]
async fn root_inside_is_nobody_outside() {
    let machine = machine!();
    let pod = start(&machine, "own", 3).await;
    let (code, log) = machine.run(&pod, "c", WHO).await;
    println!("{log}");
    assert_eq!(code, 0, "{log}");
    let map = format!("0 {} 65536", range(3).first());
    let maps = log.lines().filter(|line| line.split_whitespace().skip(1).eq(map.split(' '))).count();
    assert_eq!(maps, 2, "{log}");
    for expected in [
        "stdout uid=0(root) gid=0(root)",
        "stdout / 0:0",
        "stdout /root.file 0:0",
        "stdout /tmp.file 1000:2000",
        "stdout /dev 0:0",
        "stdout /etc/secret 0:0",
        "stdout /work 0:0",
        "stdout /dev/null 65534:65534",
        "stdout /dev/shm 0:0 1777",
        "stdout /dev/shm/f 0:0",
        "stdout root only",
        "stdout ok",
        "stdout may signal",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    assert!(!log.contains("groups="), "no group of the node's: {log}");
    let other = start(&machine, "other", 4).await;
    let sleeper = |pod: &PodHandle| {
        let (machine, pod) = (&machine, pod.clone());
        async move {
            let mut spec = machine.shell(&pod, "sleeper", "exec sleep 1000").await;
            spec.user = UserSpec { uid: 7, gid: 8, groups: vec![8, 9] };
            let id = pod.start_container(spec).await.unwrap();
            pid(&pod, &id).await
        }
    };
    for (pod, number) in [(&pod, 3), (&other, 4)] {
        let (pid, first) = (sleeper(pod).await, range(number).first());
        let four = |id: u32| [id; 4].map(|id| (first + id).to_string()).join("\t");
        assert_eq!(status_line(pid, "Uid"), four(7));
        assert_eq!(status_line(pid, "Gid"), four(8));
        assert_eq!(status_line(pid, "Groups"), format!("{} {}", first + 8, first + 9));
        let file = |name: &str| std::fs::metadata(format!("/proc/{pid}/ns/{name}")).unwrap().ino();
        let own = std::fs::metadata("/proc/self/ns/user").unwrap().ino();
        assert_ne!(file("user"), own);
    }
    machine.finish().await;
}

#[tokio::test]
async fn commands_enter_the_namespace() {
    let machine = machine!();
    let pod = start(&machine, "exec", 1).await;
    let mut spec = machine.shell(&pod, "c", "exec sleep 1000").await;
    spec.user = UserSpec { uid: 101, gid: 102, groups: vec![102, 33] };
    let id = pod.start_container(spec).await.unwrap();
    let text = in_container(&pod, &id, "id; cat /proc/self/uid_map; echo named > /dev/stdout; for n in self 1; do readlink /proc/$n/ns/user; done").await;
    assert!(text.starts_with("uid=101(web) gid=102(web) groups=33(www),102(web)\n"), "{text}");
    assert!(text.contains("131072      65536") && text.contains("named\n"), "{text}");
    let namespaces: Vec<_> = text.lines().filter(|line| line.starts_with("user:")).collect();
    assert!(namespaces.len() == 2 && namespaces[0] == namespaces[1], "{text}");
    // On a terminal.
    let args = ["sh", "-c", "tty; stat -c %u $(tty)"].map(String::from).to_vec();
    let exec = ExecSpec { args, tty: true, ..ExecSpec::default() };
    let mut session = pod.exec(&id, exec).await.unwrap();
    let mut text = String::new();
    session.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "/dev/pts/0\r\n101\r\n");
    assert_eq!(session.process.wait().await.unwrap().code, 0);
    // The container's own terminal.
    let mut spec = machine.shell(&pod, "tty", "tty; exec sleep 1000").await;
    spec.tty = true;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(in_container(&pod, &id, "readlink /proc/1/fd/0").await, "/dev/pts/0\n");
    assert!(log_text(&log).contains("/dev/pts/0"), "{}", log_text(&log));
    machine.finish().await;
}

/// A directory with files of several owners.
fn volume(machine: &Machine, name: &str) -> PathBuf {
    let volume = machine.directory.path().join(name);
    std::fs::create_dir(&volume).unwrap();
    for (name, owner, mode) in [("root", 0, 0o644), ("user", 1000, 0o600), ("stranger", 70_000, 0o644)] {
        let file = volume.join(name);
        std::fs::write(&file, name).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        chown(&file, Some(owner), Some(owner)).unwrap();
    }
    volume
}

const OWNERS: &str = "cd /v; stat -c '%n %u:%g' . *; echo more >> root && echo wrote root; \
    echo more >> stranger && echo wrote stranger; touch new; chown 1000:1000 new; ";

#[tokio::test]
async fn files_in_volumes_have_the_owners_that_are_stored() {
    let machine = machine!();
    let pod = start(&machine, "volumes", 2).await;
    let volume = volume(&machine, "vol");
    let below = volume.join("mounted");
    std::fs::create_dir(&below).unwrap();
    rustix::mount::mount("below", &below, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"mode=755"))
        .unwrap();
    std::fs::write(below.join("file"), "of the node").unwrap();
    let script = format!(
        "{OWNERS} stat -c '%n %u:%g' mounted/file; echo > mounted/file && echo wrote below; touch mounted/x"
    );
    let mut spec = machine.shell(&pod, "c", &script).await;
    spec.mounts.push(bind(&volume, "/v", FileIds::Container));
    spec.mounts.push(bind(&volume.join("user"), "/one", FileIds::Container));
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    exited(&pod, &id).await;
    rustix::mount::unmount(&below, rustix::mount::UnmountFlags::DETACH).unwrap();
    let log = log_text(&log);
    for expected in [
        "stdout . 0:0",
        "stdout root 0:0",
        "stdout user 1000:1000",
        "stdout stranger 65534:65534",
        "stdout wrote root",
        "stdout mounted/file 65534:65534",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    assert!(!log.contains("wrote stranger") && !log.contains("wrote below"), "{log}");
    let owner = |name: &str| std::fs::metadata(volume.join(name)).unwrap().uid();
    assert_eq!((owner("root"), owner("new"), owner("stranger")), (0, 1000, 70_000));

    // What the node's root made and stored as it is belongs to nobody inside.
    let mut spec = machine.shell(&pod, "d", OWNERS).await;
    spec.mounts.push(bind(&volume, "/v", FileIds::Node));
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    exited(&pod, &id).await;
    let log = log_text(&log);
    assert!(log.contains("stdout root 65534:65534") && !log.contains("wrote"), "{log}");
    machine.finish().await;
}

/// Who administers the pod's own mounts, its root with `CAP_SYS_ADMIN`, cannot write to what is read-only for it: not
/// where it is mounted, nor through a copy of it, nor in a mount namespace of its own.
const MAKE_WRITABLE: &str = "write() { echo more > $1/user 2>/dev/null && echo wrote $1; }; \
    try() { mount -o remount,rw,bind none $1 && echo again $1; write $1; }; \
    copy() { mkdir $2; mount -o $3 $1 $2 && echo copied $1; try $2; }; \
    for d in /ro /all /all/below /ro/below; do write $d; try $d; done; \
    copy /ro /copy rbind; copy /all /deep rbind; try /deep/below; copy /all/below /flat bind; \
    unshare -m sh -c 'mount -o remount,rw,bind none /ro; echo more > /ro/user && echo wrote unshared'; \
    umount /ro/below && echo bared; umount /all/below && echo bared; write /rw; try /ro";

#[tokio::test]
async fn what_is_read_only_stays_so_for_its_administrator() {
    let machine = machine!();
    let volume = volume(&machine, "vol");
    let below = volume.join("below");
    std::fs::create_dir(&below).unwrap();
    rustix::mount::mount("below", &below, "tmpfs", rustix::mount::MountFlags::empty(), Some(c"mode=777"))
        .unwrap();
    let pod = start(&machine, "administrator", 2).await;
    for (name, privileged) in [("capable", false), ("privileged", true)] {
        let mut spec = machine.shell(&pod, name, MAKE_WRITABLE).await;
        spec.capabilities.push("CAP_SYS_ADMIN".into());
        spec.privileged = privileged;
        let shown = |destination: &str, readonly, recursive| Mount {
            readonly,
            recursive,
            ..bind(&volume, destination, FileIds::Container)
        };
        spec.mounts = vec![shown("/ro", true, false), shown("/all", true, true), shown("/rw", false, false)];
        let log = spec.log_path.clone();
        let id = pod.start_container(spec).await.unwrap();
        exited(&pod, &id).await;
        let log = log_text(&log);
        println!("{log}");
        let done: Vec<_> = log.lines().filter(|line| line.starts_with("stdout")).collect();
        // Only what is mounted below the one that is read-only by itself is written to.
        let expected = [
            "stdout wrote /ro/below",
            "stdout again /ro/below",
            "stdout wrote /ro/below",
            "stdout copied /ro",
            "stdout copied /all",
            "stdout copied /all/below",
            "stdout wrote /rw",
        ];
        assert_eq!(done, expected, "{log}");
    }
    rustix::mount::unmount(&below, rustix::mount::UnmountFlags::DETACH).unwrap();
    machine.finish().await;
}

/// The same for a root file system. On `/dev` there is memory of the container's own.
const MAKE_ROOT_WRITABLE: &str = "write() { echo more > $1/made 2>/dev/null && echo wrote $1; }; \
    try() { mount -o remount,rw none $1 && echo again $1; mount -o remount,rw,bind none $1; write $1; }; \
    write /; try /; mkdir -p /dev/copy; mount -o bind / /dev/copy && echo copied; try /dev/copy; \
    unshare -m sh -c 'mount -o remount,rw none /; mount -o remount,rw,bind none /; echo more > /made && echo wrote apart'; \
    write /dev";

#[tokio::test]
async fn a_read_only_root_stays_so_for_its_administrator() {
    let machine = machine!();
    let pod = start(&machine, "root", 2).await;
    for (name, privileged) in [("capable", false), ("privileged", true)] {
        let mut spec =
            machine.shell(&pod, name, &format!("{MAKE_ROOT_WRITABLE}; > /dev/done; exec sleep 1000")).await;
        spec.capabilities.push("CAP_SYS_ADMIN".into());
        (spec.privileged, spec.rootfs_readonly) = (privileged, true);
        let log = spec.log_path.clone();
        let id = pod.start_container(spec).await.unwrap();
        // Commands have the same root.
        let then = format!("until [ -e /dev/done ]; do sleep 0.01; done; {MAKE_ROOT_WRITABLE}");
        let said = in_container(&pod, &id, &then).await;
        assert!(said.contains("wrote /dev\n") && !said.contains("wrote /\n"), "{said}");
        pod.stop_container(&id, "SIGKILL", PATIENCE).await.unwrap();
        let log = log_text(&log);
        println!("{log}");
        let done: Vec<_> = log.lines().filter(|line| line.starts_with("stdout")).collect();
        assert_eq!(done, ["stdout copied", "stdout wrote /dev"], "{log}");
    }
    machine.finish().await;
}

/// Takes away what covers parts of `/proc` and `/sys`, and looks at what is there. A file that can be opened for writing is
/// left as it is.
const UNCOVER: &str = "while read a b c d at e; do case $at in /proc/*|/sys/*) echo $at;; esac; done < /proc/self/mountinfo \
        > /dev/covers; \
    for at in $(cat /dev/covers); do umount $at 2> /dev/null && echo uncovered $at; done; \
    mount -o remount,rw,bind none /sys && echo opened /sys; \
    for f in /proc/kcore /proc/timer_list /proc/sysrq-trigger /dev/mem /dev/kmem; do \
        head -c1 $f > /dev/null 2>&1 && echo read $f; done; \
    find /sys /proc/[!0-9]* -type f 2> /dev/null | while read f; do true 2> /dev/null >> $f && echo writable $f; done; echo end";

#[tokio::test]
async fn what_covers_proc_and_sys_can_be_taken_away_and_hides_nothing_of_the_nodes() {
    let machine = machine!();
    let pod = start(&machine, "uncovered", 2).await;
    let look = async |name: &str, administrator: bool| {
        let mut spec = machine.shell(&pod, name, UNCOVER).await;
        spec.capabilities.extend(
            ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"].iter().filter(|_| administrator).map(|name| (*name).into()),
        );
        let log = spec.log_path.clone();
        let id = pod.start_container(spec).await.unwrap();
        exited(&pod, &id).await;
        log_text(&log)
    };
    let log = look("plain", false).await;
    assert!(!log.contains("uncovered") && !log.contains("opened"), "{log}");

    let log = look("administrator", true).await;
    println!("{log}");
    let with = |word: &str| -> Vec<&str> {
        let start = format!("stdout {word} ");
        log.lines().filter_map(|line| line.strip_prefix(&start)).collect()
    };
    assert!(log.ends_with("stdout end\n"), "{log}");
    assert!(["/proc/sys", "/proc/interrupts"].iter().all(|path| with("uncovered").contains(path)), "{log}");
    assert_eq!(with("read"), Vec::<&str>::new(), "{log}");
    let writable = with("writable");
    assert!(writable.contains(&"/proc/sys/net/ipv4/ip_forward"), "its own network: {log}");
    let own = [
        // Its own network, processes, messages and memory.
        "/proc/sys/net/",
        "/proc/sys/fs/mqueue/",
        "/proc/sys/kernel/auto_msgmni",
        "/proc/sys/kernel/msg",
        "/proc/sys/kernel/sem",
        "/proc/sys/kernel/shm",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/kernel/pid_max",
        // Anybody may ask to be told.
        "/proc/pressure/",
    ];
    let of_the_node: Vec<_> =
        writable.iter().filter(|path| !own.iter().any(|own| path.starts_with(own))).collect();
    assert!(of_the_node.is_empty(), "{of_the_node:?}");
    machine.finish().await;
}

#[tokio::test]
async fn what_cannot_be_mapped_is_refused_by_name() {
    let machine = machine!();
    let pod = start(&machine, "refused", 1).await;
    let with = async |mount: Mount| {
        let mut spec = machine.shell(&pod, "c", "true").await;
        spec.mounts.push(mount);
        create_error(pod.start_container(spec).await)
    };
    let reason = with(bind(Path::new("/sys/kernel"), "/v", FileIds::Container)).await;
    assert_eq!(
        reason,
        "mount /sys/kernel/: the file system (sysfs) cannot be mounted with other user IDs by this kernel"
    );
    let volume = volume(&machine, "vol");
    let both = Mount { propagation: Propagation::Bidirectional, ..bind(&volume, "/v", FileIds::Container) };
    assert!(with(both).await.contains("Bidirectional"));
    let mut spec = machine.shell(&pod, "c", "true").await;
    spec.user = UserSpec { uid: 70_000, gid: 0, groups: vec![0] };
    let reason = create_error(pod.start_container(spec).await);
    assert_eq!(reason, "user or group 70000 is not in the pod's user namespace, which has 0 to 65535");
    let mut spec = machine.shell(&pod, "c", "true").await;
    let device = |path: &str| Device {
        host_path: "/dev/null".into(),
        container_path: path.into(),
        permissions: "rw".into(),
    };
    spec.devices.push(device("/dev/other"));
    assert!(create_error(pod.start_container(spec).await).contains("only at its own path"));
    assert!(pod.state().await.containers.is_empty());
    for change in [
        |sandbox: &mut PodSandbox| sandbox.host_network = true,
        |sandbox: &mut PodSandbox| sandbox.host_pid = true,
        |sandbox: &mut PodSandbox| sandbox.host_ipc = true,
    ] {
        let mut sandbox = sandbox(&machine, "both", 2);
        change(&mut sandbox);
        let reason = machine.runtime.start_pod(sandbox).await.unwrap_err().to_string();
        assert!(reason.contains("a user namespace cannot be had together with"), "{reason}");
    }
    machine.finish().await;
}

#[tokio::test]
async fn the_network_and_its_parameters_belong_to_the_namespace() {
    let machine = machine!();
    let mut sandbox = sandbox(&machine, "network", 1);
    sandbox.sysctls.insert("net.ipv4.ip_local_port_range".into(), "2000\t3000".into());
    sandbox.sysctls.insert("kernel.shmmni".into(), "77".into());
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let script = "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ping_group_range; \
        hostname; ip -o link; ip link set lo down && echo down; ip link set lo up && echo up; \
        echo 1 > /proc/sys/net/ipv4/ip_forward && echo forwards; \
        echo 1 > /proc/sys/kernel/panic && echo panics; \
        grep ' /proc/' /proc/self/mountinfo; \
        mount -t tmpfs x /work && echo mounted";
    let mut spec = machine.shell(&pod, "c", script).await;
    spec.capabilities.extend(["CAP_NET_ADMIN".into(), "CAP_SYS_ADMIN".into()]);
    let masked = spec.clone();
    spec.unmasked = true;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    exited(&pod, &id).await;
    let log = log_text(&log);
    println!("{log}");
    for expected in [
        "stdout 2000\t3000",
        "stdout 77",
        "stdout network",
        "stdout down",
        "stdout up",
        "stdout forwards",
        "stdout mounted",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    assert!(
        !log.contains("panics") && !log.contains(" /proc/sys "),
        "nothing is masked or the node's: {log}"
    );

    // With the usual masks nothing of it is written.
    let mut spec = masked;
    spec.name = "d".into();
    spec.log_path = pod.sandbox().log_dir.join("d.log");
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    exited(&pod, &id).await;
    let log = log_text(&log);
    assert!(log.contains("Read-only file system") && !log.contains("forwards"), "{log}");
    assert!(log.contains(" /proc/sys "), "{log}");
    machine.finish().await;
}

#[tokio::test]
async fn processes_are_shared_and_debugged_in_it() {
    let machine = machine!();
    let pod = machine
        .runtime
        .start_pod(PodSandbox { share_pids: true, ..sandbox(&machine, "share", 1) })
        .await
        .unwrap();
    let first = pod.start_container(machine.shell(&pod, "a", "exec sleep 888").await).await.unwrap();
    let look = "ps -o pid,user,args; cat /proc/1/comm; grep Uid /proc/1/status; kill $(ps -o pid,args | grep '[s]leep 888' | while read p r; do echo $p; done)";
    let (code, log) = machine.run(&pod, "b", look).await;
    assert_eq!(code, 0, "{log}");
    assert!(
        log.contains("sleep 888") && log.contains("stdout pause") && log.contains("Uid:\t65535"),
        "{log}"
    );
    exited(&pod, &first).await;
    assert!(in_pause(&pod, &machine), "its first process is in the namespace");

    let pod = start(&machine, "debug", 2).await;
    let target = pod.start_container(machine.shell(&pod, "main", "exec sleep 999").await).await.unwrap();
    let mut spec = machine.shell(&pod, "debugger", "ps -o pid,args; ls /proc/1/root/etc").await;
    spec.capabilities.push("CAP_SYS_PTRACE".into());
    spec.target = Some(target);
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(self::code(&exited(&pod, &id).await), 0);
    let log = log_text(&log);
    assert!(log.contains("    1 sleep 999") && log.contains("passwd"), "{log}");
    machine.finish().await;
}

#[tokio::test]
async fn its_streams_are_attached_and_it_starts_again_as_the_same() {
    let machine = machine!();
    let pod = start(&machine, "streams", 6).await;
    let volume = volume(&machine, "vol");
    let script = "[ -e /mine ] && echo an old layer; touch /mine; read x; echo got $x; echo $x >> /v/told; \
        stat -c %u:%g /v/told; cat /proc/self/uid_map; exit 3";
    let mut said = Vec::new();
    for attempt in 0..2 {
        let mut spec = machine.shell(&pod, "c", script).await;
        (spec.attempt, spec.stdin, spec.stdin_once) = (attempt, true, true);
        spec.mounts.push(bind(&volume, "/v", FileIds::Container));
        let id = pod.start_container(spec).await.unwrap();
        let both = AttachSpec { stdin: true, stdout: true, stderr: false };
        let mut session = pod.attach(&id, both).await.unwrap();
        session.stdin.take().unwrap().write_all(b"one\n").await.unwrap();
        let mut text = String::new();
        session.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(code(&exited(&pod, &id).await), 3, "{text}");
        said.push(text);
    }
    let map = format!("got one\n0:0\n{:>10} {:>10} {:>10}\n", 0, range(6).first(), IdRange::LENGTH);
    assert_eq!(said, [map.clone(), map]);
    assert_eq!(std::fs::read_to_string(volume.join("told")).unwrap(), "one\none\n");
    machine.finish().await;
}

/// What root may in its own namespaces, and what it may not though it is privileged there.
const PRIVILEGED: &str = "grep CapEff /proc/self/status; mount -t tmpfs x /work && echo mounted; unshare -m true && echo apart; \
    echo 1 > /proc/sys/net/ipv4/ip_forward && echo forwards; mknod /null c 1 3 && echo made; \
    for f in /proc/sys/kernel/panic /proc/sys/vm/swappiness /proc/sysrq-trigger /sys/kernel/mm/ksm/run; do \
        [ -e $f ] && echo 1 > $f && echo wrote $f; done; \
    for d in /dev/*; do [ -b $d ] && head -c1 $d > /dev/null && echo read $d; done; \
    [ -e /dev/mem ] && head -c1 /dev/mem > /dev/null && echo read memory; \
    find /sys/fs/cgroup -name cgroup.procs | while read f; do echo 1 > $f && echo moved $f; done; echo end";

#[tokio::test]
async fn a_privileged_container_is_so_in_its_own_namespaces_only() {
    let machine = machine!();
    let pod = start(&machine, "privileged", 7).await;
    let mut spec = machine.shell(&pod, "c", PRIVILEGED).await;
    spec.privileged = true;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    exited(&pod, &id).await;
    let log = log_text(&log);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    let capabilities = format!("stdout CapEff:\t{bounding}");
    let done: Vec<_> = log.lines().filter(|line| line.starts_with("stdout")).collect();
    let expected = [&*capabilities, "stdout mounted", "stdout apart", "stdout forwards", "stdout end"];
    assert_eq!(done, expected, "{log}");
    machine.finish().await;
}

/// Whether the pod's pause process has an ID of the pod's range.
fn in_pause(pod: &PodHandle, machine: &Machine) -> bool {
    let first = pod.sandbox().users.unwrap().first();
    let supervisors = supervisors_of(machine.directory.path());
    let children = supervisors.iter().flat_map(|supervisor| {
        let list = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
        list.split_whitespace().map(|pid| pid.parse::<i32>().unwrap()).collect::<Vec<_>>()
    });
    children
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "pause\n")
        })
        .any(|pid| status_line(pid, "Uid").starts_with(&(first + 65_535).to_string()))
}

fn kill_supervisors(machine: &Machine) {
    for supervisor in supervisors_of(machine.directory.path()) {
        let supervisor = rustix::process::Pid::from_raw(supervisor).unwrap();
        rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    }
}

#[tokio::test]
async fn another_supervisor_and_agent_go_on_in_it() {
    let machine = machine!();
    let pod = start(&machine, "again", 5).await;
    let id = pod.start_container(machine.shell(&pod, "c", "exec sleep 1000").await).await.unwrap();
    let look =
        "cat /proc/self/uid_map; for n in user net ipc uts; do readlink /proc/self/ns/$n; done; hostname";
    let before = in_container(&pod, &id, look).await;
    drop(pod);
    kill_supervisors(&machine);
    let next = machine.restarted();
    let uid = next.existing().await.unwrap().remove(0);
    assert_eq!(next.users(&uid), Some(range(5)));
    let pod = next.adopt(&uid).await.unwrap();
    assert_eq!(in_container(&pod, &id, look).await, before);
    let (_, log) = machine.run(&pod, "d", look).await;
    assert_eq!(log.replace("stdout ", ""), before, "a new container shares them all");
    // With nothing left that runs, some are made anew.
    pod.remove_container(&id).await.unwrap();
    drop((pod, next));
    kill_supervisors(&machine);
    let next = machine.restarted();
    let pod = next.adopt(&uid).await.unwrap();
    let spec = machine.shell(&pod, "e", look).await;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    exited(&pod, &id).await;
    let log = log_text(&log).replace("stdout ", "");
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), log.lines().collect());
    assert_eq!((new[0], new[1], new[2], new[5]), (old[0], old[1], old[2], "again"), "{log}");
    machine.finish().await;
}
