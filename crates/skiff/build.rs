//! What `/version` tells of the build, as environment variables of the compiler. It is found out here, in the crate that depends
//! on all others, so that a commit compiles nothing else again. And how the program is linked.

use std::path::Path;
use std::process::Command;

fn main() {
    fold_functions();
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    // `archive` is Kubernetes' word for sources without their history.
    let state = match git(&["status", "--porcelain", "--untracked-files=no"]) {
        None => "archive",
        Some(changes) if changes.is_empty() => "clean",
        Some(_) => "dirty",
    };
    println!("cargo::rustc-env=SKIFF_COMMIT={commit}");
    println!("cargo::rustc-env=SKIFF_TREE_STATE={state}");
    println!("cargo::rustc-env=SKIFF_COMMIT_TIME={}", commit_time());
    println!("cargo::rustc-env=SKIFF_RUSTC={}", rustc());
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // A commit or a checkout writes here, and a changed file makes the tree another.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    for source in ["../../crates", "../../Cargo.lock", "../../Cargo.toml"] {
        println!("cargo::rerun-if-changed={source}");
    }
}

/// Where the program is optimised, functions with the same code become one: no code compares functions. The compiler brings the
/// linker that can do so on this kind of machine.
fn fold_functions() {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let linker = is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if linker && !is("OPT_LEVEL", "0") {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}

/// The time of the commit, or what the environment says in its stead, in seconds since 1970: two builds of the same sources
/// are the same.
fn commit_time() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    given.or_else(|| git(&["show", "--no-patch", "--format=%ct", "HEAD"])).unwrap_or_else(|| "0".to_owned())
}

fn rustc() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = run(Command::new(rustc).arg("--version")).unwrap_or_default();
    said.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn git(arguments: &[&str]) -> Option<String> {
    run(Command::new("git").args(arguments))
}

/// What a program says, if it succeeds.
fn run(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
