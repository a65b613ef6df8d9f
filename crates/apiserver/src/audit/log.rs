//! Events in a file, a line each. A full file is kept beside it under a name with the time, as kube-apiserver keeps it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use skiff_audit::Event;
use tokio::sync::oneshot;

use super::options::{AuditError, LogConfig};
use super::sink::Sink;

/// So many lines wait for the disk.
const WAITING: usize = 10_000;

/// What the thread is told.
enum Message {
    Line(String),
    /// To answer when everything before has been written.
    Flush(oneshot::Sender<()>),
}

/// Hands lines to the thread that writes them.
pub(super) struct Log(SyncSender<Message>);

impl Log {
    /// Opens the file, so that what is wrong with it is told at once.
    pub(super) fn start(config: LogConfig) -> Result<Self, AuditError> {
        let out = Rotated::open(config)?;
        let (lines, waiting) = sync_channel(WAITING);
        let started = thread::Builder::new().name("audit-log".to_owned()).spawn(move || write(out, &waiting));
        started.map_err(|source| AuditError::Log { file: "thread".into(), source })?;
        Ok(Self(lines))
    }
}

impl Sink for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn write(&self, event: &Event) -> bool {
        match self.0.try_send(Message::Line(event.line())) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    fn tell(&self, written: oneshot::Sender<()>) -> bool {
        self.0.try_send(Message::Flush(written)).is_ok()
    }
}

/// Writes until nobody can send any more. What was written reaches the file whenever nothing more waits.
fn write(mut out: Rotated, waiting: &Receiver<Message>) {
    let mut was_wrong = false;
    while let Ok(mut message) = waiting.recv() {
        let mut wrote = Ok(());
        loop {
            match message {
                Message::Line(line) => wrote = wrote.and(out.line(&line)),
                Message::Flush(done) => {
                    wrote = wrote.and(out.flush());
                    done.send(()).ok();
                }
            }
            message = match waiting.try_recv() {
                Ok(next) => next,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
        }
        // Told once, until it works again.
        match wrote.and(out.flush()) {
            Err(error) if !was_wrong => {
                was_wrong = true;
                tracing::error!(error = &error as &dyn std::error::Error, "cannot write the audit log");
            }
            Ok(()) => was_wrong = false,
            Err(_) => {}
        }
    }
}

/// A file that makes way for the next when it is full.
struct Rotated {
    config: LogConfig,
    out: BufWriter<Box<dyn Write + Send>>,
    size: u64,
}

impl Rotated {
    fn open(config: LogConfig) -> Result<Self, AuditError> {
        let Some(path) = &config.path else {
            return Ok(Self { config, out: BufWriter::new(Box::new(io::stdout())), size: 0 });
        };
        let wrong = |source| AuditError::Log { file: path.clone(), source };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(wrong)?;
        }
        let (file, size) = open(path).map_err(wrong)?;
        Ok(Self { out: BufWriter::new(Box::new(file)), size, config })
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.size > 0 && self.size + length > self.config.bytes {
            self.rotate()?;
        }
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")?;
        self.size += length;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Some(path) = self.config.path.clone() else { return Ok(()) };
        self.out.flush()?;
        fs::rename(&path, kept(&path, Timestamp::now()))?;
        let (file, size) = open(&path)?;
        self.out = BufWriter::new(Box::new(file));
        self.size = size;
        remove_old(&path, &self.config)
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// `audit-2026-01-02T03-04-05.678.log` of `audit.log`.
fn kept(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", now.strftime("%Y-%m-%dT%H-%M-%S.%3f")))
}

/// The name without its extension, and the extension with its dot.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    (text(path.file_stem()), extension.unwrap_or_default())
}

/// Removes full files that are too many or too old.
fn remove_old(path: &Path, config: &LogConfig) -> io::Result<()> {
    let (stem, extension) = parts(path);
    let mut full: Vec<(String, PathBuf)> = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension));
        if let Some(time) = time.filter(|time| is_time(time)) {
            full.push((time.to_owned(), entry.path()));
        }
    }
    // The newest first: times are written so that they sort.
    skiff_ordered::sort_by(&mut full, |a, b| b.cmp(a));
    let most = if config.backups == 0 { usize::MAX } else { config.backups as usize };
    let age = Duration::from_secs(u64::from(config.days) * 24 * 60 * 60);
    for (index, (_, file)) in full.into_iter().enumerate() {
        let is_old = || {
            let modified = file.metadata().and_then(|data| data.modified())?;
            Ok::<_, io::Error>(SystemTime::now().duration_since(modified).is_ok_and(|passed| passed > age))
        };
        if index >= most || (config.days > 0 && is_old()?) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Whether a text has the shape of the times that [`kept`] writes.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00-00-00.000"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &Path, bytes: u64, backups: u32) -> LogConfig {
        LogConfig { path: Some(path.to_owned()), days: 0, backups, bytes }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        skiff_ordered::sort_by(&mut names, Ord::cmp);
        names
    }

    #[test]
    fn full_files_are_kept_and_then_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/audit.log");
        fs::create_dir(dir.path().join("logs")).unwrap();
        // Of somebody else, and to stay.
        fs::write(path.with_file_name("audit-notes.log"), "").unwrap();
        for time in ["2020-01-01T00-00-00.000", "2020-01-02T00-00-00.000"] {
            fs::write(path.with_file_name(format!("audit-{time}.log")), "").unwrap();
        }
        let mut log = Rotated::open(config(&path, 10, 2)).unwrap();
        for line in ["12345", "6789", "next"] {
            log.line(line).unwrap();
        }
        log.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "6789\nnext\n");
        let names = names(path.parent().unwrap());
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(names[0], "audit-2020-01-02T00-00-00.000.log");
        assert_eq!(names[3], "audit.log");
        assert!(names.contains(&"audit-notes.log".to_owned()));
    }

    #[test]
    fn a_line_that_is_too_long_is_written_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut log = Rotated::open(config(&path, 4, 0)).unwrap();
        log.line("123456").unwrap();
        log.flush().unwrap();
        assert_eq!(names(dir.path()), ["audit.log"]);
        let mut again = Rotated::open(config(&path, 4, 0)).unwrap();
        again.line("7").unwrap();
        again.flush().unwrap();
        assert_eq!(names(dir.path()).len(), 2, "what is there when it is opened counts");
    }
}
