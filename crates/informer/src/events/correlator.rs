//! What becomes of each event of the core group, as in Kubernetes: decided without I/O.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::bounded::Bounded;
use super::{About, Draft, EventType, Source, name_of};

/// From this many different messages within [`ALIKE_WINDOW`] on, alike events are combined into one.
const ALIKE_LIMIT: usize = 10;
const ALIKE_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Events about one object that may come at once; afterwards one each [`REFILL`].
const BURST: f64 = 25.0;
const REFILL: SignedDuration = SignedDuration::from_mins(5);

/// The write an event leads to.
#[derive(Debug)]
pub(super) enum Write {
    Create(Box<Event>),
    /// The same event happened again: raise the count of the one written before (create it if it has expired).
    Count(Box<Event>),
}

/// What alike events have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct AlikeKey {
    about: About,
    kind: EventType,
    reason: &'static str,
}

#[derive(Default)]
struct Alike {
    messages: VecDeque<String>,
    last: Timestamp,
}

/// What the same events have in common. Combined ones have no message of their own.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SameKey {
    alike: AlikeKey,
    field_path: Option<String>,
    message: Option<String>,
}

/// An event that was written.
struct Written {
    name: String,
    first: Timestamp,
    count: i32,
}

struct Allowance {
    tokens: f64,
    at: Timestamp,
}

/// Decides what becomes of each event.
pub(super) struct Correlator {
    source: Source,
    alike: Bounded<AlikeKey, Alike>,
    written: Bounded<SameKey, Written>,
    allowances: Bounded<About, Allowance>,
}

impl Correlator {
    pub(super) fn new(source: Source) -> Self {
        Self { source, alike: Bounded::new(), written: Bounded::new(), allowances: Bounded::new() }
    }

    /// An event is combined, then counted, and only then perhaps left out: its count says what happened, not what was written.
    pub(super) fn correlate(&mut self, mut draft: Draft) -> Option<Write> {
        let about = About::of(&draft.object);
        let alike = AlikeKey { about: about.clone(), kind: draft.kind, reason: draft.reason };
        let mut same = SameKey {
            alike: alike.clone(),
            field_path: draft.object.field_path.clone(),
            message: Some(draft.message.clone()),
        };
        if self.combines(&alike, &draft) {
            draft.message = format!("(combined from similar events): {}", draft.message);
            (same.field_path, same.message) = (None, None);
        }
        let now = draft.at;
        let mut event = new_event(&self.source, draft);
        let write = match self.written.get(&same) {
            Some(written) => {
                written.count = written.count.saturating_add(1);
                event.metadata.name = Some(written.name.clone());
                event.first_timestamp = Some(Time(written.first));
                event.count = Some(written.count);
                Write::Count(Box::new(event))
            }
            None => {
                let name = event.metadata.name.clone().unwrap_or_default();
                self.written.insert(same, Written { name, first: now, count: 1 });
                Write::Create(Box::new(event))
            }
        };
        self.allowed(about, now).then_some(write)
    }

    fn combines(&mut self, key: &AlikeKey, draft: &Draft) -> bool {
        let alike = self.alike.get_or_default(key);
        if draft.at.duration_since(alike.last) > ALIKE_WINDOW {
            alike.messages.clear();
        }
        alike.last = draft.at;
        if !alike.messages.contains(&draft.message) {
            alike.messages.push_back(draft.message.clone());
            alike.messages.truncate(ALIKE_LIMIT);
        }
        alike.messages.len() >= ALIKE_LIMIT
    }

    fn allowed(&mut self, about: About, now: Timestamp) -> bool {
        if self.allowances.get(&about).is_none() {
            self.allowances.insert(about.clone(), Allowance { tokens: BURST, at: now });
        }
        let Some(allowance) = self.allowances.get(&about) else { return true };
        let refilled = now.duration_since(allowance.at).as_secs_f64() / REFILL.as_secs_f64();
        allowance.tokens = (allowance.tokens + refilled.max(0.0)).min(BURST);
        allowance.at = now;
        let allowed = allowance.tokens >= 1.0;
        allowance.tokens -= f64::from(u8::from(allowed));
        allowed
    }
}

fn new_event(source: &Source, draft: Draft) -> Event {
    let (name, namespace) = name_of(&draft.object, draft.at);
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: draft.object,
        type_: Some(draft.kind.as_str().into()),
        reason: Some(draft.reason.into()),
        message: Some(draft.message),
        count: Some(1),
        first_timestamp: Some(Time(draft.at)),
        last_timestamp: Some(Time(draft.at)),
        source: Some(EventSource {
            component: Some(source.component.clone()),
            host: Some(source.host.clone()).filter(|host| !host.is_empty()),
        }),
        reporting_component: Some(source.component.clone()),
        reporting_instance: Some(source.host.clone()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;

    fn draft(object: &str, message: &str, second: i64) -> Draft {
        Draft {
            object: ObjectReference {
                name: Some(object.into()),
                uid: Some("u".into()),
                ..Default::default()
            },
            kind: EventType::Normal,
            reason: "Tested",
            message: message.into(),
            at: Timestamp::from_second(1_000_000 + second).unwrap(),
        }
    }

    fn written(drafts: impl IntoIterator<Item = Draft>) -> Vec<Option<Write>> {
        let mut correlator = Correlator::new(Source { component: "test".into(), host: String::new() });
        drafts.into_iter().map(|draft| correlator.correlate(draft)).collect()
    }

    fn check(drafts: impl IntoIterator<Item = Draft>) -> Vec<String> {
        let show = |write| match write {
            None => "dropped".into(),
            Some(Write::Create(event)) => format!("create {}", event.message.unwrap()),
            Some(Write::Count(event)) => format!("{}x {}", event.count.unwrap(), event.message.unwrap()),
        };
        written(drafts).into_iter().map(show).collect()
    }

    #[test]
    fn repeats_are_counted() {
        let drafts = [draft("a", "m", 0), draft("a", "m", 1), draft("b", "m", 2), draft("a", "m", 3)];
        assert_eq!(check(drafts), ["create m", "2x m", "create m", "3x m"]);
    }

    #[test]
    fn a_repeat_is_the_event_that_was_written_first() {
        let mut writes = written([draft("a", "m", 0), draft("a", "m", 7)]).into_iter().flatten();
        let (Some(Write::Create(first)), Some(Write::Count(second))) = (writes.next(), writes.next()) else {
            panic!("an event and its repetition")
        };
        assert_eq!(first.metadata, second.metadata);
        assert_eq!(first.first_timestamp, second.first_timestamp);
        let late = Timestamp::from_second(1_000_007).unwrap();
        assert_eq!(second.last_timestamp, Some(Time(late)));
    }

    #[test]
    fn many_messages_are_combined() {
        let writes = check((0..12).map(|n| draft("a", &n.to_string(), 0)));
        assert_eq!(writes[8], "create 8");
        assert_eq!(writes[9], "create (combined from similar events): 9");
        assert_eq!(writes[11], "3x (combined from similar events): 11");
    }

    #[test]
    fn messages_of_several_containers_are_combined() {
        let of = |n: usize| {
            let mut draft = draft("a", &n.to_string(), 0);
            draft.object.field_path = Some(format!("spec.containers{{c{}}}", n % 2));
            draft
        };
        let writes = check((0..12).map(of));
        assert_eq!(writes[11], "3x (combined from similar events): 11");
    }

    #[test]
    fn after_ten_quiet_minutes_messages_are_their_own_again() {
        let first = (0..10).map(|n| draft("a", &n.to_string(), 0));
        let writes = check(first.chain([draft("a", "x", 600), draft("a", "y", 1201)]));
        assert_eq!(&writes[10..], ["2x (combined from similar events): x", "create y"]);
    }

    #[test]
    fn floods_are_dropped_until_the_allowance_refills() {
        let mut drafts: Vec<_> = (0..26).map(|_| draft("a", "m", 0)).collect();
        drafts.push(draft("a", "m", 300));
        let writes = check(drafts);
        assert_eq!(&writes[24..], ["25x m", "dropped", "27x m"]);
    }

    #[test]
    fn the_name_is_unique_by_time() {
        let source = Source { component: "test".into(), host: String::new() };
        let event = new_event(&source, draft("a", "m", 0));
        assert_eq!(event.metadata.name.as_deref(), Some("a.38d7ea4c68000"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    }
}
