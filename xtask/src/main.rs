//! Chores of the repository that need a program.
//!
//! `cargo xtask schema SWAGGER.json MODULE…` writes `crates/schema/src/kubernetes.txt`, the table of every
//! definition of a Kubernetes release, from what the release publishes: its OpenAPI document (with the documents of
//! version 3 in the folder `v3` beside it) and the Go modules of its API types. Beside it, `go.txt` says what Go's messages call
//! fields where the table does not tell. All of them are Go modules, so that a release is one command and one diff:
//!
//! ```text
//! go mod download k8s.io/kubernetes@v1.36.3 k8s.io/{api,apimachinery,apiextensions-apiserver,kube-aggregator}@v0.36.3
//! M=$(go env GOMODCACHE)/k8s.io
//! cargo xtask schema $M/kubernetes@v1.36.3/api/openapi-spec/swagger.json \
//!     $M/{api,apimachinery,apiextensions-apiserver,kube-aggregator}@v0.36.3
//! ```
//!
//! `cargo xtask oracle …` is about what kube-apiserver answers; see `tests/oracle/README.md`.

mod golang;
mod swagger;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use skiff_tests::oracle;

const USAGE: &str = "usage: cargo xtask schema SWAGGER.json MODULE…
       cargo xtask oracle check KUBECONFIG [REGEX]
       cargo xtask oracle record KUBECONFIG KUBECONFIG
       cargo xtask oracle pack SCENARIOS.jsonl";

/// Where the tables are kept, from the repository's root.
const TABLE: &str = "crates/schema/src/kubernetes.txt";
const GO: &str = "crates/schema/src/go.txt";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> anyhow::Result<()> {
    match args {
        ["schema", swagger, modules @ ..] if !modules.is_empty() => schema(swagger, modules),
        ["oracle", "check", kubeconfig, ids @ ..] if ids.len() < 2 => {
            oracle::check(Path::new(kubeconfig), ids.first().copied());
            Ok(())
        }
        ["oracle", "record", first, second] => {
            oracle::record(Path::new(first), Path::new(second));
            Ok(())
        }
        ["oracle", "pack", lines] => {
            oracle::pack(Path::new(lines));
            Ok(())
        }
        _ => bail!(USAGE),
    }
}

fn schema(swagger: &str, modules: &[&str]) -> anyhow::Result<()> {
    let modules: Vec<PathBuf> = modules.iter().map(PathBuf::from).collect();
    let document = swagger::read(Path::new(swagger))?;
    let structs = golang::read(&modules)?;
    let release = modules.iter().find_map(|module| release(module)).unwrap_or_default();
    let texts = [
        (TABLE, table::write(&document, &structs, &release)?),
        (GO, table::write_go(&document, &structs, &release)?),
    ];
    for (file, text) in texts {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// `1.36.3`, of a module's folder such as `k8s.io/api@v0.36.3`.
fn release(module: &Path) -> Option<String> {
    let (_, version) = module.file_name()?.to_str()?.split_once("@v0.")?;
    Some(format!("1.{version}"))
}
