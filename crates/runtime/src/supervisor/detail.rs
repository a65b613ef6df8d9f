//! Causes that libcontainer logs but leaves out of its errors: reported to the supervisor as they are logged.

use super::job::Reporter;
use std::fmt::{Debug, Write};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter};

/// Sends every logged error to the supervisor. Lives in the job's child and whatever that forks.
struct Details(Reporter);

/// Reports errors logged from now on as details of a failure that may follow.
pub(super) fn report_through(reporter: Reporter) {
    if tracing::subscriber::set_global_default(Details(reporter)).is_err() {
        skiff_print::note(format_args!("details of failures are lost: another subscriber is there"));
    }
}

impl Subscriber for Details {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let Text { message, cause } = text;
        self.0.detail(match cause {
            Some(cause) if !message.contains(&cause) => format!("{message}: {cause}"),
            _ => message,
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The parts of an event a user can make sense of.
#[derive(Default)]
struct Text {
    message: String,
    cause: Option<String>,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            // Writing to memory cannot fail.
            "message" => drop(write!(self.message, "{value:?}")),
            "err" | "error" => self.cause = Some(format!("{value:?}")),
            _ => {}
        }
    }
}
