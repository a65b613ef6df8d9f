//! Decoders of what strangers made, each in a process of its own with no more rights than its work needs.
//!
//! The same executable is started as `<executable> unpack-layer …`. One kind of process expands what is compressed and
//! may do nothing but read its input and write its output. The other writes a layer's files: its root is the layer's
//! directory. The program that started them hands bytes from one to the other and digests them on the way, so what a
//! decoder does wrong stays in the layer of the image that made it do so.

mod confine;
mod worker;

pub(super) use worker::{Blob, Failed, Interrupted, Unpacker};

use super::layer;
use super::limits::ImageLimits;
use confine::Work;
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Word before the unpacker's own arguments on its command line.
const SUBCOMMAND: &str = "unpack-layer";

/// Exit code when the machine is at fault and not what is unpacked.
const MACHINE: u8 = 3;

/// What a zstd frame may ask to be remembered, in bytes: what zstd's own program takes without being asked for more.
const ZSTD_WINDOW: u64 = 128 << 20;

/// What something is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// By the first four bytes.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Expand(Compression),
    Extract { target: PathBuf, below: Vec<PathBuf> },
}

/// Runs an unpacker. To be called before any thread exists, with the arguments after `unpack-layer`:
/// `<limits> gzip`, `<limits> zstd` or `<limits> extract <directory> [<layers below, topmost first>]`.
///
/// A failure is printed on standard error, in one line.
pub fn unpacker_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some((limits, task)) = parse(arguments) else {
        eprintln!("{SUBCOMMAND} is started by skiff itself");
        return ExitCode::from(2);
    };
    let result = match task {
        Task::Expand(compression) => expand(compression, &limits),
        Task::Extract { target, below } => extract(&target, &below, &limits),
    };
    let (reason, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Problem::Setup(error)) => (format!("confine the unpacking: {error}"), MACHINE),
        Err(Problem::Content(error)) => {
            (error.to_string(), if is_the_machines(&error) { MACHINE } else { 1 })
        }
    };
    eprint!("{}", reason.chars().take(1000).collect::<String>());
    ExitCode::from(code)
}

enum Problem {
    Setup(io::Error),
    Content(io::Error),
}

/// Whether another try may go better.
fn is_the_machines(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errnos =
        [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::NOMEM, Errno::ROFS, Errno::PERM, Errno::ACCESS];
    layer::errno(error).is_some_and(|errno| errnos.contains(&errno))
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<(ImageLimits, Task)> {
    let limits = arguments.next()?.to_str()?.parse().ok()?;
    let task = match arguments.next()?.to_str()? {
        "gzip" => Task::Expand(Compression::Gzip),
        "zstd" => Task::Expand(Compression::Zstd),
        "extract" => Task::Extract {
            target: PathBuf::from(arguments.next()?),
            below: arguments.by_ref().map(PathBuf::from).collect(),
        },
        _ => return None,
    };
    arguments.next().is_none().then_some((limits, task))
}

fn expand(compression: Compression, limits: &ImageLimits) -> Result<(), Problem> {
    let memory = confine::address_space().map_err(Problem::Setup)?;
    confine::confine(Work::Expand, limits, memory).map_err(Problem::Setup)?;
    expand_stream(compression, io::stdin().lock(), io::stdout().lock()).map_err(Problem::Content)
}

/// Writes what a compressed stream stands for, and reads the stream to its end.
fn expand_stream(compression: Compression, mut source: impl Read, mut to: impl Write) -> io::Result<()> {
    match compression {
        Compression::Gzip => io::copy(&mut MultiGzDecoder::new(&mut source), &mut to).map(drop)?,
        Compression::Zstd => expand_zstd(&mut BufReader::new(&mut source), &mut to)?,
    }
    io::copy(&mut source, &mut io::sink())?;
    to.flush()
}

/// The frames of a zstd stream, one after the other (RFC 8878, section 3.1); those that are to be skipped stand for nothing.
fn expand_zstd(source: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    while !source.fill_buf()?.is_empty() {
        match StreamingDecoder::new_with_max_window_size(&mut *source, ZSTD_WINDOW) {
            Ok(mut frame) => {
                io::copy(&mut frame, to)?;
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                io::copy(&mut source.by_ref().take(length.into()), &mut io::sink())?;
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(())
}

fn extract(target: &std::path::Path, below: &[PathBuf], limits: &ImageLimits) -> Result<(), Problem> {
    let memory = confine::address_space().map_err(Problem::Setup)?;
    let (root, below) = confine::enter(target, below).map_err(Problem::Setup)?;
    confine::confine(Work::Extract, limits, memory).map_err(Problem::Setup)?;
    let unpacked = layer::unpack(io::stdin().lock(), root, below, limits).map_err(Problem::Content)?;
    let report = serde_json::to_vec(&unpacked).map_err(|error| Problem::Content(error.into()))?;
    io::stdout().write_all(&report).map_err(Problem::Content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arguments_are_checked() {
        let parse = |words: &[&str]| parse(words.iter().map(OsString::from)).map(|(_, task)| task);
        assert_eq!(parse(&["", "gzip"]), Some(Task::Expand(Compression::Gzip)));
        let task = Task::Extract { target: "/t".into(), below: vec!["b".into()] };
        assert_eq!(parse(&["entries=1", "extract", "/t", "b"]), Some(task));
        for bad in [&[][..], &["", "lzma"], &["x", "gzip"], &["", "gzip", "more"], &["", "extract"]] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn zstd_frames_follow_each_other_and_some_are_skipped() {
        let frame = |text: &[u8]| zstd::encode_all(text, 19).unwrap();
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
        let stream = [frame(b"one "), skipped, frame(&[]), frame(&b"two ".repeat(100_000))].concat();
        let mut expanded = Vec::new();
        expand_stream(Compression::Zstd, &stream[..], &mut expanded).unwrap();
        assert_eq!(expanded, [&b"one "[..], &b"two ".repeat(100_000)].concat());
        let cut = &stream[..stream.len() - 1];
        expand_stream(Compression::Zstd, cut, io::sink()).unwrap_err();
    }

    proptest! {
        #[test]
        fn any_bytes_are_expanded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048), gzip: bool) {
            let (compression, magic): (_, &[u8]) =
                if gzip { (Compression::Gzip, &[0x1f, 0x8b, 8]) } else { (Compression::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]) };
            let bytes = [magic, &bytes].concat();
            let _either = expand_stream(compression, &bytes[..], io::sink());
        }
    }
}
