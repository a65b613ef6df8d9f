//! `skiff demo`: the first thing that a new user runs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Host, Output, program};

#[test]
fn plays_to_the_end_and_leaves_nothing() {
    let host = Host::new();
    let image = program("SKIFF_TEST_IMAGE");
    let mut command = host.command(program("SKIFF_TEST_BINARY"));
    command.args(["demo", "--image"]).arg(image).env("TMPDIR", host.directory());
    let text = Output::of(&mut command).ok();
    assert!(text.contains("You've hit kubia-"), "{text}");
    assert!(text.contains("PING kubia.default.svc.cluster.local"), "{text}");
    assert_eq!(host.processes(), Vec::<String>::new(), "no process is left");
    assert_eq!(std::fs::read_dir(host.directory()).unwrap().count(), 0, "no file is left");
    let ruleset = Output::of(host.command("nft").args(["list", "ruleset"])).ok();
    assert_eq!(ruleset, "", "the host's own network was not touched");
}
