//! How much is written down, and when.

use serde::Serialize;

/// How much of a request is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what and when.
    Metadata,
    /// The object sent as well.
    Request,
    /// The answer as well.
    RequestResponse,
}

impl Level {
    /// All, by the names that policies use.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::None, "None"),
        (Self::Metadata, "Metadata"),
        (Self::Request, "Request"),
        (Self::RequestResponse, "RequestResponse"),
    ];

    /// As policies name it.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// When something is written down of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Stage {
    /// It has arrived, and nothing has been done for it.
    RequestReceived,
    /// The head of the answer is sent; only of requests that last.
    ResponseStarted,
    /// The answer has been sent, or given up.
    ResponseComplete,
    /// It ran into a bug.
    Panic,
}

impl Stage {
    /// All, by the names that policies use.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::RequestReceived, "RequestReceived"),
        (Self::ResponseStarted, "ResponseStarted"),
        (Self::ResponseComplete, "ResponseComplete"),
        (Self::Panic, "Panic"),
    ];
}

/// Some of the stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages(u8);

impl Stages {
    /// Whether one is among them.
    pub fn has(self, stage: Stage) -> bool {
        self.0 & (1 << stage as u8) != 0
    }

    /// With one more.
    pub(crate) fn with(self, stage: Stage) -> Self {
        Self(self.0 | 1 << stage as u8)
    }

    /// Those of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_grow_and_have_their_names() {
        assert!(Level::ALL.is_sorted_by_key(|(level, _)| *level));
        for (level, name) in Level::ALL {
            assert_eq!(level.as_str(), name);
        }
    }

    #[test]
    fn stages_are_a_set() {
        let some = Stages::default().with(Stage::Panic).and(Stages::default().with(Stage::RequestReceived));
        let has = Stage::ALL.map(|(stage, _)| some.has(stage));
        assert_eq!(has, [true, false, false, true]);
    }
}
