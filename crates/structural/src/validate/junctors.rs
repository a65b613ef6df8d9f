//! `allOf`, `anyOf`, `oneOf` and `not`.

use std::sync::Arc;

use serde_json::Value;

use super::Validator;
use super::outcome::{Failure, Outcome};
use crate::model::Structural;
use crate::path::Path;

impl Validator {
    pub(super) fn junctors(&self, schema: &Structural, value: &Value, path: &Path<'_>) -> Outcome {
        let checks = schema.checks();
        let mut all = Outcome::default();
        // Nothing below is compared with what it replaces: only the whole is.
        let run = |schema: &Arc<Structural>| self.run(schema, value, path, None);
        let place = || format!("{:?}", path.to_string());
        if !checks.any_of.is_empty() {
            any_of(&mut all, checks.any_of.iter().map(run), place);
        }
        if !checks.one_of.is_empty() {
            one_of(&mut all, checks.one_of.iter().map(run), place);
        }
        if !checks.all_of.is_empty() {
            all_of(&mut all, checks.all_of.iter().map(run), place);
        }
        if checks.not.as_ref().is_some_and(|schema| run(schema).is_valid()) {
            all.fail(Failure::plain(format!("{} must not validate the schema (not)", place())));
        }
        all.matched();
        all
    }
}

/// The failed outcome with the most matches, of equals the first.
fn keep_nearest(nearest: &mut Option<Outcome>, outcome: Outcome) {
    if nearest.as_ref().is_none_or(|nearest| outcome.matches > nearest.matches) {
        *nearest = Some(outcome);
    }
}

fn any_of(all: &mut Outcome, outcomes: impl Iterator<Item = Outcome>, place: impl Fn() -> String) {
    let mut nearest = None;
    for outcome in outcomes {
        if outcome.is_valid() {
            all.merge(outcome);
            return;
        }
        keep_nearest(&mut nearest, outcome);
    }
    all.fail(Failure::plain(format!("{} must validate at least one schema (anyOf)", place())));
    nearest.into_iter().for_each(|outcome| all.merge(outcome));
}

fn one_of(all: &mut Outcome, outcomes: impl Iterator<Item = Outcome>, place: impl Fn() -> String) {
    let (mut nearest, mut fitting, mut count) = (None, None, 0);
    for outcome in outcomes {
        if outcome.is_valid() {
            count += 1;
            nearest = None;
            fitting.get_or_insert(outcome);
        } else if count == 0 {
            keep_nearest(&mut nearest, outcome);
        }
    }
    if count == 1 {
        fitting.into_iter().for_each(|outcome| all.merge(outcome));
        return;
    }
    let found = match count {
        0 => "Found none valid".to_owned(),
        count => format!("Found {count} valid alternatives"),
    };
    all.fail(Failure::plain(format!("{} must validate one and only one schema (oneOf). {found}", place())));
    nearest.into_iter().for_each(|outcome| all.merge(outcome));
}

fn all_of(all: &mut Outcome, outcomes: impl Iterator<Item = Outcome>, place: impl Fn() -> String) {
    let (mut fitting, mut count) = (0, 0);
    for outcome in outcomes {
        count += 1;
        fitting += usize::from(outcome.is_valid());
        all.merge(outcome);
    }
    if fitting < count {
        let none = if fitting == 0 { ". None validated" } else { "" };
        all.fail(Failure::plain(format!("{} must validate all the schemas (allOf){none}", place())));
    }
}
