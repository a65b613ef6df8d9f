//! Changes of files that options name: by the kernel's word, and by looking where it says nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::{Interest, unix::AsyncFd};

/// Wake-ups when something happens to the files of a directory, which is also where a file is replaced by another one. Of a file
/// behind links (a ConfigMap of a pod) nobody tells: look at it now and then as well.
#[derive(Debug)]
pub struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    /// Those in a file's directory. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system's, for example that there is no such directory.
    pub fn beside(file: &Path) -> io::Result<Self> {
        let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let events = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&fd, directory.unwrap_or(Path::new(".")), events)?;
        #[expect(
            deprecated,
            reason = "sound for a descriptor that the AsyncFd itself owns; its successor is unsafe"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self(fd))
    }

    /// Waits for a change, and forgets all that are queued.
    ///
    /// # Errors
    /// The system's; nothing more is told then.
    pub async fn next(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let drained = guard.try_io(|fd| {
                let (mut buffer, mut any) = ([0_u8; 4096], false);
                loop {
                    match rustix::io::read(fd, &mut buffer) {
                        Ok(0) => return Ok(()),
                        Ok(_) => any = true,
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) if any => return Ok(()),
                        Err(error) => return Err(error.into()),
                    }
                }
            });
            if let Ok(drained) = drained {
                return drained;
            }
        }
    }
}

/// How often a file is looked at, whatever is told: one behind links (a ConfigMap of a pod) may change elsewhere. As
/// kube-apiserver does.
const AT_LEAST: Duration = Duration::from_secs(60);

/// A file that is read again when it may say something else.
#[derive(Debug)]
pub struct Followed {
    file: PathBuf,
    told: Option<Changes>,
    /// What it said when it was last read.
    text: Vec<u8>,
    /// Why it could not be read since.
    failed: Option<io::ErrorKind>,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// All of it.
    pub text: Vec<u8>,
    /// Whether it is something else than before; else it can only be read again.
    pub is_new: bool,
}

impl Followed {
    /// A file that has said this so far. Must be called inside a tokio runtime.
    pub fn since(file: PathBuf, text: Vec<u8>) -> Self {
        let told = Changes::beside(&file);
        if let Err(error) = &told {
            tracing::warn!(file = %file.display(), %error, "changes of a file are noticed within a minute only");
        }
        Self { file, told: told.ok(), text, failed: None }
    }

    /// Waits until the file says something else than before, or nothing any more, or can be read again. Safe to cancel.
    ///
    /// # Errors
    /// Why it cannot be read, once.
    pub async fn next(&mut self) -> io::Result<Said> {
        loop {
            match std::fs::read(&self.file) {
                Ok(text) => {
                    let is_new = text != self.text;
                    if self.failed.take().is_some() || is_new {
                        self.text.clone_from(&text);
                        return Ok(Said { text, is_new });
                    }
                }
                Err(error) if self.failed != Some(error.kind()) => {
                    self.failed = Some(error.kind());
                    return Err(error);
                }
                Err(_) => {}
            }
            let minute = tokio::time::sleep(AT_LEAST);
            tokio::select! {
                () = minute => {}
                Ok(()) = told(self.told.as_ref()) => {}
            }
        }
    }
}

/// The kernel's word; without it for ever.
async fn told(changes: Option<&Changes>) -> io::Result<()> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_removed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "one").unwrap();
        let mut followed = Followed::since(file.clone(), b"one".to_vec());
        let mut next = async || {
            let wait = tokio::time::timeout(Duration::from_secs(20), followed.next());
            wait.await.expect("noticed in time")
        };
        let said = |text: &str, is_new| Said { text: text.into(), is_new };
        std::fs::write(&file, "two").unwrap();
        assert_eq!(next().await.unwrap(), said("two", true));
        let other = dir.path().join("b.yaml");
        std::fs::write(&other, "three").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_eq!(next().await.unwrap(), said("three", true));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(next().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&file, "three").unwrap();
        assert_eq!(next().await.unwrap(), said("three", false));
    }
}
