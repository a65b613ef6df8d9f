//! No file of kinds, machinery, registry and apiserver names items of another that, directly or by others, names items of it: whoever
//! reads one knows in which order to read the rest.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod graph;
mod source;

use std::path::Path;

use graph::Graph;

#[test]
fn files_name_each_other_in_one_direction() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut told = Vec::new();
    for name in ["kinds", "machinery", "registry", "apiserver"] {
        let graph = Graph::of(&crates.join(name).join("src"));
        assert!(graph.len() > 20, "{name}: has the code another form?");
        told.extend(graph.circles().into_iter().map(|circle| format!("{name}: {circle}")));
    }
    assert!(told.is_empty(), "files in circles:\n{}", told.join("\n"));
}
