//! Block devices whose content is a file (loop devices), found and attached by descriptor.
//!
//! A file is shown by one device at most: two would each have a copy of its blocks in memory, and destroy what the other
//! writes. So a device is only attached when none shows the file, and whoever asks twice gets the same one.

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// How often another program may take the free device that the kernel named.
const TRIES: usize = 64;
/// The kernel's number of loop devices.
const MAJOR: u32 = 7;
/// The numbers of the device that gives them out. To open it loads the kernel's module.
const CONTROL: (u32, u32) = (10, 237);

const CLEAR: libc::Ioctl = 0x4C01;
const GET_STATUS: libc::Ioctl = 0x4C05;
const SET_CAPACITY: libc::Ioctl = 0x4C07;
const CONFIGURE: libc::Ioctl = 0x4C0A;
const GET_FREE: libc::Ioctl = 0x4C82;

/// The device ends with the last who has it open or mounted.
const AUTOCLEAR: u32 = 4;

/// `struct loop_info64`
#[repr(C)]
struct Status {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names: [[u8; 64]; 2],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Status,
    reserved: [u64; 8],
}

impl Status {
    fn empty() -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: 0,
            names: [[0; 64]; 2],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// How long a device is to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// As long as somebody has it open or mounted.
    WhileUsed,
    /// Until it is detached.
    UntilDetached,
}

/// A loop device, held open, so that it stays what it is.
#[derive(Debug)]
pub struct LoopDevice {
    device: File,
    number: u32,
}

impl LoopDevice {
    /// The device that shows `file`, which is open for reading and writing; attached unless there is one.
    pub fn attach(file: &File, lasting: Lasting) -> io::Result<Self> {
        if let Some(shown) = Self::of(file)? {
            return Ok(shown);
        }
        let control = Path::new("/dev/loop-control");
        let control = open_or_make(control, FileType::CharacterDevice, 0o600, CONTROL)?;
        for _ in 0..TRIES {
            let free = ioctl(&control, GET_FREE, 0)?;
            let number = u32::try_from(free).map_err(io::Error::other)?;
            let device = Self { device: open_numbered(number)?, number };
            match device.configure(file, lasting) {
                // Somebody else took it meanwhile.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {}
                configured => return configured.map(|()| device),
            }
        }
        Err(Errno::BUSY.into())
    }

    /// The device that shows `file`; `None` when none does.
    pub fn of(file: &File) -> io::Result<Option<Self>> {
        let status = rustix::fs::fstat(file)?;
        for number in attached()? {
            let Ok(device) = open_numbered(number) else { continue };
            let device = Self { device, number };
            let shown = device.status();
            if shown.is_ok_and(|shown| (shown.device, shown.inode) == (status.st_dev, status.st_ino)) {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }

    /// Its node.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        node(self.number)
    }

    /// Takes in that its file has grown.
    pub fn grow(&self) -> io::Result<()> {
        ioctl(&self.device, SET_CAPACITY, 0).map(drop)
    }

    /// Detaches its file; from a device that somebody uses as soon as nobody does.
    pub fn detach(self) -> io::Result<()> {
        match ioctl(&self.device, CLEAR, 0) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::NXIO) => Err(error),
            _ => Ok(()),
        }
    }

    #[allow(unsafe_code, reason = "the control call has no wrapper")]
    fn configure(&self, file: &File, lasting: Lasting) -> io::Result<()> {
        let flags = if lasting == Lasting::WhileUsed { AUTOCLEAR } else { 0 };
        let fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
        let info = Status { flags, ..Status::empty() };
        let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
        // SAFETY: the kernel reads a `loop_config`, which lives through the call.
        let done = unsafe { libc::ioctl(self.device.as_raw_fd(), CONFIGURE, std::ptr::from_ref(&config)) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    #[allow(unsafe_code, reason = "the control call has no wrapper")]
    fn status(&self) -> io::Result<Status> {
        let mut status = Status::empty();
        // SAFETY: the kernel writes a `loop_info64` into one that lives through the call; all its bytes are plain numbers.
        let done =
            unsafe { libc::ioctl(self.device.as_raw_fd(), GET_STATUS, std::ptr::from_mut(&mut status)) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(status) }
    }
}

/// Detaches every device whose file is below `directory`; those in use as soon as nobody uses them.
pub fn detach_below(directory: &Path) -> io::Result<()> {
    for number in attached()? {
        let shown = std::fs::read_to_string(format!("/sys/block/loop{number}/loop/backing_file"));
        if shown.is_ok_and(|path| Path::new(path.trim_end_matches('\n')).starts_with(directory)) {
            LoopDevice { device: open_numbered(number)?, number }.detach()?;
        }
    }
    Ok(())
}

/// The numbers of the devices that show a file.
fn attached() -> io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir("/sys/block") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number: Option<u32> = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        // Only a device that shows something has this directory.
        numbers.extend(number.filter(|_| entry.path().join("loop").is_dir()));
    }
    Ok(numbers)
}

fn node(number: u32) -> PathBuf {
    format!("/dev/loop{number}").into()
}

fn open_numbered(number: u32) -> io::Result<File> {
    open_or_make(&node(number), FileType::BlockDevice, 0o660, (MAJOR, number))
}

/// Opens a device; makes its node where nothing else does (`/dev` of a container, or of a machine without udev).
fn open_or_make(path: &Path, kind: FileType, mode: u32, (major, minor): (u32, u32)) -> io::Result<File> {
    match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let device = rustix::fs::makedev(major, minor);
            match rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(mode), device) {
                Ok(()) | Err(Errno::EXIST) => open(path),
                Err(error) => Err(error.into()),
            }
        }
        opened => opened,
    }
}

fn open(path: &Path) -> io::Result<File> {
    let opened = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let named = |error: Errno| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("open {}: {error}", path.display()))
    };
    opened.map(File::from).map_err(named)
}

/// A control call whose argument is a number.
#[allow(unsafe_code, reason = "the control call has no wrapper")]
fn ioctl(file: &File, request: libc::Ioctl, argument: libc::c_ulong) -> io::Result<libc::c_int> {
    // SAFETY: the calls made here take no pointer.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, argument) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
