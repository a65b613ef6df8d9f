//! How fast the number of replicas may change: what was recommended and done lately is taken into account.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// For how long the highest recommendation holds when there are to be fewer.
const DOWNSCALE_STABILIZATION: i32 = 300;
/// Nothing older than the longest window and period there can be is of use.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// Without a behaviour there are at most so many times as many at once, and always as many as this.
const UP_FACTOR: i32 = 2;
const UP_MINIMUM: i32 = 4;
/// How long a period is by default.
const PERIOD: i32 = 15;

/// What was recommended and done for one autoscaler lately.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    recommendations: Vec<(Timestamp, i32)>,
    /// By how many the replicas became more, and fewer.
    ups: Vec<(Timestamp, i32)>,
    downs: Vec<(Timestamp, i32)>,
}

/// What limits a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

const fn reason(reason: &'static str, message: &'static str) -> Reason {
    Reason { reason, message }
}

const WITHIN_RANGE: Reason = reason("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: Reason =
    reason("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: Reason =
    reason("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_LIMIT: Reason =
    reason("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: Reason =
    reason("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const READY: Reason = reason("ReadyForNewScale", "recommended size matches current size");
const UP_STABILIZED: Reason = reason(
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN_STABILIZED: Reason = reason(
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);

/// How many replicas there shall be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Normalized {
    pub(super) replicas: i32,
    /// Why the autoscaler is able to scale.
    pub(super) able: Reason,
    /// Whether a limit keeps it from what it wants, and which.
    pub(super) limited: (bool, Reason),
}

/// How many there are, may be, and should be by the metrics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) current: i32,
    pub(super) min: i32,
    pub(super) max: i32,
    pub(super) desired: i32,
}

impl History {
    /// The number found at first counts as a recommendation.
    pub(super) fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    /// Remembers that the number was changed.
    pub(super) fn scaled(&mut self, from: i32, to: i32, now: Timestamp) {
        let changes = if to > from { &mut self.ups } else { &mut self.downs };
        changes.retain(|(at, _)| now.duration_since(*at) <= LONGEST);
        changes.push((now, (to - from).abs()));
    }

    /// Brings a number to what the limits allow, and remembers it.
    pub(super) fn normalize(
        &mut self,
        wanted: Wanted,
        behavior: Option<&HorizontalPodAutoscalerBehavior>,
        now: Timestamp,
    ) -> Normalized {
        let rules = behavior.map(|behavior| {
            (rules(behavior.scale_up.as_ref(), &UP), rules(behavior.scale_down.as_ref(), &DOWN))
        });
        let (stable, able) = match &rules {
            None => self.stabilize(wanted, DOWNSCALE_STABILIZATION, now),
            Some((up, down)) => self.stabilize_both(wanted, up.window, down.window, now),
        };
        self.recommendations.retain(|(at, _)| now.duration_since(*at) <= LONGEST);
        self.recommendations.push((now, wanted.desired));
        let stabilized = Wanted { desired: stable, ..wanted };
        let (replicas, limit) = match &rules {
            None => limited(stabilized),
            Some((up, down)) => self.limited_by(stabilized, up, down, now),
        };
        let able = if stable == wanted.desired { READY } else { able };
        Normalized { replicas, able, limited: (replicas != stable, limit) }
    }

    fn stabilize(&self, wanted: Wanted, window: i32, now: Timestamp) -> (i32, Reason) {
        let recent = self.recommendations.iter().filter(|(at, _)| age(*at, now) <= seconds(window));
        let highest = recent.map(|(_, replicas)| *replicas).max().unwrap_or(wanted.desired);
        (highest.max(wanted.desired), DOWN_STABILIZED)
    }

    fn stabilize_both(&self, wanted: Wanted, up: i32, down: i32, now: Timestamp) -> (i32, Reason) {
        let recent = |window: i32| {
            let recent = self.recommendations.iter().filter(move |(at, _)| age(*at, now) < seconds(window));
            recent.map(|(_, replicas)| *replicas)
        };
        let lowest = recent(up).chain([wanted.desired]).min().unwrap_or(wanted.desired);
        let highest = recent(down).chain([wanted.desired]).max().unwrap_or(wanted.desired);
        let reason = if wanted.desired >= wanted.current { UP_STABILIZED } else { DOWN_STABILIZED };
        (wanted.current.max(lowest).min(highest), reason)
    }

    fn limited_by(&self, wanted: Wanted, up: &Rules, down: &Rules, now: Timestamp) -> (i32, Reason) {
        let Wanted { current, min, max, desired } = wanted;
        if desired > current {
            let limit = self.up_limit(current, up, now).max(current);
            let (most, reason) = if max > limit { (limit, UP_LIMIT) } else { (max, TOO_MANY) };
            if desired > most {
                return (most, reason);
            }
        } else if desired < current {
            let limit = self.down_limit(current, down, now).min(current);
            let (least, reason) = if min < limit { (limit, DOWN_LIMIT) } else { (min, TOO_FEW) };
            if desired < least {
                return (least, reason);
            }
        }
        (desired, WITHIN_RANGE)
    }

    /// How many there were when the period began.
    fn at_start(&self, current: i32, period: i32, now: Timestamp) -> i32 {
        let sum = |changes: &[(Timestamp, i32)]| -> i32 {
            let recent = changes.iter().filter(|(at, _)| age(*at, now) < seconds(period));
            recent.map(|(_, change)| *change).sum()
        };
        current - sum(&self.ups) + sum(&self.downs)
    }

    fn up_limit(&self, current: i32, rules: &Rules, now: Timestamp) -> i32 {
        let proposed = rules.policies.iter().map(|policy| {
            let start = self.at_start(current, policy.period_seconds, now);
            match policy.type_.as_str() {
                "Pods" => start.saturating_add(policy.value),
                _ => percent(start, 100 + i64::from(policy.value), Rounding::Up),
            }
        });
        match rules.select {
            Select::Disabled => current,
            Select::Min => proposed.min().unwrap_or(i32::MAX),
            Select::Max => proposed.max().unwrap_or(i32::MIN),
        }
    }

    fn down_limit(&self, current: i32, rules: &Rules, now: Timestamp) -> i32 {
        let proposed = rules.policies.iter().map(|policy| {
            let start = self.at_start(current, policy.period_seconds, now);
            match policy.type_.as_str() {
                "Pods" => start.saturating_sub(policy.value),
                _ => percent(start, 100 - i64::from(policy.value), Rounding::Down),
            }
        });
        match rules.select {
            Select::Disabled => current,
            // The least change leaves the most.
            Select::Min => proposed.max().unwrap_or(i32::MIN),
            Select::Max => proposed.min().unwrap_or(i32::MAX),
        }
    }
}

/// The limits of an autoscaler without a behaviour.
fn limited(wanted: Wanted) -> (i32, Reason) {
    let Wanted { current, min, max, desired } = wanted;
    let limit = current.saturating_mul(UP_FACTOR).max(UP_MINIMUM);
    let (most, reason) = if max > limit { (limit, UP_LIMIT) } else { (max, TOO_MANY) };
    if desired < min {
        (min, TOO_FEW)
    } else if desired > most {
        (most, reason)
    } else {
        (desired, WITHIN_RANGE)
    }
}

/// Rules of one direction, with what they leave out filled in.
struct Rules {
    policies: Vec<HPAScalingPolicy>,
    select: Select,
    /// In seconds.
    window: i32,
}

#[derive(Clone, Copy)]
enum Select {
    Max,
    Min,
    Disabled,
}

/// What rules leave out.
struct Defaults {
    policies: &'static [(&'static str, i32)],
    window: i32,
}

const UP: Defaults = Defaults { policies: &[("Pods", 4), ("Percent", 100)], window: 0 };
const DOWN: Defaults = Defaults { policies: &[("Percent", 100)], window: DOWNSCALE_STABILIZATION };

fn rules(given: Option<&HPAScalingRules>, defaults: &Defaults) -> Rules {
    let policies = || {
        let policy = |(type_, value): &(&str, i32)| HPAScalingPolicy {
            type_: (*type_).into(),
            value: *value,
            period_seconds: PERIOD,
        };
        defaults.policies.iter().map(policy).collect()
    };
    Rules {
        policies: given.and_then(|rules| rules.policies.clone()).unwrap_or_else(policies),
        select: match given.and_then(|rules| rules.select_policy.as_deref()) {
            Some("Min") => Select::Min,
            Some("Disabled") => Select::Disabled,
            _ => Select::Max,
        },
        window: given.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(defaults.window),
    }
}

enum Rounding {
    Up,
    Down,
}

fn percent(number: i32, percent: i64, rounding: Rounding) -> i32 {
    let hundredfold = i64::from(number) * percent;
    let whole = match rounding {
        Rounding::Up => -(-hundredfold).div_euclid(100),
        Rounding::Down => hundredfold / 100,
    };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn wanted(current: i32, desired: i32) -> Wanted {
        Wanted { current, min: 2, max: 40, desired }
    }

    #[test]
    fn without_a_behavior_the_highest_of_five_minutes_holds() {
        let mut history = History::default();
        let mut check = |second: i64, current: i32, desired: i32, expected: (i32, &str, bool, &str)| {
            let normal = history.normalize(wanted(current, desired), None, at(second));
            let (limited, limit) = normal.limited;
            assert_eq!((normal.replicas, normal.able.reason, limited, limit.reason), expected, "at {second}");
        };
        check(0, 5, 8, (8, "ReadyForNewScale", false, "DesiredWithinRange"));
        check(10, 8, 30, (16, "ReadyForNewScale", true, "ScaleUpLimit"));
        check(20, 1, 4, (4, "ScaleDownStabilized", true, "ScaleUpLimit"));
        check(320, 30, 3, (4, "ScaleDownStabilized", false, "DesiredWithinRange"));
        check(900, 30, 1, (2, "ReadyForNewScale", true, "TooFewReplicas"));
        check(910, 30, 99, (40, "ReadyForNewScale", true, "TooManyReplicas"));
    }

    fn behavior(up: Value, down: Value) -> HorizontalPodAutoscalerBehavior {
        serde_json::from_value(json!({"scaleUp": up, "scaleDown": down})).unwrap()
    }

    #[test]
    fn policies_limit_what_is_done_in_a_period() {
        let policies = |policies: Value, select: &str| json!({"policies": policies, "selectPolicy": select, "stabilizationWindowSeconds": 0});
        let pods = |value: i32| json!({"type": "Pods", "value": value, "periodSeconds": 60});
        let percent = |value: i32| json!({"type": "Percent", "value": value, "periodSeconds": 60});
        let check = |up: Value, down: Value, current: i32, desired: i32, expected: (i32, &str)| {
            let mut history = History::default();
            // Half a minute ago there were three fewer.
            history.scaled(7, 10, at(-30));
            history.scaled(2, 10, at(-90));
            let normal = history.normalize(wanted(current, desired), Some(&behavior(up, down)), at(0));
            assert_eq!((normal.replicas, normal.limited.1.reason), expected);
        };
        let none = Value::Null;
        check(policies(json!([pods(5)]), "Max"), none.clone(), 10, 30, (12, "ScaleUpLimit"));
        check(policies(json!([pods(2)]), "Max"), none.clone(), 10, 30, (10, "ScaleUpLimit"));
        check(policies(json!([pods(5), percent(150)]), "Max"), none.clone(), 10, 30, (18, "ScaleUpLimit"));
        check(policies(json!([pods(5), percent(150)]), "Min"), none.clone(), 10, 30, (12, "ScaleUpLimit"));
        check(policies(json!([pods(50)]), "Max"), none.clone(), 10, 60, (40, "TooManyReplicas"));
        check(json!({"selectPolicy": "Disabled"}), none.clone(), 10, 30, (10, "ScaleUpLimit"));
        check(none.clone(), policies(json!([pods(2)]), "Max"), 10, 3, (5, "ScaleDownLimit"));
        check(none.clone(), policies(json!([percent(10)]), "Max"), 10, 3, (6, "ScaleDownLimit"));
        check(none.clone(), policies(json!([pods(2), percent(50)]), "Max"), 10, 2, (3, "ScaleDownLimit"));
        check(none.clone(), policies(json!([pods(2), percent(50)]), "Min"), 10, 2, (5, "ScaleDownLimit"));
        check(none.clone(), json!({"selectPolicy": "Disabled"}), 10, 3, (10, "ScaleDownLimit"));
        // By default four more, or twice as many, in fifteen seconds.
        check(json!({}), none.clone(), 10, 30, (20, "ScaleUpLimit"));
        check(none.clone(), policies(json!([percent(100)]), "Max"), 10, 1, (2, "TooFewReplicas"));
        check(none.clone(), none, 10, 12, (12, "DesiredWithinRange"));
    }

    #[test]
    fn windows_hold_the_lowest_and_the_highest() {
        let windows = |up: i32, down: i32| {
            behavior(json!({"stabilizationWindowSeconds": up}), json!({"stabilizationWindowSeconds": down}))
        };
        let check =
            |windows: HorizontalPodAutoscalerBehavior, current: i32, desired: i32, expected: (i32, &str)| {
                let recommendations = vec![(at(-200), 20), (at(-50), 6), (at(-10), 9)];
                let mut history = History { recommendations, ..History::default() };
                let normal = history.normalize(wanted(current, desired), Some(&windows), at(0));
                assert_eq!((normal.replicas, normal.able.reason), expected);
            };
        check(windows(0, 300), 10, 12, (12, "ReadyForNewScale"));
        check(windows(60, 300), 5, 12, (6, "ScaleUpStabilized"));
        check(windows(60, 300), 10, 12, (10, "ScaleUpStabilized"));
        check(windows(0, 100), 10, 3, (9, "ScaleDownStabilized"));
        check(windows(0, 300), 10, 3, (10, "ScaleDownStabilized"));
        check(windows(0, 0), 10, 3, (3, "ReadyForNewScale"));
    }

    #[test]
    fn the_first_number_counts_as_recommended() {
        let mut history = History::default();
        history.begin(9, at(0));
        history.begin(2, at(5));
        assert_eq!(history.normalize(wanted(9, 3), None, at(10)).replicas, 9);
    }
}
