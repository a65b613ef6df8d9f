//! Writes the files of a volume so that a reader sees the old set or the new one, never a mixture.
//!
//! The layout is the kubelet's: each set lives in a hidden directory of its own (`..<time>.<random>`), the
//! symbolic link `..data` names the current one, and each visible name is a link through `..data`.
//!
//! Containers have these volumes read-only, but nothing here relies on it: whatever lies in the volume, no link in it
//! is followed out of it, and what does not belong there is removed.

use super::content::{FileContent, Payload};
use super::ownership::Ownership;
use jiff::Timestamp;
use skiff_ordered::Ordered as _;
use skiff_rooted::{Follow, Kind, Root};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const CURRENT: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes `volume` show exactly `files`. Does nothing when they are there already.
pub(crate) fn write(volume: &Root, files: &Payload, owners: Ownership, now: Timestamp) -> io::Result<()> {
    if let Some(current) = current_set(volume)
        && shows(&current, files)?
    {
        return link_names(volume, files);
    }
    let stamp = now.strftime("%Y_%m_%d_%H_%M_%S").to_string();
    let set = format!("..{stamp}.{:010}", rand::random::<u32>());
    fill(&new_directory(volume, &set, owners)?, files, owners)?;
    volume.remove_tree(NEXT)?;
    volume.symlink(&set, NEXT)?;
    if volume.find(CURRENT, Follow::Nothing).is_ok_and(|found| found.kind() == Kind::Directory) {
        volume.remove_tree(CURRENT)?;
    }
    volume.rename(NEXT, volume, CURRENT)?;
    link_names(volume, files)?;
    remove_others(volume, &set)
}

/// The set that the volume shows; `None` when it shows none, or something that is not a set.
fn current_set(volume: &Root) -> Option<Root> {
    volume.directory(volume.read_link(CURRENT).ok()?, Follow::Nothing).ok()
}

/// What a group owns, it may read at least; directories hand it on.
fn new_directory(parent: &Root, name: impl AsRef<OsStr>, owners: Ownership) -> io::Result<Root> {
    let mode = if owners.has_group() { 0o2755 } else { 0o755 };
    parent.make_directory(name, mode, owners.owner(None))
}

fn fill(set: &Root, files: &Payload, owners: Ownership) -> io::Result<()> {
    for (path, file) in files {
        let path = Path::new(path);
        let mut directory = set.try_clone()?;
        for name in path.parent().into_iter().flat_map(Path::iter) {
            directory = match new_directory(&directory, name, owners) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    directory.directory(name, Follow::Nothing)?
                }
                made => made?,
            };
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        directory.write(name, &file.data, mode_for(file, owners), owners.owner(file.user))?;
    }
    Ok(())
}

/// As the kubelet gives a volume that is read-only to a group.
fn mode_for(file: &FileContent, owners: Ownership) -> u32 {
    if owners.has_group() { file.mode | 0o440 } else { file.mode }
}

/// Whether `set` holds exactly `files`.
fn shows(set: &Root, files: &Payload) -> io::Result<bool> {
    let deepest = files.keys().map(|path| path.split('/').count()).max().unwrap_or(0);
    if count_files(set, deepest, files.len())? != Some(files.len()) {
        return Ok(false);
    }
    for (path, file) in files {
        let limit = u64::try_from(file.data.len()).unwrap_or(u64::MAX).saturating_add(1);
        match set.read_start(path, Follow::Nothing, limit) {
            Ok(data) if data == file.data => {}
            // Whatever is in its place is not the file.
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// How many files there are, `None` when there are more than `most`, or any deeper than `depth` levels.
fn count_files(directory: &Root, depth: usize, most: usize) -> io::Result<Option<usize>> {
    let mut count = 0;
    for entry in directory.entries()? {
        let entry = entry?;
        count += match (entry.kind, depth) {
            (_, 0) => return Ok(None),
            (Kind::Directory, _) => {
                let Ok(below) = directory.directory(&entry.name, Follow::Nothing) else { return Ok(None) };
                match count_files(&below, depth - 1, most)? {
                    Some(count) => count,
                    None => return Ok(None),
                }
            }
            _ => 1,
        };
        if count > most {
            return Ok(None);
        }
    }
    Ok(Some(count))
}

/// Makes the visible links, one per first path component, and removes what else is visible.
fn link_names(volume: &Root, files: &Payload) -> io::Result<()> {
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).to_set();
    for name in entries_where(volume, |name| {
        !hidden(name) && !name.to_str().is_some_and(|name| names.contains(name))
    })? {
        volume.remove_tree(name)?;
    }
    for name in names {
        let target = Path::new(CURRENT).join(name);
        if !volume.read_link(name).is_ok_and(|existing| existing == target) {
            volume.remove_tree(name)?;
            volume.symlink(target, name)?;
        }
    }
    Ok(())
}

/// Removes every set but `current`.
fn remove_others(volume: &Root, current: &str) -> io::Result<()> {
    for name in entries_where(volume, |name| hidden(name) && name != CURRENT && name != current)? {
        volume.remove_tree(name)?;
    }
    Ok(())
}

fn hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"..")
}

fn entries_where(volume: &Root, wanted: impl Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
    let names = volume.entries()?.map(|entry| entry.map(|entry| entry.name));
    names.filter(|name| name.as_ref().map_or(true, |name| wanted(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| FileContent { data: data.into(), mode: 0o640, user: None };
        files.iter().map(|(path, data)| ((*path).to_owned(), file(data))).collect()
    }

    fn read(directory: &Path, path: &str) -> Option<String> {
        fs::read_to_string(directory.join(path)).ok()
    }

    fn write_now(at: &Path, files: &[(&str, &str)]) -> io::Result<()> {
        write(&Root::open(at).unwrap(), &payload(files), Ownership::default(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn sets_replace_each_other_whole() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        write_now(at, &[("a", "1"), ("d/e", "2")]).unwrap();
        assert_eq!((read(at, "a").as_deref(), read(at, "d/e").as_deref()), (Some("1"), Some("2")));
        let first = fs::read_link(at.join(CURRENT)).unwrap();
        write_now(at, &[("a", "1"), ("d/e", "2")]).unwrap();
        assert_eq!(fs::read_link(at.join(CURRENT)).unwrap(), first, "nothing changed");
        write_now(at, &[("a", "3")]).unwrap();
        assert_eq!((read(at, "a").as_deref(), read(at, "d/e")), (Some("3"), None));
        let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(fs::metadata(at.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
    }

    /// Each entry: what somebody who can write the volume does to it between two updates.
    #[test]
    fn nothing_leads_an_update_out_of_the_volume() {
        type Attack = fn(&Path, &Path);
        let attacks: [(&str, Attack); 7] = [
            ("..data leads out", |at, host| {
                fs::remove_file(at.join(CURRENT)).unwrap();
                symlink(host, at.join(CURRENT)).unwrap();
            }),
            ("..data leads up", |at, _| {
                fs::remove_file(at.join(CURRENT)).unwrap();
                symlink("../host", at.join(CURRENT)).unwrap();
            }),
            ("the set is a link", |at, host| {
                let set = at.join(fs::read_link(at.join(CURRENT)).unwrap());
                fs::remove_dir_all(&set).unwrap();
                symlink(host, set).unwrap();
            }),
            ("..data is a directory", |at, _| {
                fs::remove_file(at.join(CURRENT)).unwrap();
                fs::create_dir_all(at.join(CURRENT).join("x")).unwrap();
            }),
            ("a name is a directory with a link out", |at, host| {
                fs::remove_file(at.join("a")).unwrap();
                fs::create_dir(at.join("a")).unwrap();
                symlink(host, at.join("a/out")).unwrap();
            }),
            ("the next link leads out", |at, host| symlink(host, at.join(NEXT)).unwrap()),
            ("a name of nobody's leads out", |at, host| symlink(host, at.join("extra")).unwrap()),
        ];
        for (name, attack) in attacks {
            let directory = tempfile::tempdir().unwrap();
            let (at, host) = (directory.path().join("volume"), directory.path().join("host"));
            fs::create_dir(&at).unwrap();
            fs::create_dir(&host).unwrap();
            fs::write(host.join("secret"), "s").unwrap();
            write_now(&at, &[("a", "1")]).unwrap();
            attack(&at, &host);
            write_now(&at, &[("a", "2"), ("b", "3")]).unwrap();
            assert_eq!(
                (read(&at, "a").as_deref(), read(&at, "b").as_deref()),
                (Some("2"), Some("3")),
                "{name}"
            );
            let left: Vec<_> = fs::read_dir(&host).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(
                (left, read(&host, "secret").as_deref()),
                (vec!["secret".into()], Some("s")),
                "{name}"
            );
            assert!(!at.join("extra").is_symlink(), "{name}");
        }
    }

    #[test]
    fn a_group_may_read() {
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: giving files away needs root");
        }
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let volume = Root::open(directory.path()).unwrap();
        let token = FileContent { data: b"t".into(), mode: 0o600, user: Some(1000) };
        let files = Payload::from([("d/token".to_owned(), token)]);
        write(&volume, &files, Ownership::of_group(2000), Timestamp::UNIX_EPOCH).unwrap();
        let seen = |path: &str| {
            let found = fs::metadata(directory.path().join(path)).unwrap();
            (found.mode() & 0o7777, found.uid(), found.gid())
        };
        assert_eq!(seen("d/token"), (0o640, 1000, 2000));
        assert_eq!(seen("d"), (0o2755, 0, 2000));
    }
}
