//! What an autoscaler says of itself.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The types of its conditions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    AbleToScale,
    ScalingActive,
    ScalingLimited,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::AbleToScale => "AbleToScale",
            Self::ScalingActive => "ScalingActive",
            Self::ScalingLimited => "ScalingLimited",
        }
    }
}

/// The status of an autoscaler on its way.
pub(super) struct Report {
    pub(super) status: HorizontalPodAutoscalerStatus,
    now: Timestamp,
}

impl Report {
    /// Begins with what was said before.
    pub(super) fn of(autoscaler: &HorizontalPodAutoscaler, now: Timestamp) -> Self {
        Self { status: autoscaler.status.clone().unwrap_or_default(), now }
    }

    /// Sets a condition; its time changes with its status.
    pub(super) fn set(&mut self, type_: Type, holds: bool, reason: &str, message: impl Into<String>) {
        let conditions = self.status.conditions.get_or_insert_default();
        let status = if holds { "True" } else { "False" };
        let place = conditions.iter().position(|condition| condition.type_ == type_.name());
        let place = place.unwrap_or_else(|| {
            let new = HorizontalPodAutoscalerCondition { type_: type_.name().into(), ..Default::default() };
            conditions.push(new);
            conditions.len() - 1
        });
        let condition = &mut conditions[place];
        if condition.status != status {
            condition.status = status.into();
            condition.last_transition_time = Some(written(self.now));
        }
        condition.reason = Some(reason.into());
        condition.message = Some(message.into());
    }

    /// Notes that the number of replicas has been changed.
    pub(super) fn scaled(&mut self) {
        self.status.last_scale_time = Some(written(self.now));
    }
}

/// A time as objects hold it, in whole seconds.
fn written(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_change_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut report = Report::of(&HorizontalPodAutoscaler::default(), at(1));
        report.set(Type::AbleToScale, true, "A", "a");
        report.now = at(2);
        report.set(Type::AbleToScale, true, "B", "b");
        report.set(Type::ScalingActive, false, "C", "c");
        report.now = at(3);
        report.set(Type::ScalingActive, true, "D", "d");
        let shown: Vec<_> = report
            .status
            .conditions
            .unwrap()
            .into_iter()
            .map(|one| {
                (one.type_, one.status, one.reason.unwrap(), one.last_transition_time.unwrap().0.as_second())
            })
            .collect();
        let expect =
            |type_: &str, reason: &str, time| (type_.to_owned(), "True".to_owned(), reason.to_owned(), time);
        assert_eq!(shown, [expect("AbleToScale", "B", 1), expect("ScalingActive", "D", 3)]);
    }
}
