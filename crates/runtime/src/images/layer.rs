//! Unpacking one layer into a directory that overlayfs can use as it is.
//!
//! Deletions become overlayfs whiteouts (character device 0:0) and opaque directories (an extended attribute). Parents
//! an archive does not mention are looked up in the layers below, links included, as if the archive were unpacked on top
//! of them. No entry can lead out of the layer.

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType};

/// Most symbolic links followed in one path.
const MAX_LINKS: u32 = 40;

/// Prefix of names that stand for deletions.
const WHITEOUT: &[u8] = b".wh.";
/// Name that hides everything below in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Unpacks an uncompressed archive into `target` (an empty directory), on top of `parents` (topmost first). Returns the
/// number of bytes of file content.
pub(super) fn unpack(archive: impl Read, target: &Path, parents: &[PathBuf]) -> io::Result<u64> {
    let open = |path: &Path| rustix::fs::open(path, DIRECTORY, Mode::empty());
    let parents = parents.iter().map(|p| open(p)).collect::<Result<_, _>>()?;
    let mut layer = Layer { root: open(target)?, parents, times: Vec::new(), size: 0 };
    let mut archive = Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = PathBuf::from(OsString::from_vec(entry.path_bytes().into_owned()));
        layer.add(&path, &mut entry).map_err(|error| {
            io::Error::new(error.kind(), format!("entry {:?}: {error}", path.display().to_string()))
        })?;
    }
    layer.set_directory_times()?;
    Ok(layer.size)
}

struct Layer {
    root: OwnedFd,
    parents: Vec<OwnedFd>,
    /// Directories and their times, set last because adding entries changes them.
    times: Vec<(Vec<OsString>, Timespec)>,
    size: u64,
}

/// A directory of the layer: its real path from the root and a descriptor.
struct Place {
    path: Vec<OsString>,
    fd: OwnedFd,
}

/// Owner, mode and time of an entry.
#[derive(Clone, Copy)]
struct Meta {
    mode: Mode,
    uid: Uid,
    gid: Gid,
    time: Timespec,
}

impl Layer {
    fn add<R: Read>(&mut self, path: &Path, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let mut names = components(path)?;
        let Some(name) = names.pop() else {
            // The root itself.
            let (meta, root) = (meta(entry)?, self.root.try_clone()?);
            apply(&root, OsStr::new("."), meta)?;
            self.times.push((Vec::new(), meta.time));
            return Ok(());
        };
        let parent = self.directory(&names)?;
        if let Some(deleted) = name.as_bytes().strip_prefix(WHITEOUT) {
            return whiteout(&parent.fd, name.as_bytes(), OsStr::from_bytes(deleted));
        }
        let meta = meta(entry)?;
        match entry.header().entry_type() {
            EntryType::Directory => self.add_directory(parent, &name, meta, entry),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.add_file(&parent.fd, &name, meta, entry)
            }
            EntryType::Symlink => {
                remove(&parent.fd, &name)?;
                rustix::fs::symlinkat(&*link_name(entry)?, &parent.fd, &*name)?;
                apply_link(&parent.fd, &name, meta)
            }
            EntryType::Link => self.add_hard_link(&parent.fd, &name, &link_name(entry)?),
            kind @ (EntryType::Char | EntryType::Block | EntryType::Fifo) => {
                remove(&parent.fd, &name)?;
                add_node(&parent.fd, &name, kind, meta, entry)
            }
            EntryType::XGlobalHeader | EntryType::XHeader => Ok(()),
            other => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("entry type {other:?} is not supported"),
            )),
        }
    }

    fn add_directory<R: Read>(
        &mut self,
        parent: Place,
        name: &OsStr,
        meta: Meta,
        entry: &mut Entry<'_, R>,
    ) -> io::Result<()> {
        let found = stat(&parent.fd, name)?;
        let replaces_whiteout = found.as_ref().is_some_and(is_whiteout);
        if !found.is_some_and(|f| FileType::from_raw_mode(f.st_mode) == FileType::Directory) {
            remove(&parent.fd, name)?;
            rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU)?;
        }
        let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&parent.fd, name, readable, Mode::empty())?;
        if replaces_whiteout {
            set_opaque(&directory)?;
        }
        set_xattrs(&directory, entry)?;
        apply(&parent.fd, name, meta)?;
        let mut path = parent.path;
        path.push(name.to_owned());
        self.times.push((path, meta.time));
        Ok(())
    }

    fn add_file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        meta: Meta,
        entry: &mut Entry<'_, R>,
    ) -> io::Result<()> {
        remove(parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?);
        self.size += io::copy(entry, &mut file)?;
        let file = OwnedFd::from(file);
        // Changing the owner drops capabilities and set-user-ID: owner first, then mode and attributes.
        apply(parent, name, meta)?;
        set_xattrs(&file, entry)?;
        set_time(parent, name, meta.time)
    }

    fn add_hard_link(&mut self, parent: &OwnedFd, name: &OsStr, target: &Path) -> io::Result<()> {
        let mut names = components(target)?;
        let last = names.pop().ok_or(io::ErrorKind::InvalidData)?;
        let place = self.directory(&names)?;
        remove(parent, name)?;
        match rustix::fs::linkat(&place.fd, &*last, parent, name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => {
                // The file is in a layer below: a copy is all a layer of its own can have.
                let mut path = place.path;
                path.push(last);
                self.copy_from_parents(&path, parent, name)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn copy_from_parents(&mut self, path: &[OsString], parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let path: PathBuf = path.iter().collect();
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let found = self
            .parents
            .iter()
            .find_map(|p| rustix::fs::openat2(p, &path, flags, Mode::empty(), resolve).ok());
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("link target {} is missing", path.display()));
        let mut from = File::from(found.ok_or_else(missing)?);
        let status = rustix::fs::fstat(&from)?;
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut to = File::from(rustix::fs::openat(parent, name, create, Mode::RUSR | Mode::WUSR)?);
        self.size += io::copy(&mut from, &mut to)?;
        apply(parent, name, meta_of(&status))
    }

    /// Opens a directory of this layer, made as needed, following links of this layer and those below.
    fn directory(&self, names: &[OsString]) -> io::Result<Place> {
        let mut rest: VecDeque<OsString> = names.iter().cloned().collect();
        let mut stack: Vec<(OsString, OwnedFd)> = Vec::new();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                stack.pop();
                continue;
            }
            let current = stack.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            let found = stat(current, &name)?.filter(|f| !is_whiteout(f));
            let link = match found.map(|f| FileType::from_raw_mode(f.st_mode)) {
                Some(FileType::Directory) => None,
                Some(FileType::Symlink) => {
                    Some(rustix::fs::readlinkat(current, &*name, Vec::new())?.into_bytes())
                }
                Some(_) => {
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{name:?} is a file")));
                }
                None => {
                    let path: PathBuf = stack.iter().map(|(n, _)| n).chain([&name]).collect();
                    self.make_like_parents(current, &path, &name)?
                }
            };
            let Some(link) = link else {
                let fd = rustix::fs::openat(current, &*name, DIRECTORY, Mode::empty())?;
                stack.push((name, fd));
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::other("too many levels of symbolic links"));
            }
            let target = Path::new(OsStr::from_bytes(&link));
            if target.is_absolute() {
                stack.clear();
            }
            for component in target.components().rev() {
                match component {
                    Component::Normal(name) => rest.push_front(name.to_owned()),
                    Component::ParentDir => rest.push_front("..".into()),
                    _ => {}
                }
            }
        }
        let path = stack.iter().map(|(name, _)| name.clone()).collect();
        let fd = stack.pop().map_or_else(|| self.root.try_clone(), |(_, fd)| Ok(fd))?;
        Ok(Place { path, fd })
    }

    /// Makes a directory with the owner and mode it has below, or returns the link that is there instead.
    fn make_like_parents(
        &self,
        current: std::os::fd::BorrowedFd<'_>,
        path: &Path,
        name: &OsStr,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut like = None;
        let deleted = stat(current, name)?.is_some();
        if deleted {
            remove(current, name)?;
        }
        for parent in self.parents.iter().filter(|_| !deleted) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match rustix::fs::openat2(parent, path, flags, Mode::empty(), resolve) {
                Ok(found) => found,
                Err(Errno::NOENT) => continue,
                // Something else than a directory on the way hides what is below.
                Err(_) => break,
            };
            let status = rustix::fs::fstat(&found)?;
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Symlink => {
                    return Ok(Some(rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes()));
                }
                FileType::Directory => like = Some(meta_of(&status)),
                _ => {}
            }
            break;
        }
        rustix::fs::mkdirat(current, name, Mode::from_raw_mode(0o755))?;
        if deleted {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            set_opaque(&rustix::fs::openat(current, name, flags, Mode::empty())?)?;
        }
        if let Some(meta) = like {
            apply(current, name, meta)?;
        }
        Ok(None)
    }

    fn set_directory_times(&self) -> io::Result<()> {
        for (path, time) in self.times.iter().rev() {
            let path: PathBuf = path.iter().collect();
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
            // A later entry may have replaced the directory.
            match set_time(&self.root, path.as_os_str(), *time) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The names of a path; `..` is refused, for no layer needs it.
fn components(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the path leads out of the layer"));
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}

fn link_name<R: Read>(entry: &Entry<'_, R>) -> io::Result<PathBuf> {
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "link without a target");
    entry.link_name_bytes().map(|n| PathBuf::from(OsString::from_vec(n.into_owned()))).ok_or_else(missing)
}

fn meta<R: Read>(entry: &Entry<'_, R>) -> io::Result<Meta> {
    let header = entry.header();
    let id = |value: u64| u32::try_from(value).map_err(io::Error::other);
    let seconds = i64::try_from(header.mtime()?).unwrap_or_default();
    Ok(Meta {
        mode: Mode::from_raw_mode(header.mode()? & 0o7777),
        uid: Uid::from_raw(id(header.uid()?)?),
        gid: Gid::from_raw(id(header.gid()?)?),
        time: Timespec { tv_sec: seconds, tv_nsec: 0 },
    })
}

fn meta_of(status: &rustix::fs::Stat) -> Meta {
    Meta {
        mode: Mode::from_raw_mode(status.st_mode & 0o7777),
        uid: Uid::from_raw(status.st_uid),
        gid: Gid::from_raw(status.st_gid),
        time: Timespec { tv_sec: status.st_mtime, tv_nsec: 0 },
    }
}

fn stat(parent: impl AsFd, name: &OsStr) -> io::Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_whiteout(status: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && status.st_rdev == 0
}

fn whiteout(parent: &OwnedFd, name: &[u8], deleted: &OsStr) -> io::Result<()> {
    if name == OPAQUE {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return set_opaque(&rustix::fs::openat(parent, ".", flags, Mode::empty())?);
    }
    // Others of this form are notes of an old union file system to itself.
    if name.starts_with(b".wh..wh.") || deleted.is_empty() || deleted == "." || deleted == ".." {
        return Ok(());
    }
    match rustix::fs::mknodat(parent, deleted, FileType::CharacterDevice, Mode::empty(), 0) {
        // The layer has both: what it adds wins over what it deletes.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn set_opaque(directory: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(directory, "trusted.overlay.opaque", b"y", XattrFlags::empty())?)
}

/// Removes whatever is there under a name.
fn remove(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let parent = parent.as_fd();
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let names: Vec<_> = rustix::fs::Dir::read_from(&directory)?.collect::<Result<_, _>>()?;
    for entry in names.iter().map(|e| e.file_name().to_bytes()).filter(|n| !matches!(*n, b"." | b"..")) {
        remove(&directory, OsStr::from_bytes(entry))?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn add_node<R: Read>(
    parent: &OwnedFd,
    name: &OsStr,
    kind: EntryType,
    meta: Meta,
    entry: &Entry<'_, R>,
) -> io::Result<()> {
    let header = entry.header();
    let number = || -> io::Result<u64> {
        Ok(rustix::fs::makedev(header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
    };
    let (kind, device) = match kind {
        EntryType::Char => (FileType::CharacterDevice, number()?),
        EntryType::Block => (FileType::BlockDevice, number()?),
        _ => (FileType::Fifo, 0),
    };
    rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device)?;
    apply(parent, name, meta)?;
    set_time(parent, name, meta.time)
}

/// Sets owner, then mode, of something that is not a link.
fn apply(parent: impl AsFd, name: &OsStr, meta: Meta) -> io::Result<()> {
    let parent = parent.as_fd();
    rustix::fs::chownat(parent, name, Some(meta.uid), Some(meta.gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(rustix::fs::chmodat(parent, name, meta.mode, AtFlags::empty())?)
}

fn apply_link(parent: &OwnedFd, name: &OsStr, meta: Meta) -> io::Result<()> {
    rustix::fs::chownat(parent, name, Some(meta.uid), Some(meta.gid), AtFlags::SYMLINK_NOFOLLOW)?;
    set_time(parent, name, meta.time)
}

fn set_time(parent: &OwnedFd, name: &OsStr, time: Timespec) -> io::Result<()> {
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Extended attributes, as far as the file system has them; the overlay's own are never taken from an archive.
fn set_xattrs<R: Read>(file: &OwnedFd, entry: &mut Entry<'_, R>) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") else { continue };
        if name.starts_with(b"trusted.") || name.starts_with(b"security.selinux") {
            continue;
        }
        match rustix::fs::fsetxattr(
            file,
            OsStr::from_bytes(name),
            extension.value_bytes(),
            XattrFlags::empty(),
        ) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
    use tar::{Builder, Header};

    /// Entries as (type, path, link target or content).
    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, text) in entries {
            let mut header = Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.set_uid(7);
            header.set_gid(8);
            header.set_mtime(1_000_000);
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if link {
                header.set_link_name_literal(text).unwrap();
            }
            let content = if link { "" } else { text };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    struct Layers {
        directory: tempfile::TempDir,
        parents: Vec<PathBuf>,
    }

    impl Layers {
        /// None without root, which owners and device nodes need.
        fn new() -> Option<Self> {
            if !rustix::process::geteuid().is_root() {
                println!("skipped: needs root");
                return None;
            }
            Some(Self { directory: tempfile::tempdir().unwrap(), parents: Vec::new() })
        }

        fn add(&mut self, entries: &[(EntryType, &str, &str)]) -> io::Result<PathBuf> {
            let path = self.directory.path().join(self.parents.len().to_string());
            fs::create_dir(&path).unwrap();
            unpack(&archive(entries)[..], &path, &self.parents)?;
            self.parents.insert(0, path.clone());
            Ok(path)
        }
    }

    use EntryType::{Directory, Link, Regular, Symlink};

    #[test]
    fn owners_modes_and_links_are_kept() {
        let Some(mut layers) = Layers::new() else { return };
        let layer = layers
            .add(&[(Directory, "bin/", ""), (Regular, "bin/su", "x"), (Link, "bin/su2", "bin/su")])
            .unwrap();
        let found = fs::metadata(layer.join("bin/su")).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o7777, found.mtime()),
            (7, 8, 0o4755, 1_000_000)
        );
        assert_eq!(found.ino(), fs::metadata(layer.join("bin/su2")).unwrap().ino());
        assert_eq!(fs::metadata(layer.join("bin")).unwrap().mtime(), 1_000_000);
    }

    #[test]
    fn deletions_become_whiteouts() {
        let Some(mut layers) = Layers::new() else { return };
        layers.add(&[(Regular, "d/a", "1"), (Regular, "e/a", "1")]).unwrap();
        let upper = layers
            .add(&[(Regular, "d/.wh.a", ""), (Regular, "e/.wh..wh..opq", ""), (Regular, "e/b", "2")])
            .unwrap();
        let node = fs::symlink_metadata(upper.join("d/a")).unwrap();
        assert!(node.file_type().is_char_device() && node.rdev() == 0);
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(upper.join("e"), "trusted.overlay.opaque", &mut value).unwrap();
        assert_eq!(&value[..length], b"y");
    }

    #[test]
    fn links_in_lower_layers_are_followed() {
        let Some(mut layers) = Layers::new() else { return };
        layers
            .add(&[(Directory, "usr/lib", ""), (Symlink, "lib", "usr/lib"), (Symlink, "abs", "/usr")])
            .unwrap();
        let upper = layers.add(&[(Regular, "lib/x.so", "x"), (Regular, "abs/lib/y.so", "y")]).unwrap();
        assert!(upper.join("usr/lib/x.so").is_file() && upper.join("usr/lib/y.so").is_file());
        assert!(fs::symlink_metadata(upper.join("lib")).is_err());
        assert_eq!(
            fs::metadata(upper.join("usr/lib")).unwrap().uid(),
            7,
            "the owner is that of the layer below"
        );
    }

    #[test]
    fn nothing_leads_out() {
        let Some(mut layers) = Layers::new() else { return };
        assert!(layers.add(&[(Regular, "../x", "x")]).is_err());
        let outside = layers.directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let link = outside.display().to_string();
        let layer = layers.directory.path().join("evil");
        fs::create_dir(&layer).unwrap();
        let entries = [
            (Symlink, "a", link.as_str()),
            (Regular, "a/f", "x"),
            (Symlink, "b", "../../.."),
            (Regular, "b/g", "x"),
        ];
        unpack(&archive(&entries)[..], &layer, &[]).unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert!(layer.join("g").is_file());
        symlink("/", layer.join("root")).unwrap();
        assert!(unpack(&archive(&[(Link, "h", "root/etc/passwd")])[..], &layer, &[]).is_err());
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one() {
        let Some(mut layers) = Layers::new() else { return };
        let layer =
            layers.add(&[(Regular, "d/x/y", "1"), (Regular, "d/x", "2"), (Symlink, "d/x", "z")]).unwrap();
        assert_eq!(fs::read_link(layer.join("d/x")).unwrap(), Path::new("z"));
    }
}
