//! Commands in containers, and their streams and terminals.

use skiff_runtime::{AttachSpec, ExecSpec, RuntimeError, TerminalSize};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::common::{PATIENCE, code, exited, log_text};
use super::read_until;

#[tokio::test]
async fn exec_passes_streams_and_codes() {
    let machine = machine!();
    let pod = machine.pod("exec").await;
    let id = pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    let args = |script: &str| ["sh", "-c", script].map(String::from).to_vec();
    let spec = ExecSpec { args: args("cat; echo err >&2; exit 7"), stdin: true, ..ExecSpec::default() };
    let mut session = pod.exec(&id, spec).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"through\n").await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    session.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("through\n", "err\n"));
    assert_eq!(session.process.wait().await.unwrap().code, 7);

    let confined =
        "grep -E 'Seccomp:|CapEff' /proc/self/status; echo $FROM_IMAGE; pwd; hostname; ps | head -2";
    let got = pod.exec_captured(&id, args(confined), PATIENCE, 4096).await.unwrap();
    let text = String::from_utf8(got.output).unwrap();
    for expected in ["Seccomp:\t2", "00000000a80425fb", "yes", "/work", "exec", "sleep 1000"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let got = pod.exec_captured(&id, args("yes"), Duration::from_millis(300), 10).await;
    assert!(matches!(got, Err(RuntimeError::Timeout { .. })), "{got:?}");
    let missing = pod.exec_captured(&id, vec!["nope".into()], PATIENCE, 10).await.unwrap_err();
    assert!(missing.to_string().ends_with("exec: \"nope\": executable file not found in $PATH"), "{missing}");
    machine.finish().await;
}

#[tokio::test]
async fn dropping_an_exec_kills_it() {
    let machine = machine!();
    let pod = machine.pod("drop").await;
    let id = pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    let args = ["sh", "-c", "echo up; sleep 77 & sleep 78"].map(String::from).to_vec();
    let mut session = pod.exec(&id, ExecSpec { args, ..ExecSpec::default() }).await.unwrap();
    let mut out = session.stdout.take().unwrap();
    let mut line = [0; 3];
    out.read_exact(&mut line).await.unwrap();
    drop(session);
    // The pipe ends once every process that holds it is gone.
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, out.read_to_end(&mut rest)).await.expect("killed in time").unwrap();
    machine.finish().await;
}

#[tokio::test]
async fn exec_with_a_terminal_has_a_size_and_can_be_resized() {
    let machine = machine!();
    let pod = machine.pod("tty").await;
    let id = pod.start_container(machine.shell(&pod, "c", "sleep 1000").await).await.unwrap();
    let script = "tty; echo $TERM; stty size; read x; stty size; echo got $x";
    let spec = ExecSpec {
        args: ["sh", "-c", script].map(String::from).to_vec(),
        env: vec!["TERM=dumb".into()],
        tty: true,
        stdin: true,
        size: Some(TerminalSize { width: 101, height: 33 }),
    };
    let mut session = pod.exec(&id, spec).await.unwrap();
    let mut out = session.stdout.take().unwrap();
    let mut text = read_until(&mut out, "33 101").await;
    assert!(text.contains("/dev/pts/") && text.contains("dumb"), "{text}");
    session.terminal.as_ref().unwrap().resize(TerminalSize { width: 80, height: 25 }).unwrap();
    session.stdin.as_mut().unwrap().write_all(b"line\n").await.unwrap();
    text = read_until(&mut out, "got line").await;
    assert!(text.contains("25 80"), "{text}");
    assert_eq!(session.process.wait().await.unwrap().code, 0);
    machine.finish().await;
}

#[tokio::test]
async fn attach_reaches_streams_and_ends_input_once() {
    let machine = machine!();
    let pod = machine.pod("attach").await;
    let mut spec = machine.shell(&pod, "c", "while read x; do echo got $x; done; echo done").await;
    (spec.stdin, spec.stdin_once) = (true, true);
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    let mut session = pod.attach(&id, AttachSpec { stdin: true, stdout: true, stderr: true }).await.unwrap();
    let (mut stdin, mut stdout) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
    stdin.write_all(b"one\n").await.unwrap();
    read_until(&mut stdout, "got one\n").await;
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "done\n");
    assert_eq!(code(&exited(&pod, &id).await), 0);
    assert_eq!(log_text(&log), "stdout got one\nstdout done\n");
    machine.finish().await;
}

#[tokio::test]
async fn attach_to_a_terminal() {
    let machine = machine!();
    let pod = machine.pod("atty").await;
    let mut spec = machine.shell(&pod, "c", "read x; stty size; echo got $x; tty; echo $TERM").await;
    (spec.stdin, spec.tty) = (true, true);
    let log = spec.log_path.clone();
    let id = pod.start_container(spec).await.unwrap();
    let mut session = pod.attach(&id, AttachSpec { stdin: true, stdout: true, stderr: true }).await.unwrap();
    assert!(session.stderr.is_none());
    session.terminal.as_ref().unwrap().resize(TerminalSize { width: 120, height: 40 }).unwrap();
    session.stdin.as_mut().unwrap().write_all(b"abc\n").await.unwrap();
    let text = read_until(session.stdout.as_mut().unwrap(), "xterm").await;
    assert!(text.contains("40 120") && text.contains("got abc"), "{text}");
    assert_eq!(code(&exited(&pod, &id).await), 0);
    assert!(log_text(&log).contains("got abc"));
    machine.finish().await;
}
