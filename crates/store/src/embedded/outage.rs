//! The power goes out: of what was written and not synced, any sectors come to the disk and others do not.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use redb::{Database, DatabaseError, StorageBackend};
use tokio::task::JoinSet;

use super::Embedded;
use super::disk::Place;
use super::medium::{self, Allocated, Medium};
use crate::Store;
use crate::contract::Mask;
use crate::types::{CommitError, Key, Op, Page, Txn, no_terms};

const SECTOR: usize = 512;
const CLIENTS: usize = 4;

/// A machine whose power goes out.
#[derive(Debug)]
struct Machine {
    /// Writes and syncs until then.
    countdown: Mutex<u32>,
    files: Mutex<Vec<Arc<Cached>>>,
}

/// A file as its writer sees it, and what of it is on the disk.
#[derive(Debug)]
struct Cached {
    disk: Allocated,
    unsynced: Mutex<BTreeMap<u64, [u8; SECTOR]>>,
}

/// One that a store has open.
#[derive(Debug)]
struct Opened {
    file: Arc<Cached>,
    machine: Arc<Machine>,
}

impl Machine {
    fn new(countdown: u32) -> Arc<Self> {
        Arc::new(Self { countdown: Mutex::new(countdown), files: Mutex::default() })
    }

    fn is_off(&self) -> bool {
        *self.countdown.lock() == 0
    }

    /// Fails when the power is out.
    fn pass(&self) -> io::Result<()> {
        let mut countdown = self.countdown.lock();
        *countdown = countdown.saturating_sub(1);
        if *countdown == 0 { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    fn open(self: &Arc<Self>, path: &Path) -> Result<Opened, DatabaseError> {
        let file = Arc::new(Cached { disk: Allocated::open(path)?, unsynced: Mutex::default() });
        self.files.lock().push(Arc::clone(&file));
        Ok(Opened { file, machine: Arc::clone(self) })
    }

    /// Brings those sectors to the disk that `comes` says.
    fn go_out(&self, mut comes: impl FnMut() -> bool) {
        *self.countdown.lock() = 0;
        for file in self.files.lock().drain(..) {
            let length = file.disk.len().unwrap();
            for (sector, bytes) in &*file.unsynced.lock() {
                if comes() && sector * SECTOR as u64 + SECTOR as u64 <= length {
                    file.disk.write(sector * SECTOR as u64, bytes).unwrap();
                }
            }
        }
    }
}

#[derive(Debug)]
struct OnMachine(Arc<Machine>);

impl Medium for OnMachine {
    fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
        medium::database(self.0.open(path)?)
    }

    fn file(&self, path: &Path) -> Result<Box<dyn StorageBackend>, DatabaseError> {
        Ok(Box::new(self.0.open(path)?))
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        self.file.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.disk.read(offset, out)?;
        let within = sectors(offset, out.len());
        for (sector, bytes) in self.file.unsynced.lock().range(within) {
            let (at, from) = places(*sector, offset);
            let length = (SECTOR - from).min(out.len() - at);
            out[at..at + length].copy_from_slice(&bytes[from..from + length]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.machine.pass()?;
        self.file.unsynced.lock().retain(|sector, _| (sector + 1) * SECTOR as u64 <= len);
        self.file.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.machine.pass()?;
        for (sector, bytes) in std::mem::take(&mut *self.file.unsynced.lock()) {
            self.file.disk.write(sector * SECTOR as u64, &bytes)?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.machine.pass()?;
        for sector in sectors(offset, data.len()) {
            let mut bytes = [0; SECTOR];
            self.read(sector * SECTOR as u64, &mut bytes)?;
            let (at, from) = places(sector, offset);
            let length = (SECTOR - from).min(data.len() - at);
            bytes[from..from + length].copy_from_slice(&data[at..at + length]);
            self.file.unsynced.lock().insert(sector, bytes);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.disk.close()
    }
}

/// Those that so many bytes lie in.
fn sectors(offset: u64, length: usize) -> std::ops::Range<u64> {
    offset / SECTOR as u64..(offset + length as u64).div_ceil(SECTOR as u64)
}

/// Where in bytes at an offset a sector begins, and where in the sector they begin.
fn places(sector: u64, offset: u64) -> (usize, usize) {
    let place = |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).unwrap();
    (place(offset, sector * SECTOR as u64), place(sector * SECTOR as u64, offset))
}

fn key(client: usize) -> String {
    format!("client/{client}")
}

fn put(key: &str, number: u32) -> Op {
    let filler = "x".repeat(usize::try_from(number * 977 % 9000).unwrap());
    Op::Put { key: Key::from(key), value: Bytes::from(format!("{number} {filler}")) }
}

async fn number(store: &Embedded, key: &str) -> u32 {
    let Some(entry) = store.get(&Key::from(key)).await.unwrap() else { return 0 };
    let bytes = entry.value.bytes();
    std::str::from_utf8(&bytes).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Each client writes the next number to a key of its own and its twin, in one transaction, until the power is out;
/// which were acknowledged.
async fn write_until_out(store: &Arc<Embedded>) -> Vec<u32> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let store = Arc::clone(store);
        clients.spawn(async move {
            let mut acknowledged = number(&store, &key(client)).await;
            loop {
                let next = acknowledged + 1;
                let ops = vec![put(&key(client), next), put(&format!("{}/twin", key(client)), next)];
                match store.commit(Txn { expect: Vec::new(), ops }).await {
                    Ok(_) => acknowledged = next,
                    Err(CommitError::Storage(_)) => return (client, acknowledged),
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    let mut acknowledged = vec![0; CLIENTS];
    while let Some(result) = clients.join_next().await {
        let (client, number) = result.unwrap();
        acknowledged[client] = number;
    }
    acknowledged
}

async fn check(store: &Embedded, acknowledged: &[u32]) {
    for (client, acknowledged) in acknowledged.iter().enumerate() {
        let kept = number(store, &key(client)).await;
        assert!(
            (*acknowledged..=acknowledged + 1).contains(&kept),
            "client {client}: {acknowledged} was acknowledged, {kept} is there"
        );
        assert_eq!(number(store, &format!("{}/twin", key(client))).await, kept, "applied in part");
    }
    let entries = store.list("".into(), Page::default()).await.unwrap().entries;
    let newest = entries.iter().map(|entry| entry.modified).max().unwrap_or_default();
    assert_eq!(store.revision(), newest, "the revision is that of the last write");
}

/// Several outages of one machine, each after so many writes and syncs.
async fn outages(countdowns: &[u32], sectors: &[bool]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let mut comes = sectors.iter().cycle().copied();
    let mut acknowledged = vec![0; CLIENTS];
    let mut seal = 0;
    for countdown in countdowns {
        let machine = Machine::new(*countdown);
        // Each time with another seal than before.
        seal += 1;
        let medium = Arc::new(OnMachine(Arc::clone(&machine)));
        let place = Place { medium, path: path.clone(), seals: Mask::new(0..=seal) };
        match Embedded::open_on(place, no_terms.into()) {
            Ok(store) => {
                check(&store, &acknowledged).await;
                let store = Arc::new(store);
                acknowledged = write_until_out(&store).await;
            }
            Err(error) => assert!(machine.is_off(), "{error}"),
        }
        machine.go_out(|| comes.next().unwrap_or_default());
    }
    check(&Embedded::open_sealed(&path, no_terms, Mask::new(0..=seal)).unwrap(), &acknowledged).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn every_acknowledged_write_outlives_any_outage(
        countdowns in prop::collection::vec(1_u32..600, 1..6),
        sectors in prop::collection::vec(any::<bool>(), 97),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(outages(&countdowns, &sectors));
    }
}
