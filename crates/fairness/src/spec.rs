//! What the objects of the API say, as far as it matters here.

use k8s_openapi::api::flowcontrol::v1 as api;

use crate::allocate::Share;

/// What becomes of requests for which a level has no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// There is no limit.
    None,
    /// They are turned away.
    Reject,
    /// They wait.
    Queue(Queuing),
}

/// How requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queuing {
    /// How many queues there are.
    pub(crate) queues: u32,
    /// How many of them a flow uses.
    pub(crate) hand: u32,
    /// How many requests wait in one.
    pub(crate) length: usize,
}

/// A priority level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LevelSpec {
    pub(crate) limit: Limit,
    pub(crate) share: Share,
}

/// Why a level is not used: validation would have refused it.
pub(crate) const BROKEN: &str = "its type does not fit its parts";

impl LevelSpec {
    pub(crate) fn of(level: &api::PriorityLevelConfiguration) -> Result<Self, &'static str> {
        let spec = level.spec.as_ref().ok_or(BROKEN)?;
        match (spec.type_.as_str(), &spec.limited) {
            ("Exempt", None) => {
                let exempt = spec.exempt.clone().unwrap_or_default();
                let share = Share {
                    shares: natural(exempt.nominal_concurrency_shares),
                    lendable: natural(exempt.lendable_percent),
                    borrowing: None,
                };
                Ok(Self { limit: Limit::None, share })
            }
            ("Limited", Some(limited)) if spec.exempt.is_none() => {
                let share = Share {
                    shares: natural(limited.nominal_concurrency_shares),
                    lendable: natural(limited.lendable_percent),
                    borrowing: limited.borrowing_limit_percent.map(|percent| natural(Some(percent))),
                };
                Ok(Self { limit: limit(limited.limit_response.as_ref())?, share })
            }
            _ => Err(BROKEN),
        }
    }

    /// The most seats that one request takes: a part of the level's own, so that the few requests of a hand of queues do not
    /// take all of them.
    pub(crate) fn widest(&self, nominal: u32) -> u32 {
        const MOST: u32 = 10;
        let Limit::Queue(queuing) = self.limit else { return MOST };
        // 15 of a hundred, rounded up.
        let part = (u64::from(nominal) * 15).div_ceil(100);
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        part.min(nominal / queuing.hand.max(1)).clamp(1, MOST)
    }
}

fn limit(response: Option<&api::LimitResponse>) -> Result<Limit, &'static str> {
    let response = response.ok_or(BROKEN)?;
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => Ok(Limit::Reject),
        ("Queue", Some(queuing)) => Ok(Limit::Queue(Queuing {
            queues: natural(queuing.queues).max(1),
            hand: natural(queuing.hand_size).max(1),
            length: natural(queuing.queue_length_limit) as usize,
        })),
        _ => Err(BROKEN),
    }
}

/// Zero for what is missing or negative.
fn natural(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}
