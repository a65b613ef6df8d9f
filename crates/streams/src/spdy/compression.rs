//! Header blocks: name-value pairs, compressed with one zlib stream per direction of a connection.

use std::sync::LazyLock;

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::{FrameError, Headers};

/// Largest header block after decompression, in bytes. Blocks of this protocol have a few hundred.
const MAX_BLOCK: usize = 64 * 1024;

/// Words of the SPDY/3 dictionary, each stored with its length in four bytes.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards \
    pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding \
    upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public \
    set-cookie keep-alive origin";

/// The rest of the dictionary, stored as it is.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 \
    Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
    Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=\
    utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::with_capacity(1423);
    for word in WORDS.split(' ') {
        let word = word.replace('_', " ");
        put_text(&mut dictionary, &word);
    }
    dictionary.extend_from_slice(TAIL.as_bytes());
    dictionary
});

/// The sending direction.
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new() -> Result<Self, FrameError> {
        let mut compress = Compress::new(Compression::default(), true);
        let _adler: u32 = compress.set_dictionary(&DICTIONARY).map_err(|_| FrameError::Compression)?;
        Ok(Self(compress))
    }

    pub(crate) fn block(&mut self, headers: &Headers) -> Result<Vec<u8>, FrameError> {
        let plain = encode_block(headers);
        let mut packed = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            let used = consumed(self.0.total_in(), start);
            self.0
                .compress_vec(&plain[used..], &mut packed, FlushCompress::Sync)
                .map_err(|_| FrameError::Compression)?;
            // A sync flush is complete only when it left room in the buffer.
            if consumed(self.0.total_in(), start) == plain.len() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(plain.len() + 64);
        }
    }
}

/// The receiving direction.
pub(crate) struct Inflater(Decompress);

impl Inflater {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(crate) fn block(&mut self, packed: &[u8]) -> Result<Headers, FrameError> {
        let mut plain = Vec::with_capacity((packed.len() * 4).max(512));
        let start = self.0.total_in();
        loop {
            let used = consumed(self.0.total_in(), start);
            match self.0.decompress_vec(&packed[used..], &mut plain, FlushDecompress::Sync) {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => return Err(FrameError::Compression),
                Err(error) if error.needs_dictionary().is_some() => {
                    let _adler: u32 =
                        self.0.set_dictionary(&DICTIONARY).map_err(|_| FrameError::Compression)?;
                    continue;
                }
                Err(_) => return Err(FrameError::Compression),
            }
            if consumed(self.0.total_in(), start) == packed.len() && plain.len() < plain.capacity() {
                return decode_block(&plain);
            }
            if plain.len() >= MAX_BLOCK {
                return Err(FrameError::TooLarge);
            }
            if plain.len() < plain.capacity() {
                return Err(FrameError::Compression); // no progress
            }
            plain.reserve(plain.capacity());
        }
    }
}

/// Bytes taken from the current block; a block is far below 4 GiB.
fn consumed(total: u64, start: u64) -> usize {
    usize::try_from(total - start).unwrap_or(usize::MAX)
}

fn put_text(buffer: &mut impl BufMut, text: &str) {
    buffer.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    buffer.put_slice(text.as_bytes());
}

fn encode_block(headers: &Headers) -> Vec<u8> {
    let mut block = Vec::with_capacity(64);
    block.put_u32(u32::try_from(headers.0.len()).unwrap_or(u32::MAX));
    for (name, value) in &headers.0 {
        put_text(&mut block, name);
        put_text(&mut block, value);
    }
    block
}

fn decode_block(mut block: &[u8]) -> Result<Headers, FrameError> {
    let count = block.try_get_u32().map_err(|_| FrameError::Truncated)?;
    let mut headers = Headers::default();
    for _ in 0..count {
        let name = take_text(&mut block)?.to_ascii_lowercase();
        let value = take_text(&mut block)?;
        headers.0.push((name, value));
    }
    Ok(headers)
}

fn take_text(block: &mut &[u8]) -> Result<String, FrameError> {
    let length = block.try_get_u32().map_err(|_| FrameError::Truncated)? as usize;
    let (text, rest) = block.split_at_checked(length).ok_or(FrameError::Truncated)?;
    *block = rest;
    String::from_utf8(text.to_vec()).map_err(|_| FrameError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_one_of_spdy_3() {
        assert_eq!(DICTIONARY.len(), 1423);
        let adler = Compress::new(Compression::default(), true).set_dictionary(&DICTIONARY).unwrap();
        assert_eq!(adler, 0xe3c6_a7c2, "the checksum that every SPDY/3 header block starts with");
    }

    #[test]
    fn blocks_share_one_compression_context() {
        let headers = Headers(vec![("streamtype".into(), "error".into()), ("port".into(), "8080".into())]);
        let (mut deflater, mut inflater) = (Deflater::new().unwrap(), Inflater::new());
        let first = deflater.block(&headers).unwrap();
        let second = deflater.block(&headers).unwrap();
        assert!(second.len() < first.len());
        assert_eq!(inflater.block(&first).unwrap(), headers);
        assert_eq!(inflater.block(&second).unwrap(), headers);
    }

    #[test]
    fn a_block_that_inflates_without_end_is_refused() {
        let headers = Headers(vec![("a".into(), "x".repeat(10 * MAX_BLOCK))]);
        let packed = Deflater::new().unwrap().block(&headers).unwrap();
        assert!(matches!(Inflater::new().block(&packed), Err(FrameError::TooLarge)));
        assert!(matches!(Inflater::new().block(b"garbage!"), Err(FrameError::Compression)));
    }
}
