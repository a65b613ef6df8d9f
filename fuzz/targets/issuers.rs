//! Tokens that others have signed, and their keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skiff_jwt::{Keys, Token, issuer_of};

fuzz_target!(|data: &[u8]| {
    let keys = Keys::read(data).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(data) else { return };
    let named = issuer_of(text);
    if let Ok(token) = Token::read(text) {
        assert!(named.is_none() || text.matches('.').count() == 2);
        keys.have_signed(&token);
    }
});
