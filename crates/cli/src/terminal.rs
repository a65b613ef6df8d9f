//! The user's own terminal while a remote program has it.

use std::io::{IsTerminal, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use kube::api::TerminalSize;

/// Keys go to the remote program one by one, unseen by the local line discipline, until this is dropped.
#[derive(Debug)]
pub(crate) struct Raw(Termios);

impl Raw {
    /// `None` when standard input is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        if !stdin().is_terminal() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(stdin(), OptionalActions::Now, &self.0) {
            skiff_print::note(format_args!("the terminal could not be set back ({error}); `reset` does it"));
        }
    }
}

/// The window's size in characters.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(stdout()).ok()?;
    Some(TerminalSize { height: size.ws_row, width: size.ws_col })
}
