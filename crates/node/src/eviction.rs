//! How little may be left on the node's disk before it takes no more pods.

use crate::quantity::units;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::fmt;
use std::str::FromStr;

/// Thresholds in the words of the kubelet's `evictionHard`; an absent one is the node's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvictionHard {
    /// `nodefs.available`
    pub(crate) available: Option<Threshold>,
    /// `nodefs.inodesFree`
    pub(crate) inodes_free: Option<Threshold>,
}

/// What must be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threshold {
    /// Of all there is; 0 and 100 ask for nothing, as with the kubelet.
    Percent(u64),
    /// Bytes or inodes.
    Number(u64),
}

impl Threshold {
    /// What must be left of `all`.
    pub(crate) fn of(self, all: u64) -> u64 {
        match self {
            Self::Percent(100) => 0,
            Self::Percent(percent) => (all / 100).saturating_mul(percent),
            Self::Number(number) => number,
        }
    }
}

/// A text that is no threshold, mostly in the kubelet's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadThreshold {
    /// Not of the form `SIGNAL<VALUE`; a comma with nothing before or after it is that, too.
    #[error("malformed pair, expect string<string: {0:?}")]
    Pair(String),
    /// There is no such signal, or the node does not heed it.
    #[error("unsupported eviction signal {0}; this node heeds nodefs.available and nodefs.inodesFree")]
    Signal(String),
    /// A signal may have one threshold.
    #[error("the eviction signal {0} is given twice")]
    Twice(&'static str),
    /// More than all.
    #[error("eviction percentage threshold {signal} must be <= 100%: {value}")]
    Percent {
        /// Of which signal.
        signal: &'static str,
        /// As given.
        value: String,
    },
    /// Nothing, or less.
    #[error("eviction threshold {signal} must be positive: {value}")]
    NotPositive {
        /// Of which signal.
        signal: &'static str,
        /// As given.
        value: String,
    },
    /// Neither a quantity that a number of 64 bits holds nor whole percents.
    #[error("eviction threshold {signal} must be a quantity below 8Ei or a percentage in digits: {value:?}")]
    Value {
        /// Of which signal.
        signal: &'static str,
        /// As given.
        value: String,
    },
}

const AVAILABLE: &str = "nodefs.available";
const INODES_FREE: &str = "nodefs.inodesFree";

impl FromStr for EvictionHard {
    type Err = BadThreshold;

    fn from_str(text: &str) -> Result<Self, BadThreshold> {
        let mut thresholds = Self::default();
        for part in text.split(',') {
            let pair = part.split_once('<').ok_or_else(|| BadThreshold::Pair(part.to_owned()))?;
            let (signal, value) = (pair.0.trim(), pair.1.trim());
            let (signal, place) = match signal {
                AVAILABLE => (AVAILABLE, &mut thresholds.available),
                INODES_FREE => (INODES_FREE, &mut thresholds.inodes_free),
                other => return Err(BadThreshold::Signal(other.to_owned())),
            };
            if place.replace(Threshold::read(signal, value)?).is_some() {
                return Err(BadThreshold::Twice(signal));
            }
        }
        Ok(thresholds)
    }
}

impl Threshold {
    fn read(signal: &'static str, text: &str) -> Result<Self, BadThreshold> {
        let value = text.to_owned();
        if let Some(percent) = text.strip_suffix('%') {
            if percent.is_empty() || !percent.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(BadThreshold::Value { signal, value });
            }
            return match percent.parse() {
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                _ => Err(BadThreshold::Percent { signal, value }),
            };
        }
        match units(&Quantity(value.clone())) {
            // What all larger quantities come to.
            Some(i64::MAX) | None => Err(BadThreshold::Value { signal, value }),
            Some(number) => match u64::try_from(number) {
                Ok(number) if number > 0 => Ok(Self::Number(number)),
                _ => Err(BadThreshold::NotPositive { signal, value }),
            },
        }
    }
}

/// As it is parsed again.
impl fmt::Display for EvictionHard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(AVAILABLE, self.available), (INODES_FREE, self.inodes_free)];
        let given = all.iter().filter_map(|(signal, threshold)| Some((signal, (*threshold)?)));
        for (number, (signal, threshold)) in given.enumerate() {
            write!(f, "{}{signal}<{threshold}", if number == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_the_kubelet_reads_them() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let read = text.parse::<EvictionHard>();
            let read = read.map(|thresholds| thresholds.to_string()).map_err(|bad| bad.to_string());
            assert_eq!(read, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        let is = |text: &str| check(text, Ok(text));
        is("nodefs.available<10%");
        is("nodefs.available<0%");
        is("nodefs.available<9223372036854775806");
        let both = "nodefs.available<1073741824,nodefs.inodesFree<5%";
        check("nodefs.inodesFree < 5%, nodefs.available<1Gi", Ok(both));
        let malformed = |text: &str, part: &str| {
            check(text, Err(&format!("malformed pair, expect string<string: {part:?}")));
        };
        malformed("", "");
        malformed("nodefs.available<1Gi,", "");
        malformed("nodefs.available", "nodefs.available");
        let signal = "memory.available; this node heeds nodefs.available and nodefs.inodesFree";
        check("memory.available<100Mi", Err(&format!("unsupported eviction signal {signal}")));
        check(
            "nodefs.available<1Gi,nodefs.available<2Gi",
            Err("the eviction signal nodefs.available is given twice"),
        );
        let over = "eviction percentage threshold nodefs.available must be <= 100%:";
        for value in ["101%", "99999999999999999999%"] {
            check(&format!("nodefs.available<{value}"), Err(&format!("{over} {value}")));
        }
        for value in ["-1", "0"] {
            let error = format!("eviction threshold nodefs.available must be positive: {value}");
            check(&format!("nodefs.available<{value}"), Err(&error));
        }
        for value in ["", "%", "+5%", "-5%", "x%", "5.5%", "x", "9223372036854775808", "8Ei", "999999999Ei"] {
            let error = format!(
                "eviction threshold nodefs.available must be a quantity below 8Ei or a percentage in digits: {value:?}"
            );
            check(&format!("nodefs.available<{value}"), Err(&error));
        }
    }

    #[test]
    fn all_of_it_is_never_asked_for() {
        let of = |threshold: Threshold| threshold.of(1000);
        assert_eq!(
            [Threshold::Percent(0), Threshold::Percent(5), Threshold::Percent(100), Threshold::Number(7)]
                .map(of),
            [0, 50, 0, 7]
        );
    }
}
