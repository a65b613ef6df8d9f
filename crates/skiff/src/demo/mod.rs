//! `skiff demo`: the tour of the README, with explanation, on a fresh cluster that is removed afterwards.
//!
//! The cluster has directories of its own and, when the image comes from a file, a network namespace of its own
//! without a way out, so the demo touches neither the machine's network nor another cluster on it.

mod isolate;
mod stage;
mod tour;

use std::path::Path;

use anyhow::Context;

use crate::args::DemoArgs;
use crate::preflight;
use stage::Stage;

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    preflight::root()?;
    let image = args.image.as_deref().map(readable).transpose()?;
    if image.is_some() {
        isolate::own_network()?;
    }
    let stage = Stage::new()?;
    let played = tour::play(&stage, image.as_deref());
    if args.keep && played.is_ok() {
        return stage.keep();
    }
    let removed = stage.remove();
    played.and(removed)
}

fn readable(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::fs::File::open(path).with_context(|| format!("open the image archive {}", path.display()))?;
    path.canonicalize().with_context(|| format!("find {}", path.display()))
}
