//! Starting unpackers, and passing bytes between them.

use super::{Compression, MACHINE, SUBCOMMAND};
use crate::images::digest::{Digest, Hasher};
use crate::images::layer::Unpacked;
use crate::images::limits::{Bound, Exceeded, ImageLimits};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Bytes passed on at once: the size of a pipe.
const PIECE: usize = 64 << 10;

/// Longest report of an unpacker, in bytes.
const REPORT: u64 = 64 << 20;

/// Expansions up to this many bytes are fine whatever their ratio.
const SMALL: u64 = 1 << 20;

/// Starts unpackers.
#[derive(Clone, Debug)]
pub(crate) struct Unpacker {
    /// Started as `<executable> unpack-layer …`.
    pub(crate) executable: PathBuf,
    pub(crate) limits: ImageLimits,
}

/// Why something was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// It is damaged, or larger than allowed.
    #[error("{0}")]
    Content(String),
    /// Not its fault: this may go better another time.
    #[error("unpack: {0}")]
    Machine(String),
}

impl From<Exceeded> for Failed {
    fn from(error: Exceeded) -> Self {
        Self::Content(error.to_string())
    }
}

/// Something to unpack, compressed or not.
pub(crate) struct Blob<R> {
    pub(crate) content: R,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// Its digest, where that is known beforehand.
    pub(crate) digest: Option<Digest>,
}

/// A layer that was unpacked.
pub(crate) struct Extracted {
    pub(crate) unpacked: Unpacked,
    /// Digest of its uncompressed archive.
    pub(crate) digest: Digest,
}

impl Unpacker {
    /// Unpacks a layer's archive into an empty directory, on top of the layers below (topmost first).
    pub(crate) fn extract(
        &self,
        blob: Blob<impl Read + Send>,
        limits: &ImageLimits,
        target: &Path,
        below: &[PathBuf],
    ) -> Result<Extracted, Failed> {
        let mut arguments = vec![OsStr::new("extract"), target.as_os_str()];
        arguments.extend(below.iter().map(|path| path.as_os_str()));
        let mut writer = self.start(limits, &arguments)?;
        let mut input = writer.input()?;
        let mut digest = Hasher::default();
        let passed = self.expand(blob, limits, Bound::ImageBytes, |bytes| {
            digest.update(bytes);
            input.write_all(bytes)
        });
        drop(input);
        match passed {
            Ok(()) => {}
            // It ended early; its own words say why.
            Err(Interrupted::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                let said = writer.finish();
                return Err(said.err().unwrap_or_else(|| Failed::Machine("the unpacker ended early".into())));
            }
            Err(Interrupted::Sink(error)) => return Err(Failed::Machine(error.to_string())),
            Err(Interrupted::Failed(failed)) => return Err(failed),
        }
        let report = writer.finish()?;
        let unpacked = serde_json::from_slice(&report)
            .map_err(|error| Failed::Machine(format!("the unpacker's report cannot be read: {error}")))?;
        Ok(Extracted { unpacked, digest: digest.finish() })
    }

    /// Passes what a blob stands for to `sink`, at most as much as `bound` allows, and checks the blob's own digest.
    pub(crate) fn expand(
        &self,
        blob: Blob<impl Read + Send>,
        limits: &ImageLimits,
        bound: Bound,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Interrupted> {
        let Blob { mut content, length, digest } = blob;
        let mut start = Vec::with_capacity(4);
        let read = content.by_ref().take(4).read_to_end(&mut start);
        read.map_err(|error| Failed::Machine(error.to_string()))?;
        let compression = Compression::of(&start);
        // Digesting is most of the work: nobody asks for what nobody compares.
        let hash = digest.map(|_| Hasher::default());
        let mut whole = Digested { source: io::Cursor::new(start).chain(content), hash, length: 0 };
        let mut passed = 0;
        let mut pass = |bytes: &[u8]| -> Result<(), Interrupted> {
            passed += bytes.len() as u64;
            limits.check(bound, passed).map_err(Failed::from)?;
            if compression.is_some() && passed > SMALL {
                let most = length.saturating_mul(limits.get(Bound::Ratio));
                if passed > most {
                    return Err(Failed::from(limits.exceeded(Bound::Ratio)).into());
                }
            }
            sink(bytes).map_err(Interrupted::Sink)
        };
        match compression {
            None => each_piece(&mut whole, &mut pass)?,
            Some(compression) => self.expand_in_process(compression, limits, &mut whole, &mut pass)?,
        }
        if whole.length != length || whole.hash.map(Hasher::finish) != digest {
            let reason = "its content has not the digest and size that its manifest says";
            return Err(Failed::Content(reason.into()).into());
        }
        Ok(())
    }

    fn expand_in_process(
        &self,
        compression: Compression,
        limits: &ImageLimits,
        source: &mut (impl Read + Send),
        pass: impl FnMut(&[u8]) -> Result<(), Interrupted>,
    ) -> Result<(), Interrupted> {
        let mut expander = self.start(limits, &[OsStr::new(compression.word())])?;
        let mut input = expander.input()?;
        let mut output = expander.child.stdout.take().ok_or_else(no_pipe)?;
        let (fed, passed) = std::thread::scope(|scope| {
            let feeder = scope.spawn(move || io::copy(source, &mut input));
            let passed = each_piece(&mut output, pass);
            // Whatever stopped this side, the other one is not to wait for it.
            drop(output);
            if passed.is_err() {
                expander.kill();
            }
            (feeder.join(), passed)
        });
        passed?;
        expander.finish()?;
        match fed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failed::Machine(format!("read: {error}")).into()),
            Err(_panic) => Err(Failed::Machine("the reading thread panicked".into()).into()),
        }
    }

    fn start(&self, limits: &ImageLimits, arguments: &[&OsStr]) -> Result<Worker, Failed> {
        let mut command = Command::new(&self.executable);
        command.arg(SUBCOMMAND).arg(limits.to_string()).args(arguments).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed =
            |error: io::Error| Failed::Machine(format!("start {}: {error}", self.executable.display()));
        let mut child = command.spawn().map_err(failed)?;
        match Watchdog::new(&child, Duration::from_secs(limits.get(Bound::Seconds))) {
            Ok(watchdog) => Ok(Worker { child, watchdog, limits: *limits }),
            Err(error) => {
                // Not watched, it must not run; that it may have ended already is fine.
                let _ended = child.kill();
                let _status = child.wait();
                Err(failed(error))
            }
        }
    }
}

/// Why an expansion did not come to its end.
pub(crate) enum Interrupted {
    /// What receives the bytes failed.
    Sink(io::Error),
    Failed(Failed),
}

impl From<Failed> for Interrupted {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

fn no_pipe() -> Failed {
    Failed::Machine("the unpacker has no pipe".into())
}

fn each_piece(
    source: &mut impl Read,
    mut pass: impl FnMut(&[u8]) -> Result<(), Interrupted>,
) -> Result<(), Interrupted> {
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => pass(&piece[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failed::Machine(format!("read: {error}")).into()),
        }
    }
}

/// An unpacker that runs; killed when dropped.
struct Worker {
    child: Child,
    watchdog: Watchdog,
    limits: ImageLimits,
}

impl Worker {
    fn input(&mut self) -> Result<ChildStdin, Failed> {
        self.child.stdin.take().ok_or_else(no_pipe)
    }

    fn kill(&mut self) {
        // Fails only for a process that was waited for.
        let _ended = self.child.kill();
    }

    /// Waits for its end. Returns what it reported.
    fn finish(&mut self) -> Result<Vec<u8>, Failed> {
        drop(self.child.stdin.take());
        let machine = |error: io::Error| Failed::Machine(error.to_string());
        let mut report = Vec::new();
        if let Some(output) = self.child.stdout.take() {
            output.take(REPORT).read_to_end(&mut report).map_err(machine)?;
        }
        let status = self.child.wait().map_err(machine)?;
        if status.success() {
            return Ok(report);
        }
        if self.watchdog.barked() {
            return Err(self.limits.exceeded(Bound::Seconds).into());
        }
        let mut said = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            errors.take(4096).read_to_end(&mut said).map_err(machine)?;
        }
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(match status.code() {
            Some(code) if code == i32::from(MACHINE) => Failed::Machine(said),
            Some(1) => Failed::Content(said),
            _ => Failed::Content(format!("the unpacking failed ({status}) {said}").trim_end().to_owned()),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
        // Nothing more can be done about it here, and it does not keep anything.
        let _status = self.child.wait();
    }
}

/// Kills a process that takes too long.
struct Watchdog {
    barked: Arc<AtomicBool>,
    /// Ends the waiting thread when dropped.
    _ended: mpsc::Sender<()>,
}

impl Watchdog {
    fn new(child: &Child, patience: Duration) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let process = pidfd_open(pid.ok_or(io::ErrorKind::InvalidInput)?, PidfdFlags::empty())?;
        let barked = Arc::new(AtomicBool::new(false));
        let (ended, wait) = mpsc::channel::<()>();
        let flag = barked.clone();
        let watch = move || {
            if wait.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::SeqCst);
                // Fails only for a process that has ended.
                let _ended = pidfd_send_signal(&process, Signal::KILL);
            }
        };
        std::thread::Builder::new().name("unpack-watch".into()).spawn(watch)?;
        Ok(Self { barked, _ended: ended })
    }

    fn barked(&self) -> bool {
        self.barked.load(Ordering::SeqCst)
    }
}

/// Digests what is read.
struct Digested<R> {
    source: R,
    hash: Option<Hasher>,
    length: u64,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..read]);
        }
        self.length += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// An unpacker that is a shell script.
    fn unpacker(directory: &Path, limits: &str, script: &str) -> Unpacker {
        let executable = directory.join("unpacker");
        std::fs::write(&executable, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
        Unpacker { executable, limits: limits.parse().unwrap() }
    }

    fn expand(unpacker: &Unpacker, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let blob = Blob { content: bytes, length: bytes.len() as u64, digest: None };
        let mut expanded = Vec::new();
        let sink = |piece: &[u8]| -> io::Result<()> {
            expanded.extend_from_slice(piece);
            Ok(())
        };
        match unpacker.expand(blob, &unpacker.limits, Bound::ArchiveBytes, sink) {
            Ok(()) => Ok(expanded),
            Err(Interrupted::Sink(error)) => Err(error.to_string()),
            Err(Interrupted::Failed(failed)) => Err(failed.to_string()),
        }
    }

    const GZIP: [u8; 4] = [0x1f, 0x8b, 8, 0];

    #[test]
    fn one_that_does_not_end_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let script = format!("echo $$ > {}\nexec sleep 1000", pid.display());
        let unpacker = unpacker(directory.path(), "seconds=1", &script);
        let error = expand(&unpacker, &GZIP).unwrap_err();
        assert!(error.contains("more than 1 seconds") && error.contains("--image-limit seconds="), "{error}");
        // On a busy machine it may have been ended before it could say who it is.
        if let Ok(pid) = std::fs::read_to_string(pid) {
            assert!(!Path::new("/proc").join(pid.trim()).join("exe").exists(), "it is gone and waited for");
        }
    }

    #[test]
    fn what_it_says_and_how_it_ends_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let check = |script: &str, expected: &str| {
            let error = expand(&unpacker(directory.path(), "archive-bytes=9", script), &GZIP).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check("cat > /dev/null; echo no gzip >&2; exit 1", "no gzip");
        check("echo full disk >&2; exit 3", "unpack: full disk");
        check("kill -SEGV $$", "signal: 11");
        check("cat > /dev/null; echo 0123456789", "archive-bytes");
        check("exec yes", "archive-bytes");
        let honest = unpacker(directory.path(), "", "cat > /dev/null; printf expanded");
        assert_eq!(expand(&honest, &GZIP).unwrap(), b"expanded");
        assert_eq!(expand(&honest, b"plain").unwrap(), b"plain", "nobody is asked");
    }

    #[test]
    fn a_blob_is_what_it_is_said_to_be() {
        let unpacker = Unpacker { executable: "/none".into(), limits: ImageLimits::default() };
        let check = |length, of: &str| {
            let blob = Blob { content: &b"content"[..], length, digest: Some(Digest::of(of)) };
            unpacker.expand(blob, &unpacker.limits, Bound::ImageBytes, |_| Ok(())).is_ok()
        };
        assert!(check(7, "content") && !check(8, "content") && !check(7, "other"));
    }
}
