//! Sets of completion indexes, as the status of a Job writes them: `1,3-5,7`.

use std::fmt;

/// Indexes in runs that neither touch nor overlap, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<Run>);

/// First and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run(u32, u32);

impl Indexes {
    /// Reads those below `completions`; what cannot be read is left out.
    pub(super) fn parse(text: &str, completions: u32) -> Self {
        let run = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (first.parse().ok()?, last.parse::<u32>().ok()?);
            (first < completions && first <= last).then(|| Run(first, last.min(completions - 1)))
        };
        Self::of(text.split(',').filter_map(run).collect())
    }

    fn of(mut runs: Vec<Run>) -> Self {
        runs.sort_unstable();
        let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs {
            match merged.last_mut() {
                Some(last) if run.0 <= last.1.saturating_add(1) => last.1 = last.1.max(run.1),
                _ => merged.push(run),
            }
        }
        Self(merged)
    }

    /// These and others.
    #[must_use]
    pub(super) fn and(&self, others: &Self) -> Self {
        Self::of(self.0.iter().chain(&others.0).copied().collect())
    }

    /// How many.
    pub(super) fn total(&self) -> u32 {
        self.0.iter().map(|run| run.1 - run.0 + 1).sum()
    }

    pub(super) fn has(&self, index: u32) -> bool {
        let place = self.0.partition_point(|run| run.1 < index);
        self.0.get(place).is_some_and(|run| run.0 <= index)
    }

    /// How many are in both.
    pub(super) fn shared_with(&self, others: &Self) -> u32 {
        let (mut shared, mut mine, mut theirs) = (0, self.0.iter().peekable(), others.0.iter().peekable());
        while let (Some(one), Some(other)) = (mine.peek(), theirs.peek()) {
            shared += (one.1.min(other.1) + 1).saturating_sub(one.0.max(other.0));
            if one.1 < other.1 {
                mine.next()
            } else {
                theirs.next()
            };
        }
        shared
    }

    /// The first `count` below `completions` that are not among these.
    pub(super) fn missing(&self, count: usize, completions: u32) -> Vec<u32> {
        let mut missing = Vec::new();
        let mut candidate = 0;
        for run in self.0.iter().chain(&[Run(completions, completions)]) {
            let free = (candidate..run.0.min(completions)).take(count - missing.len());
            missing.extend(free);
            candidate = run.1.saturating_add(1);
        }
        missing
    }
}

impl FromIterator<u32> for Indexes {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        Self::of(indexes.into_iter().map(|index| Run(index, index)).collect())
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Run(first, last)) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        let check = |text: &str, expected: &str, total: u32| {
            let indexes = Indexes::parse(text, 20);
            assert_eq!((indexes.to_string().as_str(), indexes.total()), (expected, total), "{text}");
        };
        check("", "", 0);
        check("1,3-5,7", "1,3-5,7", 5);
        check("3,4", "3,4", 2);
        check("1,2,3", "1-3", 3);
        check("0-3,4,18-40,50", "0-4,18,19", 7);
        check("x,2,3-y", "2", 1);
    }

    #[test]
    fn compared() {
        let some = Indexes::parse("1,3-5,7", 20);
        assert!(some.has(1) && some.has(4) && !some.has(2) && !some.has(6) && !some.has(8));
        assert_eq!(some.and(&[2, 6].into_iter().collect()).to_string(), "1-7");
        assert_eq!(some.shared_with(&Indexes::parse("0-4,7-9", 20)), 4);
        assert_eq!(some.shared_with(&Indexes::default()), 0);
        assert_eq!(some.missing(3, 20), [0, 2, 6]);
        assert_eq!(some.missing(30, 9), [0, 2, 6, 8]);
        assert_eq!(some.missing(2, 1), [0]);
        assert_eq!(Indexes::default().missing(2, 9), [0, 1]);
        assert!(some.missing(0, 9).is_empty());
    }
}
