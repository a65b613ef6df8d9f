//! The end of a container's log, as plain text.

use super::line::LogLine;
use skiff_rooted::{Follow, Root};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of log file that are looked at.
const WINDOW: u64 = 64 * 1024;

/// The last `lines` lines, at most `bytes` bytes, that the container wrote.
pub(crate) fn last_output(path: &Path, lines: usize, bytes: usize) -> io::Result<String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut file = Root::open(directory)?.file(name, Follow::Nothing)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(WINDOW);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(WINDOW).read_to_end(&mut text)?;
    let mut records: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    if start > 0 && !records.is_empty() {
        // The first one is cut.
        records.remove(0);
    }
    let mut output = Vec::new();
    for record in records {
        if let Some(line) = LogLine::parse(record) {
            output.extend_from_slice(line.content);
            if !line.partial {
                output.push(b'\n');
            }
        }
    }
    let first = nth_line_from_end(&output, lines).max(output.len().saturating_sub(bytes));
    Ok(String::from_utf8_lossy(&output[first..]).into_owned())
}

/// Where the last `lines` lines begin.
fn nth_line_from_end(output: &[u8], lines: usize) -> usize {
    let body = output.strip_suffix(b"\n").unwrap_or(output);
    let mut ends =
        body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1);
    ends.nth(lines.saturating_sub(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_given() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log: String = (0..10).map(|n| format!("2026-01-01T00:00:00.0Z stdout F line {n}\n")).collect();
        std::fs::write(
            file.path(),
            log + "2026-01-01T00:00:00.0Z stderr P par\n2026-01-01T00:00:00.0Z stderr F tial\n",
        )
        .unwrap();
        assert_eq!(last_output(file.path(), 2, 1000).unwrap(), "line 9\npartial\n");
        assert_eq!(last_output(file.path(), 80, 8).unwrap(), "partial\n");
        assert!(last_output(file.path(), 80, 1000).unwrap().starts_with("line 0\n"));
        std::fs::write(
            file.path(),
            "2026-01-01T00:00:00.0Z stdout F a\n2026-01-01T00:00:00.0Z stdout P DONE\n",
        )
        .unwrap();
        assert_eq!(last_output(file.path(), 80, 1000).unwrap(), "a\nDONE");
    }
}
