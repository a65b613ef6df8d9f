//! Flags as data.

/// A flag of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) takes: Takes,
    pub(crate) default: &'static str,
    pub(crate) about: &'static str,
    pub(crate) required: bool,
}

/// What follows the name of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true` and the like.
    Switch,
    /// One value; the last one counts.
    Text,
    /// Values, separated by commas or repeated.
    List,
    /// One value for each time the flag is given.
    Each,
    /// A number of 32 bits.
    Number,
    /// A time such as `30s`.
    Duration,
    /// `=VALUE`, or this value without.
    Optional(&'static str),
}

impl Flag {
    const fn new(long: &'static str, takes: Takes, default: &'static str, about: &'static str) -> Self {
        Self { long, short: None, takes, default, about, required: false }
    }

    pub(crate) const fn switch(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Takes::Switch, "false", about)
    }

    pub(crate) const fn text(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Takes::Text, "", about)
    }

    pub(crate) const fn list(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Takes::List, "", about)
    }

    pub(crate) const fn each(long: &'static str, about: &'static str) -> Self {
        Self::new(long, Takes::Each, "", about)
    }

    pub(crate) const fn number(long: &'static str, default: &'static str, about: &'static str) -> Self {
        Self::new(long, Takes::Number, default, about)
    }

    pub(crate) const fn duration(long: &'static str, default: &'static str, about: &'static str) -> Self {
        Self::new(long, Takes::Duration, default, about)
    }

    pub(crate) const fn optional(long: &'static str, bare: &'static str, about: &'static str) -> Self {
        Self::new(long, Takes::Optional(bare), "", about)
    }

    pub(crate) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    pub(crate) const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The value of a flag that is given without one; `None` when it needs one.
    pub(crate) fn bare(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Switch => Some("true"),
            Takes::Optional(bare) => Some(bare),
            _ => None,
        }
    }
}
