//! Levels and versions of the standards.

use std::fmt;
use std::str::FromStr;

/// How strict the standard is; a later one is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything is allowed.
    Privileged,
    /// Known ways to more privileges are closed.
    Baseline,
    /// Pods are hardened as far as today's practice goes.
    Restricted,
}

/// The Kubernetes version whose checks apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `v1.N`; one that is newer than all checks means the newest.
    V1(u64),
    /// `latest`
    Latest,
}

/// Text that names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLevel;

/// Text that names no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVersion;

/// Which checks apply: `restricted:v1.25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LevelVersion {
    /// How strict.
    pub level: Level,
    /// As of which version.
    pub version: Version,
}

impl LevelVersion {
    /// `privileged:latest`
    pub const PRIVILEGED: Self = Self { level: Level::Privileged, version: Version::Latest };

    /// Whether both allow the same pods: equal, or both privileged.
    pub fn same_as(self, other: Self) -> bool {
        self == other || (self.level == Level::Privileged && other.level == Level::Privileged)
    }
}

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLevel> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err(InvalidLevel),
        }
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let minor = text.strip_prefix("v1.").ok_or(InvalidVersion)?;
        let canonical = minor == "0" || !minor.starts_with('0');
        if !canonical || !minor.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidVersion);
        }
        // Kubernetes counts in 64 bits with a sign.
        let minor: i64 = minor.parse().map_err(|_| InvalidVersion)?;
        u64::try_from(minor).map(Self::V1).map_err(|_| InvalidVersion)
    }
}

impl fmt::Display for InvalidLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be one of privileged, baseline, restricted")
    }
}

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"must be "latest" or "v1.x""#)
    }
}

impl std::error::Error for InvalidLevel {}
impl std::error::Error for InvalidVersion {}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V1(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_latest_or_v1_and_a_number_as_it_is_usually_written() {
        let cases = [
            ("latest", Ok(Version::Latest)),
            ("v1.0", Ok(Version::V1(0))),
            ("v1.36", Ok(Version::V1(36))),
            ("v1.9223372036854775807", Ok(Version::V1(9_223_372_036_854_775_807))),
            ("v1.9223372036854775808", Err(InvalidVersion)),
            ("v1.00", Err(InvalidVersion)),
            ("v1.01", Err(InvalidVersion)),
            ("v1.", Err(InvalidVersion)),
            ("v1.+1", Err(InvalidVersion)),
            ("v1.1 ", Err(InvalidVersion)),
            ("v2.0", Err(InvalidVersion)),
            ("1.20", Err(InvalidVersion)),
            ("Latest", Err(InvalidVersion)),
            ("", Err(InvalidVersion)),
        ];
        for (text, version) in cases {
            assert_eq!(text.parse::<Version>(), version, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for level in [Level::Privileged, Level::Baseline, Level::Restricted] {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        for version in [Version::V1(0), Version::V1(24), Version::Latest] {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert_eq!("Baseline".parse::<Level>(), Err(InvalidLevel));
    }

    #[test]
    fn later_is_stricter_and_newer() {
        assert!(Level::Privileged < Level::Baseline && Level::Baseline < Level::Restricted);
        assert!(Version::V1(9) < Version::V1(10) && Version::V1(u64::MAX) < Version::Latest);
    }
}
