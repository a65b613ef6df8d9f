//! Reading tar archives of strangers: one member after the other, each within bounds.
//!
//! Understands the ustar, GNU and PAX forms as far as images use them (POSIX.1-2024 `pax`; GNU tar manual, "Basic Tar
//! Format", "Storing Sparse Files"). Names and extended headers are read up to their bounds only; a sparse file is told as its pieces, so that
//! nobody has to write its holes.

mod sparse;

use super::limits::{Bound, ImageLimits};
use sparse::PaxSparse;
pub(super) use sparse::Sparse;
use std::borrow::Cow;
use std::io::{self, Read};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

const BLOCK: u64 = 512;

/// Reads an archive. As a reader, it gives the content of the current member.
pub(super) struct Members<'a, R> {
    source: R,
    limits: &'a ImageLimits,
    /// Bytes read so far.
    position: u64,
    /// What is left of the current member's content, and what pads it to whole blocks.
    left: u64,
    padding: u64,
    headers: u64,
}

/// A file, directory, link or node of an archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) kind: EntryType,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(super) time: (i64, u32),
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    /// Bytes of content that lie in the archive, and where.
    pub(super) size: u64,
    pub(super) position: u64,
    pub(super) sparse: Option<Sparse>,
    /// Extended attributes.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What extended headers say about the member that follows.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    time: Option<(i64, u32)>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Option<PaxSparse>,
    bytes: u64,
}

fn invalid(reason: impl Into<Cow<'static, str>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

impl<'a, R: Read> Members<'a, R> {
    pub(super) fn new(source: R, limits: &'a ImageLimits) -> Self {
        Self { source, limits, position: 0, left: 0, padding: 0, headers: 0 }
    }

    /// The next member; what is left of the current one is skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else {
                return if extended.bytes == 0 { Ok(None) } else { Err(invalid("it ends amid an entry")) };
            };
            match header.entry_type() {
                EntryType::GNULongName => extended.path = Some(self.long_name(&header, &mut extended.bytes)?),
                EntryType::GNULongLink => extended.link = Some(self.long_name(&header, &mut extended.bytes)?),
                EntryType::XHeader => {
                    let records = self.extension(&header, &mut extended.bytes)?;
                    extended.read(&records)?;
                }
                // Comments and defaults for all that follows, which tools for images neither write nor read.
                EntryType::XGlobalHeader => self.expect(header.entry_size()?)?,
                _ => return self.member(&header, extended).map(Some),
            }
        }
    }

    /// What follows the archive's last member, up to the end of the source.
    pub(super) fn into_rest(self) -> R {
        self.source
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        self.skip_rest()?;
        let mut header = Header::new_old();
        if !self.fill(header.as_mut_bytes())? || header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        self.headers += 1;
        self.limits.check(Bound::Entries, self.headers)?;
        let bytes = header.as_bytes();
        let sum = bytes[..148].iter().chain(&bytes[156..]).map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(invalid("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn member(&mut self, header: &Header, mut extended: Extended) -> io::Result<Member> {
        let mut kind = header.entry_type();
        let pax = extended.sparse.take();
        // The path of a sparse file is made up, for programs that do not know the form.
        let path = pax.as_ref().and_then(|pax| pax.name.clone()).or(extended.path);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        // The oldest form knows no directories but for their names.
        if header.as_bytes()[156] == 0 && path.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        let link = extended.link.or_else(|| header.link_name_bytes().map(Cow::into_owned));
        let link = link.unwrap_or_default();
        self.limits.check(Bound::NameBytes, path.len().max(link.len()) as u64)?;
        let has_content = matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
        let listed = extended.size.map_or_else(|| header.entry_size(), Ok)?;
        let size = if has_content { listed } else { 0 };
        let id = |own: Option<u32>, listed: io::Result<u64>| match own {
            Some(id) => Ok(id),
            None => u32::try_from(listed?).map_err(|_| invalid("a user or group is out of range")),
        };
        let seconds = || i64::try_from(header.mtime().unwrap_or_default()).unwrap_or_default();
        let sparse = match (kind, pax) {
            (EntryType::GNUSparse, None) => {
                let sparse = self.old_sparse(header, size)?;
                self.expect(size)?;
                Some(sparse)
            }
            (EntryType::Regular, Some(pax)) => {
                kind = EntryType::GNUSparse;
                self.expect(size)?;
                Some(self.pax_sparse(pax, extended.bytes)?)
            }
            (_, Some(_)) => return Err(invalid("something else than a file is said to be sparse")),
            (_, None) => {
                self.expect(size)?;
                None
            }
        };
        // A map may have come before the content.
        let (size, position) = (self.left, self.position);
        Ok(Member {
            kind,
            path,
            link,
            mode: header.mode()? & 0o7777,
            uid: id(extended.uid, header.uid())?,
            gid: id(extended.gid, header.gid())?,
            time: extended.time.unwrap_or_else(|| (seconds(), 0)),
            device: (number(header.device_major()), number(header.device_minor())),
            size,
            position,
            sparse,
            attributes: extended.attributes,
        })
    }

    /// The map of a sparse file in GNU's old form: up to four pieces in the header, more in blocks behind it.
    fn old_sparse(&mut self, header: &Header, size: u64) -> io::Result<Sparse> {
        let gnu = header.as_gnu().ok_or_else(|| invalid("a sparse file without a map"))?;
        let mut map = sparse::Map::default();
        let mut add = |block: &GnuSparseHeader| match block.is_empty() {
            true => Ok(()),
            false => map.add(block.offset()?, block.length()?),
        };
        gnu.sparse.iter().try_for_each(&mut add)?;
        let (mut more, mut bytes) = (gnu.is_extended(), 0);
        while more {
            bytes += BLOCK;
            self.limits.check(Bound::HeaderBytes, bytes)?;
            let mut block = GnuExtSparseHeader::new();
            if !self.fill(block.as_mut_bytes())? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            block.sparse().iter().try_for_each(&mut add)?;
            more = block.is_extended();
        }
        map.of(gnu.real_size()?, size)
    }

    /// The map of a sparse file in one of the forms of PAX, of whose headers `bytes` bytes have been read. In the newest the
    /// content begins with it.
    fn pax_sparse(&mut self, pax: PaxSparse, bytes: u64) -> io::Result<Sparse> {
        let (map, real) = match pax.form()? {
            sparse::Form::Listed(map, real) => (map, real),
            sparse::Form::InContent(real) => {
                let most = self.limits.get(Bound::HeaderBytes).saturating_sub(bytes);
                let mut reader = sparse::MapReader::new(&mut *self, most);
                let map = reader.read()?;
                if reader.is_exhausted() {
                    return Err(self.limits.exceeded(Bound::HeaderBytes).into());
                }
                (map.ok_or_else(|| invalid("the map of a sparse file is damaged"))?, real)
            }
        };
        map.of(real, self.left)
    }

    /// A name in an entry of its own; it ends at its first zero byte.
    fn long_name(&mut self, header: &Header, bytes: &mut u64) -> io::Result<Vec<u8>> {
        let mut name = self.extension(header, bytes)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn extension(&mut self, header: &Header, bytes: &mut u64) -> io::Result<Vec<u8>> {
        let size = header.entry_size()?;
        *bytes = bytes.saturating_add(size.max(1));
        self.limits.check(Bound::HeaderBytes, *bytes)?;
        self.expect(size)?;
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }

    fn expect(&mut self, size: u64) -> io::Result<()> {
        let whole = size.checked_next_multiple_of(BLOCK).ok_or_else(|| invalid("a size is out of range"))?;
        (self.left, self.padding) = (size, whole - size);
        Ok(())
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let rest = self.left.checked_add(self.padding).ok_or_else(|| invalid("a size is out of range"))?;
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut self.source.by_ref().take(rest), &mut io::sink())?;
        self.position += skipped;
        if skipped == rest { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Fills a block; false at the end of the archive.
    fn fill(&mut self, block: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < block.len() {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += filled as u64;
        Ok(true)
    }
}

impl<R: Read> Read for Members<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

/// A device number that is absent or unreadable counts as zero.
fn number(field: io::Result<Option<u32>>) -> u32 {
    field.ok().flatten().unwrap_or_default()
}

impl Extended {
    /// Takes in PAX records: `length key=value\n`, the length that of the whole record.
    fn read(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let (record, rest) = record(records).ok_or_else(|| invalid("an extended header is damaged"))?;
            records = rest;
            let (key, value) = record;
            let text = || std::str::from_utf8(value).ok();
            let unreadable =
                || invalid(format!("the extended header {:?} is damaged", String::from_utf8_lossy(key)));
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(text().and_then(|t| t.parse().ok()).ok_or_else(unreadable)?),
                b"uid" => self.uid = Some(text().and_then(|t| t.parse().ok()).ok_or_else(unreadable)?),
                b"gid" => self.gid = Some(text().and_then(|t| t.parse().ok()).ok_or_else(unreadable)?),
                b"mtime" => self.time = Some(text().and_then(time).ok_or_else(unreadable)?),
                _ => {
                    if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                        self.sparse.get_or_insert_default().take(key, value).ok_or_else(unreadable)?;
                    } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.attributes.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn record(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let content = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = content.iter().position(|byte| *byte == b'=')?;
    Some(((&content[..equals], &content[equals + 1..]), &records[length..]))
}

/// `seconds[.fraction]`, possibly negative.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests;
