//! Short texts with a grammar of their own: selectors, quantities, names, durations, schedules.

use skiff_cron::Schedule;
use skiff_machinery::quantity::Quantity;
use skiff_machinery::selector::{FieldSelector, LabelSelector};
use skiff_machinery::{duration, names};

pub(crate) fn run(text: &[u8]) {
    let text = crate::text(text);
    drop(LabelSelector::parse(text));
    drop(FieldSelector::parse(text));
    if let Ok(quantity) = text.parse::<Quantity>() {
        let _amounts = (quantity.units(), quantity.millis(), quantity.nanos());
    }
    let _age = duration::since(text, jiff::Timestamp::UNIX_EPOCH);
    let _form = names::subdomain(text);
    let _duration = duration::parse(text);
    if let Ok(schedule) = Schedule::parse(text) {
        let now = jiff::Timestamp::UNIX_EPOCH;
        assert!(schedule.next(now, &jiff::tz::TimeZone::UTC).is_none_or(|next| next > now));
    }
}
