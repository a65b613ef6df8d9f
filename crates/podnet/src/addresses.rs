//! Which pod holds which address, in memory and on disk.
//!
//! On disk each pod is one file `<directory>/<uid>` that holds its address as text. A file appears by rename, so a crash leaves either no
//! record or a whole one. The directory lives on a file system that a reboot empties, as it does the interfaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use ipnet::Ipv4Net;

use crate::NetworkError;

/// The addresses of one node's pods. An address is free again only after [`AddressBook::release`].
#[derive(Debug)]
pub(crate) struct AddressBook {
    directory: PathBuf,
    pool: Pool,
}

impl AddressBook {
    /// Reads what earlier runs recorded under `directory`, which is made if missing.
    pub(crate) fn open(directory: PathBuf, range: Ipv4Net) -> Result<Self, NetworkError> {
        fs::create_dir_all(&directory).map_err(NetworkError::io("make directory", &directory))?;
        let mut pool = Pool::new(range);
        let entries = fs::read_dir(&directory).map_err(NetworkError::io("list", &directory))?;
        for entry in entries {
            let entry = entry.map_err(NetworkError::io("list", &directory))?;
            let Some(uid) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if check_uid(&uid).is_err() {
                continue; // an unfinished record, replaced when its pod is attached again
            }
            let path = entry.path();
            let text = fs::read_to_string(&path).map_err(NetworkError::io("read", &path))?;
            match text.trim().parse() {
                Ok(ip) => pool.restore(uid, ip),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "ignoring a damaged address record")
                }
            }
        }
        Ok(Self { directory, pool })
    }

    /// The address of `uid`: the one it has, else a free one, recorded on disk before it is returned.
    pub(crate) fn assign(&mut self, uid: &str) -> Result<Ipv4Addr, NetworkError> {
        check_uid(uid)?;
        if let Some(ip) = self.pool.get(uid) {
            return Ok(ip);
        }
        let ip = self
            .pool
            .next_free()
            .ok_or_else(|| NetworkError::Exhausted { range: self.pool.range, uid: uid.to_owned() })?;
        let path = self.directory.join(uid);
        let unfinished = self.directory.join(format!(".{uid}"));
        fs::write(&unfinished, ip.to_string()).map_err(NetworkError::io("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(NetworkError::io("write", &path))?;
        self.pool.restore(uid.to_owned(), ip);
        Ok(ip)
    }

    pub(crate) fn get(&self, uid: &str) -> Option<Ipv4Addr> {
        self.pool.get(uid)
    }

    /// Frees the address of `uid`.
    pub(crate) fn release(&mut self, uid: &str) -> Result<(), NetworkError> {
        let path = self.directory.join(uid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(NetworkError::io("remove", &path)(error));
            }
            _removed_or_absent => {}
        }
        self.pool.release(uid);
        Ok(())
    }

    pub(crate) fn all(&self) -> &BTreeMap<String, Ipv4Addr> {
        &self.pool.by_uid
    }
}

/// Removes all records under `directory`.
pub(crate) fn forget_all(directory: &Path) -> Result<(), NetworkError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::io("remove", directory)(error))
        }
        _removed_or_absent => Ok(()),
    }
}

fn check_uid(uid: &str) -> Result<(), NetworkError> {
    let usable = !uid.is_empty()
        && uid.len() <= 128
        && uid.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !uid.starts_with('.');
    if usable { Ok(()) } else { Err(NetworkError::BadUid { uid: uid.to_owned() }) }
}

/// Pure part of the book. New addresses follow the one given last, so that an address rests as long as possible before it
/// is used again and late packets of its last owner find nobody.
#[derive(Debug)]
struct Pool {
    range: Ipv4Net,
    by_uid: BTreeMap<String, Ipv4Addr>,
    used: BTreeSet<Ipv4Addr>,
    last: u32,
}

impl Pool {
    fn new(range: Ipv4Net) -> Self {
        let gateway = u32::from(range.network()).wrapping_add(1);
        Self { range, by_uid: BTreeMap::new(), used: BTreeSet::new(), last: gateway }
    }

    fn get(&self, uid: &str) -> Option<Ipv4Addr> {
        self.by_uid.get(uid).copied()
    }

    fn restore(&mut self, uid: String, ip: Ipv4Addr) {
        self.last = u32::from(ip);
        self.used.insert(ip);
        self.by_uid.insert(uid, ip);
    }

    fn release(&mut self, uid: &str) {
        if let Some(ip) = self.by_uid.remove(uid) {
            self.used.remove(&ip);
        }
    }

    /// The first free address after the last one given, round robin; never the network, gateway or broadcast address.
    fn next_free(&self) -> Option<Ipv4Addr> {
        let first = u32::from(self.range.network()).checked_add(2)?;
        let end = u32::from(self.range.broadcast());
        let start = if (first..end).contains(&self.last) { self.last + 1 } else { first };
        (start..end).chain(first..start).map(Ipv4Addr::from).find(|ip| !self.used.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(directory: &Path) -> AddressBook {
        AddressBook::open(directory.join("network"), "10.244.3.0/29".parse().unwrap()).unwrap()
    }

    #[test]
    fn addresses_are_unique_stable_and_rest_before_reuse() {
        let directory = tempfile::tempdir().unwrap();
        let mut book = book(directory.path());
        let given: Vec<_> = ["a", "b", "c"].iter().map(|uid| book.assign(uid).unwrap().to_string()).collect();
        assert_eq!(given, ["10.244.3.2", "10.244.3.3", "10.244.3.4"]);
        assert_eq!(book.assign("a").unwrap().to_string(), "10.244.3.2");
        book.release("c").unwrap();
        assert_eq!(book.assign("d").unwrap().to_string(), "10.244.3.5");
        book.assign("e").unwrap();
        assert_eq!(book.assign("f").unwrap().to_string(), "10.244.3.4");
        assert!(matches!(book.assign("g"), Err(NetworkError::Exhausted { .. })));
    }

    #[test]
    fn records_survive_a_restart_and_unfinished_ones_do_not_count() {
        let directory = tempfile::tempdir().unwrap();
        book(directory.path()).assign("a").unwrap();
        fs::write(directory.path().join("network/.b"), "10.2").unwrap();
        fs::write(directory.path().join("network/c"), "not an address").unwrap();
        let mut again = book(directory.path());
        assert_eq!(again.all().keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(again.assign("b").unwrap().to_string(), "10.244.3.3");
    }

    #[test]
    fn uids_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        for uid in ["", "../x", ".hidden", "a/b"] {
            assert!(
                matches!(book(directory.path()).assign(uid), Err(NetworkError::BadUid { .. })),
                "{uid:?}"
            );
        }
    }
}
