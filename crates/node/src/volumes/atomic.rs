//! Writes the files of a volume so that a reader sees the old set or the new one, never a mixture.
//!
//! The layout is the kubelet's: each set lives in a hidden directory of its own (`..<time>.<random>`), the
//! symbolic link `..data` names the current one, and each visible name is a link through `..data`.

use super::content::Payload;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

const CURRENT: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes `directory` show exactly `files`; `group` owns them, if given. Does nothing when they are there already.
pub(crate) fn write(directory: &Path, files: &Payload, group: Option<u32>, now: Timestamp) -> io::Result<()> {
    let current = fs::read_link(directory.join(CURRENT)).ok();
    if let Some(current) = &current
        && shows(&directory.join(current), files)?
    {
        return Ok(());
    }
    let stamp = now.strftime("%Y_%m_%d_%H_%M_%S").to_string();
    let set = format!("..{stamp}.{:010}", rand::random::<u32>());
    let set_path = directory.join(&set);
    fs::create_dir(&set_path)?;
    fs::set_permissions(&set_path, fs::Permissions::from_mode(0o755))?;
    if group.is_some() {
        chown(&set_path, None, group)?;
    }
    for (path, file) in files {
        let target = set_path.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.data)?;
        // A file for a group is for reading, at least, by it.
        let mode = if group.is_some() { file.mode | 0o040 | ((file.mode & 0o200) >> 3) } else { file.mode };
        if group.is_some() {
            chown(&target, None, group)?;
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
    }
    remove_if_there(&directory.join(NEXT))?;
    symlink(&set, directory.join(NEXT))?;
    fs::rename(directory.join(NEXT), directory.join(CURRENT))?;
    link_names(directory, files)?;
    if let Some(old) = current {
        fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

/// Whether `set` holds exactly `files`.
fn shows(set: &Path, files: &Payload) -> io::Result<bool> {
    if !set.is_dir() || count_files(set)? != files.len() {
        return Ok(false);
    }
    for (path, file) in files {
        match fs::read(set.join(path)) {
            Ok(data) if data == file.data => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn count_files(directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { count_files(&entry.path())? } else { 1 };
    }
    Ok(count)
}

/// Makes the visible links, one per first path component, and removes those of files that are gone.
fn link_names(directory: &Path, files: &Payload) -> io::Result<()> {
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !names.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in names {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(CURRENT).join(name), link)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::FileContent;
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| FileContent { data: data.into(), mode: 0o640 };
        files.iter().map(|(path, data)| ((*path).to_owned(), file(data))).collect()
    }

    fn read(directory: &Path, path: &str) -> Option<String> {
        fs::read_to_string(directory.join(path)).ok()
    }

    #[test]
    fn sets_replace_each_other_whole() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        write(at, &payload(&[("a", "1"), ("d/e", "2")]), None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((read(at, "a").as_deref(), read(at, "d/e").as_deref()), (Some("1"), Some("2")));
        let first = fs::read_link(at.join(CURRENT)).unwrap();
        write(at, &payload(&[("a", "1"), ("d/e", "2")]), None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(fs::read_link(at.join(CURRENT)).unwrap(), first, "nothing changed");
        write(at, &payload(&[("a", "3")]), None, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((read(at, "a").as_deref(), read(at, "d/e")), (Some("3"), None));
        let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(fs::metadata(at.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
