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
mod tests {
    use super::*;
    use crate::images::archives::pax;
    use proptest::prelude::*;

    fn header(kind: EntryType, path: &str, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path(path).unwrap();
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(2);
        header.set_mtime(3);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn archive(members: &[(Header, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (header, content) in members {
            builder.append(header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn all(bytes: &[u8], limits: &ImageLimits) -> io::Result<Vec<(Member, Vec<u8>)>> {
        let mut members = Members::new(bytes, limits);
        let mut found = Vec::new();
        while let Some(member) = members.next()? {
            let mut content = Vec::new();
            members.read_to_end(&mut content)?;
            found.push((member, content));
        }
        Ok(found)
    }

    #[test]
    fn members_of_every_form_are_read() {
        let records = pax(&[
            ("path", "long/name"),
            ("mtime", "-1.25"),
            ("size", "2"),
            ("uid", "70000"),
            ("SCHILY.xattr.user.x", "a\nb=c"),
            ("comment", "ignored"),
        ]);
        let bytes = archive(&[
            (header(EntryType::GNULongName, "././@LongLink", 300), &[b'n'; 300]),
            (header(EntryType::Regular, "short", 3), b"one"),
            (header(EntryType::XHeader, "x", records.len() as u64), &records),
            (header(EntryType::Regular, "short", 600), b"two"),
        ]);
        // The size of the last one is that of its records, not that of its header.
        let found = all(&bytes, &ImageLimits::default()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].0.path.len(), found[0].1.as_slice()), (300, &b"one"[..]));
        let (member, content) = &found[1];
        assert_eq!((member.path.as_slice(), member.uid, member.gid), (&b"long/name"[..], 70_000, 2));
        assert_eq!((member.time, content.as_slice()), ((-2, 750_000_000), &b"tw"[..]));
        assert_eq!(member.attributes, [(b"user.x".to_vec(), b"a\nb=c".to_vec())]);
    }

    #[test]
    fn bounds_hold_before_anything_is_read() {
        let small: ImageLimits = "entries=3,name-bytes=8,header-bytes=1024".parse().unwrap();
        let check = |bytes: &[u8], expected: &str| {
            let error = all(bytes, &small).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        // Two gigabytes of a name, of which nothing follows.
        check(header(EntryType::GNULongName, "x", 2 << 30).as_bytes(), "1024 bytes of extended headers");
        check(header(EntryType::XHeader, "x", 2 << 30).as_bytes(), "1024 bytes of extended headers");
        let twice = [
            (header(EntryType::GNULongName, "x", 600), &[b'n'; 600][..]),
            (header(EntryType::GNULongLink, "x", 600), &[b'n'; 600][..]),
        ];
        check(&archive(&twice), "1024 bytes of extended headers");
        check(&archive(&[(header(EntryType::Regular, "ninechars", 0), b"")]), "8 bytes in a name");
        let many: Vec<(Header, &[u8])> =
            (0..4).map(|n| (header(EntryType::Regular, &n.to_string(), 0), &b""[..])).collect();
        check(&archive(&many), "3 entries");
        check(header(EntryType::Regular, "x", u64::MAX / 2).as_bytes(), "unexpected end of file");
    }

    #[test]
    fn a_sparse_file_is_told_as_its_pieces() {
        let mut map = header(EntryType::GNUSparse, "s", 1024);
        let gnu = map.as_gnu_mut().unwrap();
        let octal = |value: u64| <[u8; 12]>::try_from(format!("{value:011o}\0").as_bytes()).unwrap();
        gnu.sparse[0].offset = octal(0);
        gnu.sparse[0].numbytes = octal(512);
        gnu.sparse[1].offset = octal(1 << 32);
        gnu.sparse[1].numbytes = octal(512);
        gnu.realsize = octal((1 << 32) + 512);
        map.set_cksum();
        let content = [[1; 512], [2; 512]].concat();
        let found = all(&archive(&[(map.clone(), &content)]), &ImageLimits::default()).unwrap();
        let sparse = Sparse { size: (1 << 32) + 512, pieces: vec![(0, 512), (1 << 32, 512)] };
        assert_eq!(found[0].0.sparse, Some(sparse));
        assert_eq!(found[0].1, content);

        map.as_gnu_mut().unwrap().sparse[1].offset = octal(100);
        map.set_cksum();
        let error = all(&archive(&[(map, &content)]), &ImageLimits::default()).unwrap_err().to_string();
        assert!(error.contains("overlap"), "{error}");
    }

    /// A file of PAX with these records.
    fn with_records(records: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
        let records = pax(records);
        archive(&[
            (header(EntryType::XHeader, "x", records.len() as u64), &records),
            (header(EntryType::Regular, "GNUSparseFile.0/s", content.len() as u64), content),
            (header(EntryType::Regular, "next", 1), b"n"),
        ])
    }

    /// The map of the newest form, as the start of a content.
    fn map_block(text: &str) -> Vec<u8> {
        let mut block = text.as_bytes().to_vec();
        block.resize(block.len().next_multiple_of(512), 0);
        block
    }

    #[test]
    fn sparse_files_of_pax_are_told_as_their_pieces() {
        let content = b"abcdef";
        let (name, real, blocks) =
            (("GNU.sparse.name", "real/name"), "5000000000", ("GNU.sparse.numblocks", "2"));
        let pieces = [("offset", "0"), ("numbytes", "2"), ("offset", "4096"), ("numbytes", "4")];
        let pieces = pieces.map(|(key, value)| (format!("GNU.sparse.{key}"), value));
        let mut oldest = vec![("GNU.sparse.size", real), blocks, ("path", "real/name")];
        oldest.extend(pieces.iter().map(|(key, value)| (key.as_str(), *value)));
        let old = [("GNU.sparse.size", real), blocks, ("GNU.sparse.map", "0,2,4096,4"), name];
        let new = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), name, ("GNU.sparse.realsize", real)];
        let mapped = [map_block("3\n0\n2\n4096\n4\n5000000000\n0\n"), content.to_vec()].concat();
        let archives =
            [with_records(&oldest, content), with_records(&old, content), with_records(&new, &mapped)];
        for bytes in archives {
            let found = all(&bytes, &ImageLimits::default()).unwrap();
            let member = &found[0].0;
            assert_eq!((member.path.as_slice(), member.kind), (&b"real/name"[..], EntryType::GNUSparse));
            let sparse = Sparse { size: 5_000_000_000, pieces: vec![(0, 2), (4096, 4)] };
            assert_eq!(member.sparse, Some(sparse));
            assert_eq!((member.size, found[0].1.as_slice()), (6, &content[..]));
            assert_eq!(found[1].0.path, b"next");
        }
    }

    #[test]
    fn maps_that_make_no_sense_are_refused() {
        let new = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "100")];
        let check = |records: &[(&str, &str)], content: &[u8], expected: &str| {
            let small: ImageLimits = "header-bytes=2048".parse().unwrap();
            let error = all(&with_records(records, content), &small).unwrap_err().to_string();
            assert!(error.contains(expected), "{records:?}: {error}");
        };
        let with = |text: &str| [map_block(text), b"abcd".to_vec()].concat();
        check(&new, &with("1\n0\n"), "damaged");
        check(&new, &with("x\n"), "damaged");
        check(&new, &with("1\n-1\n4\n"), "damaged");
        check(&new, &with("99999999999999999999999\n"), "damaged");
        check(&new, b"", "damaged");
        check(&new, &with("2\n0\n4\n2\n0\n"), "overlap");
        check(&new, &with("1\n0\n5\n"), "more than its size");
        check(&new, &with("1\n0\n3\n"), "does not fit");
        check(&new, &with("1\n97\n4\n"), "does not fit");
        check(&new, &with(&format!("1000000\n{}", "0\n0\n".repeat(1000))), "2048 bytes of extended headers");
        let old = [("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,4")];
        check(&[&old[..], &[("GNU.sparse.numblocks", "2")]].concat(), b"abcd", "damaged");
        check(&[("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,4,5")], b"abcd", "damaged");
        check(&[("GNU.sparse.map", "0,4")], b"abcd", "damaged");
        check(&[("GNU.sparse.size", "100"), ("GNU.sparse.numbytes", "4")], b"abcd", "damaged");
        check(&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")], b"abcd", "not supported");
        check(&[("GNU.sparse.size", "many")], b"abcd", "damaged");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _either = all(&bytes, &ImageLimits::default());
        }

        /// Valid but for a few bytes, with the checksum mended: what random bytes hardly ever are.
        #[test]
        fn damaged_archives_are_read_or_refused(
            damage in proptest::collection::vec((0usize..2048, any::<u8>()), 0..12),
            kind in proptest::sample::select(b"0123456LKxgS".to_vec()),
        ) {
            let mut bytes = archive(&[
                (header(EntryType::XHeader, "x", 40), &pax(&[("mtime", "1.5"), ("path", "abcdefghijkl")])),
                (header(EntryType::Regular, "a", 3), b"abc"),
            ]);
            bytes[1024 + 156] = kind;
            for (at, value) in damage {
                bytes[at] = value;
            }
            for start in [0, 1024] {
                let mut header = Header::from_byte_slice(&bytes[start..start + 512]).clone();
                header.set_cksum();
                bytes[start..start + 512].copy_from_slice(header.as_bytes());
            }
            let _either = all(&bytes, &ImageLimits::default());
        }
    }
}
