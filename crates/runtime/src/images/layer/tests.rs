//! Layers unpacked into directories of the test's own.

use super::*;
use crate::images::archives::{pax_sparse, sparse};
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
    top: Option<PathBuf>,
    count: u32,
    limits: ImageLimits,
}

impl Layers {
    /// None without root, which owners and device nodes need.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        Some(Self { directory, top: None, count: 0, limits: ImageLimits::default() })
    }

    fn add(&mut self, entries: &[(EntryType, &str, &str)]) -> io::Result<PathBuf> {
        let path = self.directory.path().join(self.count.to_string());
        fs::create_dir(&path).unwrap();
        self.count += 1;
        self.unpack(&archive(entries), &path)?;
        self.top = Some(path.clone());
        Ok(path)
    }

    fn unpack(&self, archive: &[u8], path: &Path) -> io::Result<Unpacked> {
        let below = self.top.as_deref().map(open_directory).transpose()?;
        let root = open_directory(path)?;
        let unpacked = unpack(archive, root.try_clone()?, below, &self.limits)?;
        mark_opaque(&root, &unpacked.opaque)?;
        Ok(unpacked)
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
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777, found.mtime()), (7, 8, 0o4755, 1_000_000));
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
    layers.add(&[(Directory, "usr/lib", ""), (Symlink, "lib", "usr/lib"), (Symlink, "abs", "/usr")]).unwrap();
    let upper = layers.add(&[(Regular, "lib/x.so", "x"), (Regular, "abs/lib/y.so", "y")]).unwrap();
    assert!(upper.join("usr/lib/x.so").is_file() && upper.join("usr/lib/y.so").is_file());
    assert!(fs::symlink_metadata(upper.join("lib")).is_err());
    assert_eq!(fs::metadata(upper.join("usr/lib")).unwrap().uid(), 7, "the owner is that of the layer below");
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
    layers.unpack(&archive(&entries), &layer).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(layer.join("g").is_file());
    symlink("/", layer.join("root")).unwrap();
    let linked = layers.unpack(&archive(&[(Link, "h", "root/etc/passwd")]), &layer);
    assert!(linked.is_err());
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let Some(mut layers) = Layers::new() else { return };
    let layer = layers.add(&[(Regular, "d/x/y", "1"), (Regular, "d/x", "2"), (Symlink, "d/x", "z")]).unwrap();
    assert_eq!(fs::read_link(layer.join("d/x")).unwrap(), Path::new("z"));
}

#[test]
fn nodes_below_are_made_anew_and_never_opened() {
    let Some(mut layers) = Layers::new() else { return };
    layers
        .add(&[
            (EntryType::Fifo, "pipe", ""),
            (EntryType::Char, "device", ""),
            (Symlink, "link", "/etc/passwd"),
        ])
        .unwrap();
    let lower = layers.top.clone().unwrap();
    fs::remove_file(lower.join("device")).unwrap();
    let number = rustix::fs::makedev(1, 5);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, lower.join("device"), kind, Mode::RUSR, number).unwrap();
    let upper = layers.add(&[(Link, "p", "pipe"), (Link, "d", "device"), (Link, "l", "link")]).unwrap();
    assert!(fs::symlink_metadata(upper.join("p")).unwrap().file_type().is_fifo());
    let device = fs::symlink_metadata(upper.join("d")).unwrap();
    assert!(device.file_type().is_char_device() && device.rdev() == number);
    assert_eq!(fs::read_link(upper.join("l")).unwrap(), Path::new("/etc/passwd"));
}

#[test]
fn what_is_deleted_below_cannot_be_linked() {
    let Some(mut layers) = Layers::new() else { return };
    layers.add(&[(Regular, ".wh.gone", ""), (Regular, "d/f", "content")]).unwrap();
    let error = layers.add(&[(Link, "x", "gone")]).unwrap_err().to_string();
    assert!(error.contains("link target gone is missing"), "{error}");
    let upper = layers.add(&[(Link, "x", "d/f")]).unwrap();
    assert_eq!(fs::read(upper.join("x")).unwrap(), b"content");
}

#[test]
fn holes_stay_holes_and_count() {
    let Some(layers) = Layers::new() else { return };
    let path = layers.directory.path().join("sparse");
    fs::create_dir(&path).unwrap();
    for archive in [sparse(16 << 30), pax_sparse(16 << 30)] {
        let unpacked = layers.unpack(&archive, &path).unwrap();
        assert_eq!(unpacked.size, 16 << 30);
        let found = fs::metadata(path.join("sparse")).unwrap();
        assert_eq!(found.size(), 16 << 30);
        assert!(found.blocks() < 100, "{} blocks of real zeros", found.blocks());
        let mut last = [0; 2];
        let file = fs::File::open(path.join("sparse")).unwrap();
        rustix::io::pread(&file, &mut last, (16 << 30) - 2).unwrap();
        assert_eq!(&last, b"\0x");
    }
    let copy = path.with_file_name("copy");
    fs::create_dir(&copy).unwrap();
    let above = Layers { top: Some(path.clone()), ..layers };
    above.unpack(&archive(&[(Link, "linked", "sparse")]), &copy).unwrap();
    let found = fs::metadata(copy.join("linked")).unwrap();
    assert!(found.size() == 16 << 30 && found.blocks() < 100);
    for archive in [sparse(8 << 40), pax_sparse(8 << 40)] {
        let error = above.unpack(&archive, &copy).unwrap_err().to_string();
        assert!(error.contains("image-bytes"), "{error}");
    }
    assert!(!copy.join("sparse").exists(), "refused before anything is written");
}

#[test]
fn depth_is_bounded_through_links_too() {
    let Some(mut layers) = Layers::new() else { return };
    layers.limits = "depth=8".parse().unwrap();
    let error = layers.add(&[(Directory, "1/2/3/4/5/6/7/8/9/10", "")]).unwrap_err().to_string();
    assert!(error.contains("8 directories within each other"), "{error}");
    let deeper =
        [(Directory, "1/2/3/4/5/6", ""), (Symlink, "l", "1/2/3/4/5/6"), (Directory, "l/7/8/9/10", "")];
    assert!(layers.add(&deeper).is_err());
}

#[test]
fn an_opaque_directory_that_was_replaced_is_not_opaque() {
    let Some(mut layers) = Layers::new() else { return };
    let entries = [(Regular, "d/.wh..wh..opq", ""), (Regular, "d", "file"), (Regular, "e/.wh..wh..opq", "")];
    let path = layers.directory.path().join("x");
    fs::create_dir(&path).unwrap();
    assert_eq!(layers.unpack(&archive(&entries), &path).unwrap().opaque, [PathBuf::from("e")]);
    layers.limits = "image-bytes=3".parse().unwrap();
    assert!(layers.add(&[(Regular, "f", "four")]).is_err());
}
