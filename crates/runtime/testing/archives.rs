//! Archives for tests that no tool writes at will. Included by the crate's own tests and by those beside it.
#![allow(dead_code, reason = "each of them uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use tar::{Builder, EntryType, Header};

/// A header of GNU's form without content, owned by root.
fn header(kind: EntryType, path: &str) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(path).unwrap();
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

/// A layer of one file, `sparse`, in GNU's old form: a byte at the end of `size`.
pub(crate) fn sparse(size: u64) -> Vec<u8> {
    let mut header = header(EntryType::GNUSparse, "sparse");
    header.set_size(1);
    // Base 256: what is beyond eight gigabytes does not fit into octal digits.
    let binary = |value: u64| {
        let mut field = [0; 12];
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
        field
    };
    let gnu = header.as_gnu_mut().unwrap();
    (gnu.sparse[0].offset, gnu.sparse[0].numbytes) = (binary(size - 1), binary(1));
    gnu.realsize = binary(size);
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, &b"x"[..]).unwrap();
    builder.into_inner().unwrap()
}

/// The same in the form that GNU tar writes today: PAX records, and the map before the content.
pub(crate) fn pax_sparse(size: u64) -> Vec<u8> {
    let real = size.to_string();
    let records = pax(&[
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "sparse"),
        ("GNU.sparse.realsize", &real),
    ]);
    let mut content = format!("1\n{}\n1\n", size - 1).into_bytes();
    content.resize(512, 0);
    content.push(b'x');
    let mut builder = Builder::new(Vec::new());
    let members = [
        (EntryType::XHeader, "PaxHeaders/sparse", records),
        (EntryType::Regular, "GNUSparseFile.1/sparse", content),
    ];
    for (kind, path, content) in members {
        let mut header = header(kind, path);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// PAX records: `length key=value\n`, the length that of the whole record.
pub(crate) fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length.to_string().len() + rest.len() != length {
            length += 1;
        }
        format!("{length}{rest}")
    };
    records.iter().map(record).collect::<String>().into_bytes()
}
