//! What containers are given, and how they start and end.

use skiff_runtime::{AttachSpec, Mount, MountKind, Propagation, RuntimeError};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::common::{self, code, exited, log_text};

#[tokio::test]
async fn runs_a_command_and_keeps_its_log_and_code() {
    let machine = machine!();
    let pod = machine.pod("run").await;
    let script = "echo hello; echo oops >&2; echo $FROM_IMAGE $HOSTNAME $HOME; pwd; printf end; exit 3";
    let (code, log) = machine.run(&pod, "c", script).await;
    assert_eq!(code, 3);
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr oops", "stdout /work", "stdout end", "stdout hello", "stdout yes run /root"]);
    machine.finish().await;
}

#[tokio::test]
async fn the_sandbox_is_shared_and_confined() {
    let machine = machine!();
    let pod = machine.pod("box").await;
    let (_, log) =
        machine.run(&pod, "a", "hostname; ip -o addr; ls -l /dev/null; echo shared > /dev/shm/f").await;
    assert!(log.contains("stdout box"), "{log}");
    assert!(log.contains("127.0.0.1") && !log.contains("eth0"), "{log}");
    let script = "cat /dev/shm/f; grep -c . /proc/timer_list; mount -t tmpfs x /mnt 2>&1; echo $$; \
                  touch /proc/sys/kernel/hostname 2>&1 || true; grep Seccomp: /proc/self/status; grep CapEff /proc/self/status; \
                  ls /sys/fs/cgroup; unshare -m true 2>&1";
    let (_, log) = machine.run(&pod, "b", script).await;
    for expected in [
        "stdout shared",
        "stdout 0",
        "ermission denied",
        "stdout 1",
        "Read-only",
        "Seccomp:\t2",
        "00000000a80425fb",
        "not permitted",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    machine.finish().await;
}

#[tokio::test]
async fn kernel_parameters_are_the_pods_own() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("sysctl");
    sandbox.sysctls.insert("net.ipv4.ip_local_port_range".into(), "2000\t3000".into());
    let pod = machine.runtime.start_pod(sandbox.clone()).await.unwrap();
    let (_, log) = machine.run(&pod, "c", "cat /proc/sys/net/ipv4/ip_local_port_range").await;
    assert_eq!(log, "stdout 2000\t3000\n");
    pod.stop().await.unwrap();
    sandbox.host_network = true;
    let refused = machine.runtime.start_pod(sandbox.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("is not the pod's own"), "{refused}");
    sandbox.host_network = false;
    sandbox.sysctls.insert("kernel.panic".into(), "1".into());
    assert!(machine.runtime.start_pod(sandbox).await.is_err());
    machine.finish().await;
}

#[tokio::test]
async fn output_is_whole_and_in_order_however_much() {
    let machine = machine!();
    let pod = machine.pod("much").await;
    let (code, log) =
        machine.run(&pod, "c", "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo $n; done").await;
    assert_eq!(code, 0);
    let expected: String = (1..=20_000).map(|n| format!("stdout {n}\n")).collect();
    assert!(log == expected, "{} of {} bytes", log.len(), expected.len());
    machine.finish().await;
}

#[tokio::test]
async fn failures_to_start_say_why_and_leave_nothing() {
    let machine = machine!();
    let pod = machine.pod("bad").await;
    let mut spec = machine.shell(&pod, "c", "").await;
    spec.args = vec!["nope".into()];
    match pod.start_container(spec).await.unwrap_err() {
        RuntimeError::Start { reason, .. } => {
            assert_eq!(reason, "exec: \"nope\": executable file not found in $PATH");
        }
        other => panic!("{other:?}"),
    }
    let mut spec = machine.shell(&pod, "c", "").await;
    spec.mounts.push(bind("/does/not/exist", "/x"));
    match pod.start_container(spec).await.unwrap_err() {
        RuntimeError::Create { reason, container, .. } => {
            println!("{reason}");
            assert!(reason.contains("No such file") && container == "c", "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert!(pod.state().await.containers.is_empty());
    machine.finish().await;
}

fn bind(source: &str, destination: &str) -> Mount {
    Mount {
        kind: MountKind::bind(source),
        destination: destination.into(),
        readonly: true,
        recursive: false,
        propagation: Propagation::Private,
    }
}

#[tokio::test]
async fn users_mounts_and_privilege_flags_apply() {
    let machine = machine!();
    let pod = machine.pod("user").await;
    let mut spec = machine.shell(&pod, "c", "id; cat /etc/secret; echo to-name > /dev/stdout; cat /vol/f; touch /vol/g; grep NoNewPrivs /proc/self/status; touch /t").await;
    spec.user = machine.runtime.images().user(&spec.image, "web").await.unwrap();
    let volume = machine.directory.path().join("vol");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("f"), "from the host\n").unwrap();
    spec.mounts.push(bind(volume.to_str().unwrap(), "/vol"));
    spec.no_new_privileges = true;
    spec.rootfs_readonly = true;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 1);
    let log = log_text(&log);
    for expected in [
        "uid=101(web) gid=102(web) groups=33(www)",
        "/etc/secret': Permission denied",
        "stdout to-name",
        "stdout from the host",
        "/vol/g: Read-only file system",
        "NoNewPrivs:\t1",
        "/t: Read-only file system",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    machine.finish().await;
}

#[tokio::test]
async fn stopping_asks_first_and_then_kills() {
    let machine = machine!();
    let pod = machine.pod("stop").await;
    let kind = "trap 'echo bye; exit 5' TERM; echo ready; while true; do sleep 0.01; done";
    let stubborn = "trap '' TERM; echo ready; while true; do sleep 0.01; done";
    for (name, script, expected) in [("kind", kind, 5), ("stubborn", stubborn, 137)] {
        let id = pod.start_container(machine.shell(&pod, name, script).await).await.unwrap();
        let mut session =
            pod.attach(&id, AttachSpec { stdout: true, ..AttachSpec::default() }).await.unwrap();
        // Whether the line comes before or after the attachment, the trap is set once a signal is survived.
        drop(session.stdout.take());
        tokio::time::sleep(Duration::from_millis(300)).await;
        pod.stop_container(&id, "SIGTERM", Duration::from_millis(500)).await.unwrap();
        assert_eq!(code(&exited(&pod, &id).await), expected, "{name}");
        pod.remove_container(&id).await.unwrap();
    }
    assert!(pod.state().await.containers.is_empty());
    machine.finish().await;
}

#[tokio::test]
async fn the_executable_cannot_be_written_from_inside() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("seal");
    sandbox.host_pid = true;
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let [supervisor] = common::supervisors_of(machine.directory.path())[..] else { panic!("one supervisor") };
    let mut spec = machine.shell(&pod, "c", &format!("touch /proc/{supervisor}/exe")).await;
    spec.privileged = true;
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_ne!(code(&exited(&pod, &id).await), 0);
    let log = log_text(&log);
    assert!(log.contains("Read-only file system"), "{log}");
    machine.finish().await;
}

#[tokio::test]
async fn devices_are_given_one_by_one() {
    let machine = machine!();
    let pod = machine.pod("dev").await;
    let Ok(found) = std::fs::metadata("/dev/loop-control") else {
        return println!("skipped: no /dev/loop-control to give");
    };
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    let script =
        format!("test -c /dev/mine; given=$?; mknod /made c {major} {minor} && exec 3< /made && exit $given");
    let mut spec = machine.shell(&pod, "c", &script).await;
    let device = skiff_runtime::Device {
        host_path: "/dev/loop-control".into(),
        container_path: "/dev/mine".into(),
        permissions: "rw".into(),
    };
    spec.devices.push(device);
    let id = pod.start_container(spec.clone()).await.unwrap();
    assert_eq!(code(&exited(&pod, &id).await), 0);
    (spec.name, spec.attempt, spec.devices) = ("d".into(), 1, Vec::new());
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    assert_ne!(code(&exited(&pod, &id).await), 0);
    assert!(log_text(&log).contains("/made: Operation not permitted"), "{}", log_text(&log));
    machine.finish().await;
}

#[tokio::test]
async fn host_namespaces_are_the_hosts() {
    let machine = machine!();
    let mut sandbox = machine.sandbox("host");
    (sandbox.host_network, sandbox.host_pid, sandbox.host_ipc) = (true, true, true);
    let pod = machine.runtime.start_pod(sandbox).await.unwrap();
    let script = "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done; sleep 1000 & exit 0";
    let (code, log) = machine.run(&pod, "c", script).await;
    assert_eq!(code, 0);
    for name in ["net", "pid", "ipc", "uts"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(log.contains(ours.to_str().unwrap()), "{name}: {log}");
    }
    machine.finish().await;
}
