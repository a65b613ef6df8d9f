//! How a starting cluster tells what it does: to a person in the foreground, or to `skiff up` over a pipe.

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::service;

/// One thing that a starting cluster tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", content = "text")]
pub(crate) enum Report {
    /// What it is doing now.
    Step(String),
    /// Something to know, which stays on the screen.
    Remark(String),
    /// Pods can run.
    Ready,
    /// It gave up; the reason is a sentence for the user.
    Failed(String),
}

/// Where reports go.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Lines on standard error, and to systemd when that started the process.
    Foreground,
    /// JSON lines on standard output, which `skiff up` reads.
    Pipe,
}

impl Progress {
    pub(crate) fn step(&self, text: &str) {
        self.report(&Report::Step(text.to_owned()));
    }

    pub(crate) fn remark(&self, text: &str) {
        self.report(&Report::Remark(text.to_owned()));
    }

    pub(crate) fn report(&self, report: &Report) {
        service::notify(report);
        match self {
            Self::Foreground => match report {
                Report::Step(text) => tracing::info!("{text}"),
                Report::Remark(text) => tracing::warn!("{text}"),
                Report::Ready => tracing::info!("ready: pods can run"),
                Report::Failed(_) => {} // the process ends with this error and prints it
            },
            Self::Pipe => write_line(report),
        }
    }
}

fn write_line(report: &Report) {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer(&mut out, report).map_err(io::Error::from).and_then(|()| {
        out.write_all(b"\n")?;
        out.flush()
    });
    if let Err(error) = written {
        // Whoever started the server has gone away; it serves on.
        tracing::debug!(%error, "nobody reads the progress reports");
    }
}

/// Reads reports until the cluster is ready or has failed. `None`: the writer ended without either.
pub(crate) fn follow(source: impl BufRead, screen: &Screen) -> io::Result<Option<Report>> {
    for line in source.lines() {
        let line = line?;
        match serde_json::from_str(&line) {
            Ok(Report::Step(text)) => screen.step(&text),
            Ok(Report::Remark(text)) => screen.remark(&text),
            Ok(end) => return Ok(Some(end)),
            Err(_) => screen.step(&line),
        }
    }
    Ok(None)
}

/// What a person sees while they wait: a spinner on a terminal, lines elsewhere.
#[derive(Debug)]
pub(crate) struct Screen {
    bar: ProgressBar,
    started: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(80));
        }
        Self { bar, started: Instant::now() }
    }

    pub(crate) fn step(&self, text: &str) {
        if self.bar.is_hidden() {
            skiff_print::note(format_args!("  {text}"));
        } else {
            self.bar.set_message(text.to_owned());
        }
    }

    pub(crate) fn remark(&self, text: &str) {
        self.bar.suspend(|| skiff_print::note(format_args!("  {text}")));
    }

    /// Replaces the spinner by a last line.
    pub(crate) fn finish(self, text: &str) {
        self.bar.finish_and_clear();
        skiff_print::note(format_args!("{text} ({:.1} s)", self.started.elapsed().as_secs_f32()));
    }

    /// Removes the spinner.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_until_the_end() {
        let check = |lines: &str, end: Option<Report>| {
            assert_eq!(follow(lines.as_bytes(), &Screen::new()).ok(), Some(end), "{lines}");
        };
        check(
            "{\"type\":\"step\",\"text\":\"a\"}\n{\"type\":\"remark\",\"text\":\"r\"}\n{\"type\":\"ready\"}\n{\"type\":\"step\",\"text\":\"b\"}\n",
            Some(Report::Ready),
        );
        check("{\"type\":\"failed\",\"text\":\"no root\"}\n", Some(Report::Failed("no root".to_owned())));
        check("noise\n", None);
    }
}
