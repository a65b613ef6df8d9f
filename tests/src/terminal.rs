//! A terminal with a program in it, for what only shows on one: prompts, line editing, window sizes, ^C.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long a program may take to show what is expected.
const PATIENCE: Duration = Duration::from_secs(15);

/// A program on a pseudo-terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    shown: String,
}

impl Terminal {
    /// Starts a program on a terminal of 80 columns and 24 rows.
    #[must_use]
    pub fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        resize(&master, 80, 24);
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(path).unwrap();
        // setsid makes the terminal the program's controlling one, as a terminal window does.
        let mut wrapped = Command::new("setsid");
        wrapped.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            wrapped.env(name, value.unwrap_or_default());
        }
        wrapped.env("TERM", "xterm-256color");
        let (stdin, stdout) = (slave.try_clone().unwrap(), slave.try_clone().unwrap());
        let child = wrapped.stdin(stdin).stdout(stdout).stderr(slave).spawn().expect("setsid runs");
        Self { master: File::from(master), child, shown: String::new() }
    }

    /// Types text.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the text has been shown, and returns everything shown up to and including it.
    #[must_use]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                return std::mem::replace(&mut self.shown, rest);
            }
            assert!(self.read_until(deadline), "{text:?} was not shown; this was: {:?}", self.shown);
        }
    }

    /// Changes the window's size.
    pub fn resize(&self, columns: u16, rows: u16) {
        resize(&self.master, columns, rows);
    }

    /// Waits for the program to end; its exit code.
    #[must_use]
    pub fn finish(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while self.read_until(deadline) {}
        assert!(Instant::now() < deadline, "the program did not end; it showed {:?}", self.shown);
        self.child.wait().unwrap().code()
    }

    /// Reads what is shown next; false at the end of the program or when the time is up.
    fn read_until(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::IN)];
        if poll(&mut fds, Some(&left.try_into().unwrap())).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        // A terminal whose program has ended answers with an error.
        let read = self.master.read(&mut buffer).unwrap_or(0);
        self.shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        read > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already waited for in `finish`; then there is nothing to end.
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().expect("a child that runs can be killed");
            self.child.wait().expect("a killed child ends");
        }
    }
}

fn resize(master: impl AsFd, columns: u16, rows: u16) {
    tcsetwinsize(master, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}
