//! The five fields of a schedule, read.

/// Minute, hour, day of the month, month and day of the week.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) minute: Field,
    pub(crate) hour: Field,
    pub(crate) day: Field,
    pub(crate) month: Field,
    pub(crate) weekday: Field,
}

/// The values that a field allows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Field {
    bits: u64,
    /// Whether it says `*` or `?`, without a step.
    star: bool,
}

/// What values a field may have, and what names these have.
struct Bounds {
    min: u8,
    max: u8,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAYS: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Fields {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            let found = fields.len();
            return Err(format!("expected exactly 5 fields, found {found}: [{}]", fields.join(" ")));
        };
        Ok(Self {
            minute: Field::parse(minute, &MINUTES)?,
            hour: Field::parse(hour, &HOURS)?,
            day: Field::parse(day, &DAYS)?,
            month: Field::parse(month, &MONTHS)?,
            weekday: Field::parse(weekday, &WEEKDAYS)?,
        })
    }

    /// Whether some field allows nothing at all, as one of commas alone does.
    pub(crate) fn allow_nothing(&self) -> bool {
        [self.minute, self.hour, self.month].iter().any(|field| field.bits == 0)
    }

    /// Whether a day is one of those, counted from Sunday, which is 0. Of two restrictions either is enough.
    pub(crate) fn has_day(&self, day: i8, weekday: i8) -> bool {
        let (by_date, by_weekday) = (self.day.has(day), self.weekday.has(weekday));
        if self.day.star || self.weekday.star { by_date && by_weekday } else { by_date || by_weekday }
    }
}

impl Field {
    pub(crate) fn has(self, value: i8) -> bool {
        self.bits >> value & 1 == 1
    }

    fn parse(text: &str, bounds: &Bounds) -> Result<Self, String> {
        let mut field = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let range = Self::range(part, bounds)?;
            field = Self { bits: field.bits | range.bits, star: field.star || range.star };
        }
        Ok(field)
    }

    /// `NUMBER`, `LOW-HIGH` or `*`, all with or without `/STEP`.
    fn range(text: &str, bounds: &Bounds) -> Result<Self, String> {
        let (range, steps) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
        let (low, high) = range.split_once('-').map_or((range, None), |(low, high)| (low, Some(high)));
        let star = matches!(low, "*" | "?");
        let (start, mut end) = match high {
            _ if star => (i64::from(bounds.min), i64::from(bounds.max)),
            Some(high) if high.contains('-') => {
                number(low, bounds)?;
                return Err(format!("too many hyphens: {text}"));
            }
            Some(high) => (number(low, bounds)?, number(high, bounds)?),
            None => number(low, bounds).map(|one| (one, one))?,
        };
        let step = match steps {
            None => 1,
            Some(step) if step.contains('/') => return Err(format!("too many slashes: {text}")),
            Some(step) => integer(step)?,
        };
        if steps.is_some() && high.is_none() {
            end = i64::from(bounds.max);
        }
        check(text, start, end, step, bounds)?;
        let mut bits = 0;
        let mut value = start;
        while value <= end {
            bits |= 1 << value;
            value = value.saturating_add(step);
        }
        Ok(Self { bits, star: star && step == 1 })
    }
}

fn check(text: &str, start: i64, end: i64, step: i64, bounds: &Bounds) -> Result<(), String> {
    if start < i64::from(bounds.min) {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.min));
    }
    if end > i64::from(bounds.max) {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

fn number(text: &str, bounds: &Bounds) -> Result<i64, String> {
    let named = bounds.names.iter().zip(i64::from(bounds.min)..);
    let mut named = named.filter(|(name, _)| name.eq_ignore_ascii_case(text));
    named.next().map_or_else(|| integer(text), |(_, number)| Ok(number))
}

fn integer(text: &str) -> Result<i64, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let number: i64 = text.parse().map_err(|error: std::num::ParseIntError| {
        let quoted = skiff_machinery::go::quoted(text);
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("failed to parse int from {text}: strconv.Atoi: parsing {quoted}: {why}")
    })?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    Ok(number)
}
