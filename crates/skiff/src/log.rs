//! The log of the server and of other long-running commands: lines on standard error that never stand in the way.
//!
//! A line that cannot be written (full disk, closed standard error) is counted and left out. No line is longer than
//! [`MAX_LINE`], whatever somebody puts into it. A log in a file is begun anew when it is full; a few old ones stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

/// Bytes of the longest line, its end included.
const MAX_LINE: usize = 1024;
/// What stands in the place of a long line's rest.
const CUT: &str = " …\n";

/// Bytes after which a log file is begun anew, and how many old ones are kept: `server.log.1` is the newest of them.
const MAX_FILE: u64 = 4 << 20;
const OLD_FILES: u32 = 3;

/// What is logged unless `RUST_LOG` says otherwise. The client library logs whole answers that it cannot decode, and
/// answers hold Secrets; the error itself reaches us.
const FILTER: &str = "info,kube=warn,kube_client::client=off";

/// One line for each message, on standard error.
pub(crate) fn to_stderr() {
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    start(Lines::new(None), colours);
}

/// One line for each message, on standard error, which becomes a file that is bounded.
pub(crate) fn to_file(path: &Path) -> anyhow::Result<()> {
    let file = LogFile::open(path.to_owned()).with_context(|| format!("open {}", path.display()))?;
    start(Lines::new(Some(file)), false);
    Ok(())
}

fn start(lines: Lines, colours: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let lines = Arc::new(Mutex::new(lines));
    let writer = move || Line(Arc::clone(&lines));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    // Its own complaints would go to standard error as well, and panic when that fails.
    logger.log_internal_errors(false).init();
}

/// Opens a log for one process's lines at its end.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Takes one message.
struct Line(Arc<Mutex<Lines>>);

impl Write for Line {
    /// The formatter gives a whole message at a time.
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.lock().write(message);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where lines go.
#[derive(Debug)]
struct Lines {
    file: Option<LogFile>,
    /// How many could not be written since the last one that could.
    lost: u64,
}

impl Lines {
    fn new(file: Option<LogFile>) -> Self {
        Self { file, lost: 0 }
    }

    fn write(&mut self, message: &[u8]) {
        let mut text = String::new();
        if self.lost > 0 {
            text = format!("{} lines of the log could not be written\n", self.lost);
        }
        text.push_str(&shorten(&String::from_utf8_lossy(message)));
        match io::stderr().lock().write_all(text.as_bytes()) {
            Ok(()) => self.lost = 0,
            Err(_) => self.lost += 1,
        }
        if let Some(file) = &mut self.file {
            file.grown(text.len());
        }
    }
}

/// A message of at most [`MAX_LINE`] bytes.
fn shorten(message: &str) -> String {
    if message.len() <= MAX_LINE {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MAX_LINE - CUT.len());
    format!("{}{CUT}", &message[..end])
}

/// A file that is standard error.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    size: u64,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = append(&path)?;
        rustix::stdio::dup2_stderr(&file)?;
        Ok(Self { path, size: file.metadata()?.len() })
    }

    /// Counts what was written, and begins anew when the file is full. When that fails, the file goes on for as long
    /// again: whoever could be told reads this very log.
    fn grown(&mut self, bytes: usize) {
        self.size += bytes as u64;
        if self.size < MAX_FILE {
            return;
        }
        match rotate(&self.path).and_then(|()| Self::open(self.path.clone())) {
            Ok(next) => *self = next,
            Err(_) => self.size = 0,
        }
    }
}

/// Moves `log` to `log.1`, that to `log.2`, and so on; the oldest goes.
fn rotate(path: &Path) -> io::Result<()> {
    let old = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    for number in (1..OLD_FILES).rev() {
        match fs::rename(old(number), old(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, old(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_its_bound() {
        assert_eq!(shorten("short\n"), "short\n");
        let whole = format!("{}\n", "x".repeat(MAX_LINE - 1));
        assert_eq!(shorten(&whole), whole);
        for character in ["x", "ü", "語"] {
            let line = shorten(&format!("{}\n", character.repeat(5000)));
            assert!(line.len() <= MAX_LINE && line.len() > MAX_LINE - 8, "{}", line.len());
            assert!(line.ends_with(CUT) && line.matches('\n').count() == 1);
        }
    }

    #[test]
    fn keeps_the_last_few_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.log");
        for round in 0..6 {
            fs::write(&path, round.to_string()).unwrap();
            rotate(&path).unwrap();
        }
        let kept = |name: &str| fs::read_to_string(dir.path().join(name)).ok();
        let names = ["server.log", "server.log.1", "server.log.2", "server.log.3", "server.log.4"];
        let expected = [None, Some("5"), Some("4"), Some("3"), None].map(|text| text.map(str::to_owned));
        assert_eq!(names.map(kept), expected);
    }
}
