//! `/logs/`: the files of the node's `/var/log`, as the kubelet's `enableSystemLogHandler` serves them. Everything is opened by
//! descriptor below that directory, and no link leads out of it. Of the queries of `NodeLogQuery`, which Kubernetes leaves off
//! (`enableSystemLogQuery: false`), the kubelet takes no notice then, and neither do we.

use super::respond::{Body, PIECE, Refusal, WAITING_PIECES, html, redirect, streamed};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use skiff_rooted::{Follow, Kind, Root};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Where a node's logs are.
const DIRECTORY: &str = "/var/log";
/// What stays as it is in a link to a name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is found at a path.
#[derive(Debug)]
enum Found {
    /// The names in a directory; those of directories end in a slash.
    Listing(Vec<String>),
    File(File, u64),
    /// The same thing under the path that it should have.
    Elsewhere(String),
}

/// Answers for the path below `/logs`, decoded.
pub(super) async fn serve(path: String) -> Result<Response<Body>, Refusal> {
    let found =
        tokio::task::spawn_blocking(move || look(Path::new(DIRECTORY), &path).map(|found| (found, path)));
    let (found, path) = found.await.map_err(io::Error::other).flatten().map_err(|error| refuse(&error))?;
    match found {
        Found::Listing(names) => Ok(html(listing(&names))),
        Found::Elsewhere(place) => Ok(redirect(&place)),
        Found::File(file, size) => send(file, size, &path).await.map_err(|error| refuse(&error)),
    }
}

/// As Go's file server, on which the kubelet's is built.
fn refuse(error: &io::Error) -> Refusal {
    match error.kind() {
        // No file has a name with a NUL or of more than 255 bytes.
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => Refusal::not_found("404 page not found\n"),
        io::ErrorKind::PermissionDenied => Refusal(StatusCode::FORBIDDEN, "403 Forbidden\n".into()),
        _ if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) => {
            Refusal(StatusCode::FORBIDDEN, "403 Forbidden\n".into())
        }
        _ => Refusal(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error\n".into()),
    }
}

/// Finds what is at `path`, which begins with a slash, below `top`. Blocks.
fn look(top: &Path, path: &str) -> io::Result<Found> {
    let (inner, is_directory) = (path.trim_matches('/'), path.ends_with('/'));
    let inner: PathBuf = Path::new(inner).components().collect();
    let top = Root::open(top)?;
    let found = top.find(&inner, Follow::Inside)?;
    let name = || inner.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match (found.kind(), is_directory) {
        (Kind::Directory, false) => Ok(Found::Elsewhere(format!("{}/", utf8_percent_encode(&name(), PLAIN)))),
        (Kind::Directory, true) => Ok(Found::Listing(names(&found.directory()?)?)),
        (Kind::File, true) => Ok(Found::Elsewhere(format!("../{}", utf8_percent_encode(&name(), PLAIN)))),
        (Kind::File, false) => Ok(Found::File(found.read()?, found.size())),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

fn names(directory: &Root) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in directory.entries()? {
        let entry = entry?;
        let slash = if entry.kind == Kind::Directory { "/" } else { "" };
        names.push(format!("{}{slash}", String::from_utf8_lossy(entry.name.as_bytes())));
    }
    names.sort();
    Ok(names)
}

/// A page of links.
fn listing(names: &[String]) -> String {
    let mut page =
        "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n".to_owned();
    for name in names {
        let (plain, slash) = name.strip_suffix('/').map_or((name.as_str(), ""), |plain| (plain, "/"));
        let target = utf8_percent_encode(plain, PLAIN);
        page += &format!("<a href=\"{target}{slash}\">{}</a>\n", escaped(name));
    }
    page + "</pre>\n"
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&#34;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

/// The file as it is now; what is written meanwhile is not sent.
async fn send(mut file: File, size: u64, path: &str) -> io::Result<Response<Body>> {
    let mut start = vec![0; PIECE];
    let (start, file) = tokio::task::spawn_blocking(move || {
        let read = file.read(&mut start)?;
        start.truncate(read);
        Ok::<_, io::Error>((start, file))
    })
    .await
    .map_err(io::Error::other)
    .flatten()?;
    let kind = content_type(path, &start);
    let (pieces, receiver) = mpsc::channel(WAITING_PIECES);
    tokio::task::spawn_blocking(move || {
        let rest = file.take(size.saturating_sub(u64::try_from(start.len()).unwrap_or(u64::MAX)));
        if let Err(error) = copy(Bytes::from(start), rest, &pieces) {
            // A receiver that is gone does not need to know.
            drop(pieces.blocking_send(Err(error)));
        }
    });
    let mut response = streamed(receiver, kind);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

fn copy(start: Bytes, mut rest: impl Read, pieces: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut piece = start;
    while !piece.is_empty() && pieces.blocking_send(Ok(piece)).is_ok() {
        let mut next = vec![0; PIECE];
        let read = rest.read(&mut next)?;
        next.truncate(read);
        piece = next.into();
    }
    Ok(())
}

/// Text unless its start says otherwise: bytes that no text has, by the rules that browsers and Go share.
fn content_type(path: &str, start: &[u8]) -> &'static str {
    const LOOKED_AT: usize = 512;
    let binary = |byte: &u8| matches!(byte, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if path.ends_with(".gz") {
        "application/gzip"
    } else if start.iter().take(LOOKED_AT).any(binary) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_stay_below_the_directory() {
        let top = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        let log = top.path().join("log");
        fs::create_dir_all(log.join("dir")).unwrap();
        fs::write(log.join("syslog"), "a line\n").unwrap();
        fs::write(log.join("dir/x y"), "").unwrap();
        symlink(outside.path(), log.join("out")).unwrap();
        symlink("../../secret", log.join("dir/up")).unwrap();
        symlink("dir/x y", log.join("in")).unwrap();
        fs::write(top.path().join("secret"), "secret").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, log.join("fifo"), rustix::fs::Mode::from_raw_mode(0o600))
            .unwrap();
        let check = |path: &str, expected: &str| {
            let found = match look(&log, path) {
                Ok(Found::Listing(names)) => names.join(" "),
                Ok(Found::Elsewhere(place)) => format!("-> {place}"),
                Ok(Found::File(mut file, size)) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    format!("{size}: {text}")
                }
                Err(error) => refuse(&error).0.as_u16().to_string(),
            };
            assert_eq!(found, expected, "{path}");
        };
        check("/", "dir/ fifo in out syslog");
        check("/syslog", "7: a line\n");
        check("/dir", "-> dir/");
        check("/dir/", "up x y");
        check("/dir/x y/", "-> ../x%20y");
        check("/in", "0: ");
        check("/missing", "404");
        check("/syslog/x", "404");
        check("/sys\0log", "404");
        check(&format!("/{}", "x".repeat(256)), "404");
        check(&format!("/{}", "dir/".repeat(2000)), "404");
        for outside in ["/../secret", "/dir/../../secret", "/out/secret", "/out/", "/dir/up"] {
            check(outside, "403");
        }
        check("/fifo", "403");
    }

    #[test]
    fn a_listing_is_a_page_of_links() {
        let names = ["a b".to_owned(), "dir/".to_owned(), "<x>".to_owned()];
        assert_eq!(
            listing(&names),
            "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n\
             <a href=\"a%20b\">a b</a>\n<a href=\"dir/\">dir/</a>\n<a href=\"%3Cx%3E\">&lt;x&gt;</a>\n</pre>\n"
        );
    }

    #[test]
    fn a_log_is_text_unless_it_is_not() {
        assert_eq!(content_type("/a", b"<script>\x1b[0m\n"), "text/plain; charset=utf-8");
        assert_eq!(content_type("/a", b"\0"), "application/octet-stream");
        assert_eq!(content_type("/a.gz", b"a"), "application/gzip");
    }

    #[tokio::test]
    async fn what_is_written_meanwhile_is_not_sent() {
        use http_body_util::BodyExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let text = "0123456789".repeat(PIECE / 5);
        fs::write(&path, &text).unwrap();
        let size = u64::try_from(text.len()).unwrap() - 3;
        let response = send(File::open(&path).unwrap(), size, "/log").await.unwrap();
        let sent = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(sent, text.as_bytes()[..text.len() - 3]);
    }
}
