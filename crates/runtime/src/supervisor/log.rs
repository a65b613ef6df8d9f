//! Log files of containers: one line per line of output, in CRI format, rotated by size.
//!
//! `2006-01-02T15:04:05.999999999Z stdout F text`; `P` instead of `F` marks what no newline followed: a piece of a line
//! longer than 16 KiB, or the last output of a container that did not end its line.
//! A full file is renamed to `<path>.1` (the previous `.1` to `.2`, and so on); five files are kept in all.

use jiff::Timestamp;
use skiff_rooted::{Follow, Owner, Root};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Size at which a file is rotated, in bytes.
const ROTATE_AT: u64 = 10 << 20;
/// Files kept, the current one included.
const FILES: u32 = 5;
/// Longest piece of a line in one record, in bytes.
const LONGEST: usize = 16 << 10;

/// Which output a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn tag(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The log of one container. A log that cannot be written loses lines; it never stops the container.
#[derive(Debug)]
pub(crate) struct Log {
    /// Held open: whoever gets to write there cannot lead later files elsewhere.
    directory: Root,
    name: OsString,
    file: Option<File>,
    size: u64,
    /// Beginnings of lines whose end has not come yet, per stream.
    pending: [Vec<u8>; 2],
    complained: bool,
}

impl Log {
    /// Opens the file at `path`, which must be below `logs`, for appending, and makes its directory.
    pub(crate) fn open(logs: &Path, path: &Path) -> io::Result<Self> {
        let outside = || {
            let text = format!("{} is not a file below {}", path.display(), logs.display());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let below = path.strip_prefix(logs).map_err(|_| outside())?;
        let name = below.file_name().ok_or_else(outside)?.to_owned();
        let parent = below.parent().unwrap_or(Path::new(""));
        let directory =
            Root::open(logs)?.ensure_directories(parent, Follow::Nothing, 0o755, Owner::AS_MADE)?;
        let (file, size) = open(&directory, &name)?;
        let pending = [Vec::new(), Vec::new()];
        Ok(Self { directory, name, file: Some(file), size, pending, complained: false })
    }

    /// Takes output as it comes.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let mut records = Vec::with_capacity(bytes.len() + 64);
        let pending = &mut self.pending[stream as usize];
        split(pending, bytes, &mut |line, whole| record(&mut records, stream, line, whole, Timestamp::now()));
        self.append(&records);
    }

    /// Writes what is left of lines that never ended, as such: readers give no newline that was not written.
    pub(crate) fn finish(&mut self) {
        let mut records = Vec::new();
        for (stream, pending) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.pending) {
            if !pending.is_empty() {
                record(&mut records, stream, pending, false, Timestamp::now());
                *pending = Vec::new();
            }
        }
        self.append(&records);
    }

    fn append(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.try_append(records)
            && !self.complained
        {
            self.complained = true;
            skiff_print::note(format_args!("log {}: {error}; lines are lost", self.name.display()));
        }
    }

    fn try_append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.file.is_none() || self.size >= ROTATE_AT {
            if self.size >= ROTATE_AT {
                rotate(&self.directory, &self.name)?;
            }
            let (file, size) = open(&self.directory, &self.name)?;
            (self.file, self.size) = (Some(file), size);
        }
        if let Some(file) = &mut self.file {
            file.write_all(records)?;
            self.size += records.len() as u64;
        }
        Ok(())
    }
}

fn open(directory: &Root, name: &OsStr) -> io::Result<(File, u64)> {
    let file = directory.append(name, 0o640)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn rotate(directory: &Root, name: &OsStr) -> io::Result<()> {
    let numbered = |n: u32| {
        let mut numbered = name.to_owned();
        numbered.push(format!(".{n}"));
        numbered
    };
    for n in (1..FILES - 1).rev() {
        match directory.rename(numbered(n), directory, numbered(n + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    directory.rename(name, directory, numbered(1))
}

/// Cuts output into lines (true) and pieces of over-long lines (false); keeps the unfinished rest in `pending`.
fn split(pending: &mut Vec<u8>, mut bytes: &[u8], emit: &mut impl FnMut(&[u8], bool)) {
    while !bytes.is_empty() {
        let room = LONGEST - pending.len();
        let window = &bytes[..bytes.len().min(room)];
        let end = window.iter().position(|b| *b == b'\n');
        let piece = end.map_or(window, |end| &window[..end]);
        let full = end.is_none() && piece.len() == room;
        if end.is_none() && !full {
            pending.extend_from_slice(piece);
            return;
        }
        if pending.is_empty() {
            emit(piece, end.is_some());
        } else {
            pending.extend_from_slice(piece);
            emit(pending, end.is_some());
            pending.clear();
            pending.shrink_to(1024);
        }
        bytes = &bytes[piece.len() + usize::from(end.is_some())..];
    }
}

fn record(out: &mut Vec<u8>, stream: Stream, line: &[u8], whole: bool, now: Timestamp) {
    // Writing to memory cannot fail.
    let _infallible = write!(out, "{now:.9} {} {} ", stream.tag(), if whole { 'F' } else { 'P' });
    out.extend_from_slice(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], expected: &[(&[u8], bool)], rest: &[u8]) {
        let (mut pending, mut got) = (Vec::new(), Vec::new());
        for chunk in chunks {
            split(&mut pending, chunk, &mut |line, whole| got.push((line.to_vec(), whole)));
        }
        let expected: Vec<_> = expected.iter().map(|(line, whole)| (line.to_vec(), *whole)).collect();
        assert_eq!(got, expected);
        assert_eq!(pending, rest);
    }

    #[test]
    fn lines_are_cut_at_newlines_and_at_the_limit() {
        check(&[b"a\nb\n"], &[(b"a", true), (b"b", true)], b"");
        check(&[b"a", b"b\n\nc"], &[(b"ab", true), (b"", true)], b"c");
        let long = vec![b'x'; LONGEST + 3];
        check(&[&long, b"\n"], &[(&long[..LONGEST], false), (b"xxx", true)], b"");
        check(&[&long[..10], &long[10..]], &[(&long[..LONGEST], false)], b"xxx");
    }

    #[test]
    fn records_carry_nanoseconds_and_the_stream() {
        let mut out = Vec::new();
        record(&mut out, Stream::Stderr, b"hi", false, Timestamp::from_second(1_136_214_245).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "2006-01-02T15:04:05.000000000Z stderr P hi\n");
    }

    #[test]
    fn a_last_line_without_an_end_stays_without() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = Log::open(directory.path(), &path).unwrap();
        log.write(Stream::Stdout, b"whole\nDO");
        log.write(Stream::Stdout, b"NE");
        log.finish();
        let text = std::fs::read_to_string(&path).unwrap();
        let records: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(records, ["stdout F whole", "stdout P DONE"]);
    }

    #[test]
    fn full_files_are_rotated_and_the_oldest_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/0.log");
        let mut log = Log::open(directory.path(), &path).unwrap();
        for n in 0..7u8 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes());
            log.size = ROTATE_AT;
        }
        log.finish();
        let mut names: Vec<_> =
            std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4"]);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("line 6\n"));
        assert!(std::fs::read_to_string(directory.path().join("sub/0.log.4")).unwrap().ends_with("line 2\n"));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (logs, other) = (directory.path().join("logs"), directory.path().join("other"));
        std::fs::create_dir(&logs).unwrap();
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&other, logs.join("0.log")).unwrap();
        std::os::unix::fs::symlink(directory.path(), logs.join("c")).unwrap();
        for path in ["logs/0.log", "logs/c/other", "other"] {
            assert!(Log::open(&logs, &directory.path().join(path)).is_err(), "{path}");
        }
        assert_eq!(std::fs::read(&other).unwrap(), b"");
    }
}
