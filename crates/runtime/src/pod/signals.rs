//! Names of signals.

use crate::error::RuntimeError;

/// Understands `SIGTERM`, `TERM`, `15` and `SIGRTMIN+3`; empty means `SIGTERM`.
pub(super) fn parse_signal(name: &str) -> Result<i32, RuntimeError> {
    /// First real-time signal programs see (glibc keeps two).
    const SIGRTMIN: i32 = 34;
    let unknown = || RuntimeError::UnknownSignal { name: name.into() };
    let upper = name.trim().to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if bare.is_empty() {
        return Ok(libc::SIGTERM);
    }
    if let Ok(number) = bare.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    if let Some(offset) = bare.strip_prefix("RTMIN") {
        let offset: i32 = if offset.is_empty() { 0 } else { offset.parse().map_err(|_| unknown())? };
        return if (0..=30).contains(&offset) { Ok(SIGRTMIN + offset) } else { Err(unknown()) };
    }
    let signal: nix::sys::signal::Signal = format!("SIG{bare}").parse().map_err(|_| unknown())?;
    Ok(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let number = |name: &str| parse_signal(name).ok();
        assert_eq!(number("SIGQUIT"), Some(3));
        assert_eq!(number("term"), Some(15));
        assert_eq!(number(""), Some(15));
        assert_eq!(number("9"), Some(9));
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("SIGNOPE"), None);
        assert_eq!(number("65"), None);
    }
}
