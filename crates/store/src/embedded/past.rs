//! How far back in time listings reach. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::types::Revision;

/// A listing that goes on at an older revision is told to begin anew, however often it asked meanwhile: else what was deleted
/// since would be kept for as long as a client likes. Kubernetes forgets after five to ten minutes.
const REACH: Duration = Duration::from_secs(5 * 60);
/// How exactly that is kept.
const STEP: Duration = Duration::from_secs(30);

/// Which revision was the newest when.
#[derive(Debug, Default)]
pub(super) struct Past {
    marks: VecDeque<(Instant, Revision)>,
    /// It, and all before it, are out of reach.
    forgotten: Option<Revision>,
}

impl Past {
    /// Notes the newest revision, and tells whether another one can still be listed.
    pub(super) fn reaches(&mut self, now: Instant, newest: Revision, revision: Revision) -> bool {
        self.note(now, newest);
        self.forgotten.is_none_or(|forgotten| revision > forgotten)
    }

    /// To be told now and then, at the latest when somebody begins a listing that may go on.
    pub(super) fn note(&mut self, now: Instant, newest: Revision) {
        while let Some((_, revision)) = self.marks.pop_front_if(|(at, _)| now.duration_since(*at) >= REACH) {
            self.forgotten = Some(revision);
        }
        if self.marks.back().is_none_or(|(at, _)| now.duration_since(*at) >= STEP) {
            self.marks.push_back((now, newest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_in_reach_for_some_minutes_after_it_was_the_newest() {
        let (begin, mut past) = (Instant::now(), Past::default());
        let mut reaches = |seconds, newest, revision| {
            let now = begin + Duration::from_secs(seconds);
            past.reaches(now, Revision::new(newest), Revision::new(revision))
        };
        assert!(reaches(0, 5, 5));
        assert!(reaches(10, 7, 5), "between two marks");
        assert!(reaches(40, 8, 5));
        assert!(reaches(299, 9, 5), "asking again does not keep it");
        assert!(!reaches(300, 9, 5));
        assert!(reaches(301, 9, 7), "it came after the mark that was forgotten");
        assert!(!reaches(341, 9, 7));
        assert!(reaches(342, 9, 9) && !reaches(342, 9, 8));
    }

    #[test]
    fn what_was_the_newest_until_now_is_in_reach_after_a_long_time_without_listings() {
        let (begin, mut past) = (Instant::now(), Past::default());
        past.note(begin, Revision::new(5));
        let late = begin + REACH * 10;
        assert!(!past.reaches(late, Revision::new(9), Revision::new(5)));
        assert!(past.reaches(late, Revision::new(9), Revision::new(8)));
        assert!(past.marks.len() <= 1);
    }
}
