//! The kernel's word on changes of files that options name.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

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
