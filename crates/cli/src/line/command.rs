//! Commands as data.

use futures::future::LocalBoxFuture;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::line::{Flag, Given};

/// What a command does.
pub(crate) type Run = for<'a> fn(&'a Context, &'a Given) -> LocalBoxFuture<'a, Result<Outcome, Error>>;

/// A command, or a group of commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) about: &'static str,
    /// What follows the command's name, e.g. `NAME --image=image`.
    pub(crate) usage: &'static str,
    /// Lines of `# what it does` and `kubectl …`.
    pub(crate) examples: &'static str,
    pub(crate) flags: &'static [&'static [Flag]],
    pub(crate) commands: &'static [Command],
    pub(crate) run: Option<Run>,
}

impl Command {
    pub(crate) const fn new(name: &'static str, usage: &'static str, about: &'static str) -> Self {
        Self { name, aliases: &[], about, usage, examples: "", flags: &[], commands: &[], run: None }
    }

    pub(crate) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(crate) const fn examples(self, examples: &'static str) -> Self {
        Self { examples, ..self }
    }

    pub(crate) const fn flags(self, flags: &'static [&'static [Flag]]) -> Self {
        Self { flags, ..self }
    }

    pub(crate) const fn commands(self, commands: &'static [Command]) -> Self {
        Self { commands, ..self }
    }

    pub(crate) const fn run(self, run: Run) -> Self {
        Self { run: Some(run), ..self }
    }

    pub(crate) fn command(&self, word: &str) -> Option<&'static Command> {
        self.commands.iter().find(|command| command.name == word || command.aliases.contains(&word))
    }

    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + use<> {
        self.flags.iter().flat_map(|group| group.iter())
    }
}
