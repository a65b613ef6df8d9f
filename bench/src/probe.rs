//! What the disk itself takes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// As the store's journal: written once, and then block by block.
const LENGTH: usize = 1 << 20;
const BLOCK: usize = 4096;

/// A file that is written and synced as the store's journal is.
#[derive(Debug)]
pub(crate) struct Probe {
    file: File,
    end: usize,
}

impl Probe {
    pub(crate) fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; LENGTH], 0)?;
        file.sync_all()?;
        Ok(Self { file, end: 0 })
    }

    /// Writes so many bytes, in whole blocks, and waits for the disk.
    pub(crate) fn sync(&mut self, bytes: usize) -> io::Result<Duration> {
        let block = vec![b'x'; bytes.next_multiple_of(BLOCK)];
        if self.end + block.len() > LENGTH {
            self.end = 0;
        }
        let started = Instant::now();
        self.file.write_all_at(&block, self.end as u64)?;
        self.file.sync_data()?;
        self.end += block.len();
        Ok(started.elapsed())
    }
}
