//! Reads a container's log, rotated files included, and follows it as it grows.
//!
//! The supervisor renames a full file `n.log` to `n.log.1` (the previous `.1` to `.2`, …) and begins a new one.
//! A follower is woken by inotify; it never looks at a file on its own. Only regular files of the log's directory are read,
//! never what a link in it points to.

use super::query::{LogQuery, Renderer};
use rustix::fs::inotify;
use skiff_rooted::{Follow, Root};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// Output is handed on in pieces of about this many bytes.
const PIECE: usize = 32 * 1024;
/// Block size of the search for the last lines.
const BLOCK: u64 = 64 * 1024;

/// Pieces of output, in order.
pub(crate) type Pieces = mpsc::Sender<io::Result<bytes::Bytes>>;

/// Sends the log at `path` to `pieces`; follows it until `ended` completes if the query says so. Ends early when
/// nobody receives.
pub(crate) async fn send(path: PathBuf, query: LogQuery, ended: impl Future<Output = ()>, pieces: Pieces) {
    if let Err(error) = try_send(path, query, ended, &pieces).await {
        // A receiver that is gone does not need to know.
        drop(pieces.send(Err(error)).await);
    }
}

async fn try_send(
    path: PathBuf,
    query: LogQuery,
    ended: impl Future<Output = ()>,
    pieces: &Pieces,
) -> io::Result<()> {
    let (follow, renderer) = (query.follow, Renderer::new(&query));
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = match Root::open(directory) {
        Ok(directory) => directory,
        // Nothing was ever written.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !follow => return Ok(()),
        Err(error) => return Err(error),
    };
    // The watch comes first, so that nothing is written unseen between reading and waiting.
    let changes = if follow { Some(Changes::of(&directory)?) } else { None };
    let mut reader = LogReader { directory, name: name.to_owned(), current: None, renderer };
    let tail = query.tail;
    let mut reader = blocking(pieces, move |pieces| {
        reader.read_existing(tail, pieces)?;
        Ok(reader)
    })
    .await?;
    let Some(mut changes) = changes else { return Ok(()) };
    let mut ended = std::pin::pin!(ended);
    let mut over = false;
    while !over && !reader.renderer.is_full() && !pieces.is_closed() {
        tokio::select! {
            changed = changes.next() => changed?,
            () = &mut ended => over = true,
            () = pieces.closed() => return Ok(()),
        }
        reader = blocking(pieces, move |pieces| {
            reader.read_new(pieces)?;
            Ok(reader)
        })
        .await?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    pieces: &Pieces,
    work: impl FnOnce(&Pieces) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let pieces = pieces.clone();
    tokio::task::spawn_blocking(move || work(&pieces)).await.map_err(io::Error::other)?
}

/// The files of a log and how far they were read. Its methods block.
struct LogReader {
    directory: Root,
    name: OsString,
    /// The newest file, read up to the last complete record.
    current: Option<BufReader<File>>,
    renderer: Renderer,
}

impl LogReader {
    /// Reads everything that is there, or the last `tail` lines of it.
    fn read_existing(&mut self, tail: Option<u64>, pieces: &Pieces) -> io::Result<()> {
        let mut files = existing_files(&self.directory, &self.name)?;
        let (first, offset) = match tail {
            Some(lines) => find_tail(&mut files, lines)?,
            None => (0, 0),
        };
        for (index, mut file) in files.into_iter().enumerate().skip(first) {
            file.seek(SeekFrom::Start(if index == first { offset } else { 0 }))?;
            self.current = Some(BufReader::new(file));
            self.drain(pieces)?;
        }
        Ok(())
    }

    /// Reads what was written since, in the file that was current and in one that took its place.
    fn read_new(&mut self, pieces: &Pieces) -> io::Result<()> {
        self.drain(pieces)?;
        let newest = match self.directory.file(&self.name, Follow::Nothing) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let same = match &self.current {
            Some(current) => current.get_ref().metadata()?.ino() == newest.metadata()?.ino(),
            None => false,
        };
        if !same {
            // What was written between the last look and the renaming.
            self.drain(pieces)?;
            self.current = Some(BufReader::new(newest));
            self.drain(pieces)?;
        }
        Ok(())
    }

    /// Sends all complete records that the current file has left.
    fn drain(&mut self, pieces: &Pieces) -> io::Result<()> {
        let Some(reader) = &mut self.current else { return Ok(()) };
        let mut output = Vec::new();
        let mut record = Vec::new();
        while !self.renderer.is_full() {
            record.clear();
            let read = reader.read_until(b'\n', &mut record)?;
            if record.last() != Some(&b'\n') {
                // Not complete yet: read it again when the rest is there.
                reader.seek_relative(-i64::try_from(read).unwrap_or(0))?;
                break;
            }
            self.renderer.render(&record, &mut output);
            if output.len() >= PIECE && !hand_on(pieces, std::mem::take(&mut output)) {
                return Ok(());
            }
        }
        hand_on(pieces, output);
        Ok(())
    }
}

/// Sends a piece; false when nobody receives.
fn hand_on(pieces: &Pieces, output: Vec<u8>) -> bool {
    output.is_empty() || pieces.blocking_send(Ok(output.into())).is_ok()
}

/// The files of the log, oldest first.
fn existing_files(directory: &Root, name: &OsStr) -> io::Result<Vec<File>> {
    let Some(name) = name.to_str() else { return Ok(Vec::new()) };
    let mut found: Vec<(u32, OsString)> = Vec::new();
    for entry in directory.entries()? {
        let file_name = entry?.name;
        let Some(rest) = file_name.to_str().and_then(|text| text.strip_prefix(name)) else { continue };
        if rest.is_empty() {
            found.push((0, file_name));
        } else if let Some(age) = rest.strip_prefix('.').and_then(|age| age.parse().ok()) {
            found.push((age, file_name));
        }
    }
    skiff_ordered::sort_by_key(&mut found, |(age, _)| std::cmp::Reverse(*age));
    let mut files = Vec::new();
    for (_, name) in found {
        match directory.file(name, Follow::Nothing) {
            Ok(file) => files.push(file),
            // Rotated away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The file and offset at which the last `lines` lines begin.
fn find_tail(files: &mut [File], lines: u64) -> io::Result<(usize, u64)> {
    let Some(last) = files.len().checked_sub(1) else { return Ok((0, 0)) };
    let mut wanted = lines;
    if wanted == 0 {
        return Ok((last, files[last].metadata()?.len()));
    }
    for (index, file) in files.iter_mut().enumerate().rev() {
        let mut end = file.metadata()?.len();
        let length = end;
        while end > 0 {
            let start = end.saturating_sub(BLOCK);
            let mut block = vec![0; usize::try_from(end - start).unwrap_or(0)];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut block)?;
            for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let line_start = start + u64::try_from(at).unwrap_or(0) + 1;
                // The newline that ends the file begins no line.
                if line_start == length {
                    continue;
                }
                wanted -= 1;
                if wanted == 0 {
                    return Ok((index, line_start));
                }
            }
            end = start;
        }
        // The first line of the file.
        if length > 0 {
            wanted -= 1;
        }
        if wanted == 0 {
            return Ok((index, 0));
        }
    }
    Ok((0, 0))
}

/// Wake-ups when a log grows or is rotated.
struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    fn of(directory: &Root) -> io::Result<Self> {
        use inotify::{CreateFlags, WatchFlags};
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // The directory held open, whatever has its name.
        let directory = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
        // A directory's watch also tells of changes of its files.
        inotify::add_watch(&fd, directory, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that the AsyncFd itself owns; its successor is unsafe"
        )]
        let fd = AsyncFd::new(fd)?;
        Ok(Self(fd))
    }

    /// Waits for at least one change and forgets all that are queued.
    async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let drained = guard.try_io(|fd| {
                let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
                let mut any = false;
                loop {
                    match rustix::io::read(fd, &mut buffer) {
                        Ok(([], _)) => return Ok(()),
                        Ok(_) => any = true,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(rustix::io::Errno::AGAIN) if any => return Ok(()),
                        Err(error) => return Err(error.into()),
                    }
                }
            });
            if let Ok(result) = drained {
                // Some events may be left, which the next call sees.
                return result;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use tokio::sync::oneshot;

    fn record(text: &str) -> String {
        format!("2026-01-01T00:00:00Z stdout F {text}\n")
    }

    fn log(files: &[(&str, &[&str])]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        for (name, lines) in files {
            let text: String = lines.iter().map(|line| record(line)).collect();
            fs::write(directory.path().join(name), text).unwrap();
        }
        let path = directory.path().join("0.log");
        (directory, path)
    }

    async fn collect(mut receiver: mpsc::Receiver<io::Result<bytes::Bytes>>) -> String {
        let mut all = Vec::new();
        while let Some(piece) = receiver.recv().await {
            all.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    async fn check_tail(lines: u64, expected: &str) {
        let (_directory, path) =
            log(&[("0.log.2", &["a"]), ("0.log.1", &["b", "c"]), ("0.log", &["d", "e"]), ("1.log", &["x"])]);
        let (pieces, receiver) = mpsc::channel(8);
        let query = LogQuery { tail: Some(lines), ..LogQuery::default() };
        send(path, query, std::future::pending(), pieces).await;
        assert_eq!(collect(receiver).await, expected, "{lines}");
    }

    #[tokio::test]
    async fn the_tail_reaches_into_rotated_files() {
        check_tail(0, "").await;
        check_tail(1, "e\n").await;
        check_tail(2, "d\ne\n").await;
        check_tail(3, "c\nd\ne\n").await;
        check_tail(4, "b\nc\nd\ne\n").await;
        check_tail(5, "a\nb\nc\nd\ne\n").await;
        check_tail(99, "a\nb\nc\nd\ne\n").await;
    }

    #[tokio::test]
    async fn a_log_is_followed_over_rotation_until_the_end() {
        let (directory, path) = log(&[("0.log", &["a"])]);
        let (pieces, mut receiver) = mpsc::channel(8);
        let (end, ended) = oneshot::channel::<()>();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let follower = tokio::spawn(send(path.clone(), query, async { drop(ended.await) }, pieces));
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "a\n");
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(record("b").as_bytes()).unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "b\n");
        fs::rename(&path, directory.path().join("0.log.1")).unwrap();
        fs::write(&path, record("c")).unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "c\n");
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(record("d").as_bytes()).unwrap();
        end.send(()).unwrap();
        assert_eq!(collect(receiver).await, "d\n");
        follower.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_read() {
        let (directory, path) = log(&[("0.log.1", &["a"]), ("secret", &["s"])]);
        std::os::unix::fs::symlink(directory.path().join("secret"), &path).unwrap();
        let (pieces, mut receiver) = mpsc::channel(8);
        send(path.clone(), LogQuery::default(), std::future::pending(), pieces).await;
        assert!(receiver.recv().await.unwrap().is_err());
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
        let (pieces, mut receiver) = mpsc::channel(8);
        send(path, LogQuery::default(), std::future::pending(), pieces).await;
        assert!(receiver.recv().await.unwrap().is_err(), "and nobody waits for a writer");
    }
}
