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
    let archives = [with_records(&oldest, content), with_records(&old, content), with_records(&new, &mapped)];
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
