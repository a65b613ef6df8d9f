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
    /// Of all there is.
    Percent(u64),
    /// Bytes or inodes.
    Number(u64),
}

impl Threshold {
    /// What must be left of `all`.
    pub(crate) fn of(self, all: u64) -> u64 {
        match self {
            Self::Percent(percent) => (all / 100).saturating_mul(percent),
            Self::Number(number) => number,
        }
    }
}

/// A text that is no threshold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadThreshold {
    /// There is no such signal, or the node does not heed it.
    #[error("{0:?} is not heeded; this node knows nodefs.available and nodefs.inodesFree")]
    Signal(String),
    /// Nothing to compare with.
    #[error("{0:?} is not of the form SIGNAL<QUANTITY or SIGNAL<PERCENT%")]
    Value(String),
}

impl FromStr for EvictionHard {
    type Err = BadThreshold;

    fn from_str(text: &str) -> Result<Self, BadThreshold> {
        let mut thresholds = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let bad = || BadThreshold::Value(part.to_owned());
            let (signal, value) = part.split_once('<').ok_or_else(bad)?;
            let threshold = value.parse().map_err(|()| bad())?;
            match signal {
                "nodefs.available" => thresholds.available = Some(threshold),
                "nodefs.inodesFree" => thresholds.inodes_free = Some(threshold),
                other => return Err(BadThreshold::Signal(other.to_owned())),
            }
        }
        Ok(thresholds)
    }
}

impl FromStr for Threshold {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| (0..=100).contains(percent));
                percent.map(Self::Percent).ok_or(())
            }
            None => {
                let number = units(&Quantity(text.to_owned())).and_then(|number| u64::try_from(number).ok());
                number.map(Self::Number).ok_or(())
            }
        }
    }
}

/// As it is parsed again.
impl fmt::Display for EvictionHard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("nodefs.available", self.available), ("nodefs.inodesFree", self.inodes_free)];
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
        let check = |text: &str, expected: Result<&str, BadThreshold>| {
            let read = text.parse::<EvictionHard>().map(|thresholds| thresholds.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        };
        check("", Ok(""));
        check("nodefs.available<10%", Ok("nodefs.available<10%"));
        let both = "nodefs.available<1073741824,nodefs.inodesFree<5%";
        check("nodefs.inodesFree<5%,nodefs.available<1Gi", Ok(both));
        check("memory.available<100Mi", Err(BadThreshold::Signal("memory.available".into())));
        for bad in [
            "nodefs.available",
            "nodefs.available<",
            "nodefs.available<101%",
            "nodefs.available<-1",
            "nodefs.available<x%",
        ] {
            check(bad, Err(BadThreshold::Value(bad.into())));
        }
    }
}
