//! When a starting cluster passed which point, kept for those who ask why a start was slow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parking_lot::Mutex;

/// Seconds since the server's start, by the name of the point; written to `timeline.json` in the run directory.
#[derive(Debug)]
pub(crate) struct Timeline {
    started: Instant,
    path: PathBuf,
    points: Mutex<BTreeMap<&'static str, f64>>,
}

impl Timeline {
    pub(crate) fn start(run_dir: &Path) -> Self {
        Self { started: Instant::now(), path: run_dir.join("timeline.json"), points: Mutex::default() }
    }

    /// Notes that a point has been passed now.
    pub(crate) fn pass(&self, point: &'static str) {
        let mut points = self.points.lock();
        points.insert(point, self.started.elapsed().as_secs_f64());
        let text = serde_json::to_string(&*points).unwrap_or_default();
        if let Err(error) = std::fs::write(&self.path, text) {
            tracing::warn!(%error, path = %self.path.display(), "the timeline cannot be written");
        }
    }
}
