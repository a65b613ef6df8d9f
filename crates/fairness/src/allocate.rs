//! How the server's seats are dealt out: nominal shares, and what levels borrow of each other (KEP-1040, "Seat borrowing").

/// A level's share as its configuration says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// `nominalConcurrencyShares`.
    pub(crate) shares: u32,
    /// How many of a hundred nominal seats others may use.
    pub(crate) lendable: u32,
    /// How many seats may be borrowed, of a hundred nominal ones; any number if it is not said.
    pub(crate) borrowing: Option<u32>,
}

/// The seats of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Its own.
    pub(crate) nominal: u32,
    /// What is left if others borrow all that they may.
    pub(crate) least: u32,
    /// With all that it may borrow.
    pub(crate) most: u32,
}

impl Share {
    /// Its seats of `total`, where all levels have `sum` shares. Rounded up, so that every share is at least a seat; the levels'
    /// sum is a little more than the total then.
    pub(crate) fn bounds(self, total: u32, sum: u64) -> Bounds {
        let (total_wide, shares) = (u64::from(total), u64::from(self.shares));
        let nominal = narrow((total_wide * shares).div_ceil(sum.max(1)));
        let lent = percent(nominal, self.lendable.min(100));
        let borrowed = self.borrowing.map_or(total, |borrowing| percent(nominal, borrowing));
        Bounds { nominal, least: nominal - lent.min(nominal), most: nominal.saturating_add(borrowed) }
    }
}

fn percent(seats: u32, percent: u32) -> u32 {
    // Rounded to the nearest, halves up.
    narrow((u64::from(seats) * u64::from(percent) + 50) / 100)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What a level needs at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Need {
    pub(crate) bounds: Bounds,
    /// Its highest demand of the last period.
    pub(crate) peak: u32,
    /// Its smoothed demand.
    pub(crate) smoothed: f64,
}

/// The smallest target: of nothing nothing could be a multiple.
const LEAST_TARGET: f64 = 0.001;

impl Need {
    /// What it keeps: what it used, as long as that is its own, and what nobody may borrow.
    fn kept(&self) -> u32 {
        self.bounds.least.max(self.bounds.nominal.min(self.peak))
    }

    fn target(&self) -> f64 {
        f64::from(self.kept()).max(self.smoothed).max(LEAST_TARGET)
    }

    /// The seats of a multiple of its target.
    fn at(&self, multiple: f64) -> f64 {
        let most = f64::from(self.bounds.most.max(self.kept()));
        (self.target() * multiple).clamp(f64::from(self.kept()), most)
    }
}

/// Deals `seats` out among levels: each gets the same multiple of its target, but no less than it keeps and no more than
/// it may borrow. Where there are fewer than the levels keep, what is beyond what nobody may borrow is scaled down.
///
/// Each gets at least one seat if it has a nominal one, so that a level that lent everything can show that it has
/// demand again; the sum may exceed `seats` by these, and by rounding.
pub(crate) fn allocate(seats: u32, needs: &[Need]) -> Vec<u32> {
    let sum = |of: fn(&Need) -> u32| -> u64 { needs.iter().map(|need| u64::from(of(need))).sum() };
    let (least, kept) = (sum(|need| need.bounds.least), sum(Need::kept));
    let seats = u64::from(seats);
    let floor = |need: &Need, seats: u32| seats.max(need.bounds.nominal.min(1));
    if seats <= kept {
        let (over, wanted) = (seats.saturating_sub(least), kept.saturating_sub(least).max(1));
        let scaled = |need: &Need| {
            let more = u64::from(need.kept() - need.bounds.least);
            need.bounds.least + narrow((more * over + wanted / 2) / wanted)
        };
        return needs.iter().map(|need| floor(need, scaled(need))).collect();
    }
    let multiple = multiple(seats, needs);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between bounds of 32 bits")]
    let rounded = |need: &Need| need.at(multiple).round() as u32;
    needs.iter().map(|need| floor(need, rounded(need))).collect()
}

/// The multiple at which all seats are dealt out, or the largest that still makes a difference.
fn multiple(seats: u64, needs: &[Need]) -> f64 {
    // Halved until the interval is as small as a number can tell.
    const STEPS: usize = 100;
    #[allow(clippy::cast_precision_loss, reason = "a sum of seats, far below 2^52")]
    let seats = seats as f64;
    let dealt = |multiple: f64| needs.iter().map(|need| need.at(multiple)).sum::<f64>();
    let largest = needs.iter().map(|need| f64::from(need.bounds.most) / need.target()).fold(0.0, f64::max);
    let (mut low, mut high) = (0.0, largest);
    if dealt(high) <= seats {
        return high;
    }
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if dealt(middle) < seats { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(shares: u32, lendable: u32, borrowing: Option<u32>) -> Share {
        Share { shares, lendable, borrowing }
    }

    #[test]
    fn the_usual_levels_have_the_usual_seats() {
        // Kubernetes' suggested configuration at its usual 600 seats.
        let check = |shares, lendable, nominal, least| {
            let bounds = share(shares, lendable, None).bounds(600, 245);
            assert_eq!((bounds.nominal, bounds.least, bounds.most), (nominal, least, nominal + 600));
        };
        check(5, 0, 13, 13);
        check(30, 33, 74, 50);
        check(40, 25, 98, 73);
        check(10, 0, 25, 25);
        check(40, 50, 98, 49);
        check(100, 90, 245, 24);
        check(20, 50, 49, 24);
        assert_eq!(share(0, 0, None).bounds(600, 245), Bounds { nominal: 0, least: 0, most: 600 });
        assert_eq!(share(10, 0, Some(20)).bounds(100, 10), Bounds { nominal: 100, least: 100, most: 120 });
        assert_eq!(share(1, 100, None).bounds(1, 0).least, 0);
    }

    fn need(bounds: (u32, u32, u32), peak: u32, smoothed: f64) -> Need {
        let (least, nominal, most) = bounds;
        Need { bounds: Bounds { nominal, least, most }, peak, smoothed }
    }

    #[test]
    fn a_busy_level_borrows_of_idle_ones() {
        let idle = need((10, 40, 100), 0, 0.0);
        let busy = need((10, 40, 100), 80, 80.0);
        let seats = allocate(80, &[idle, busy]);
        assert!(seats[1] > 60 && seats[0] >= 10, "{seats:?}");
        assert_eq!(allocate(80, &[busy, busy]), [40, 40]);
        // Bounded by what it may borrow.
        let bounded = need((10, 40, 50), 80, 80.0);
        assert_eq!(allocate(80, &[idle, bounded]), [30, 50]);
    }

    #[test]
    fn seats_that_are_taken_away_are_missed_by_those_that_used_more_than_the_least() {
        let needs = [need((10, 40, 100), 40, 40.0), need((10, 40, 100), 20, 20.0)];
        assert_eq!(allocate(50, &needs), [33, 18]);
        assert_eq!(allocate(5, &needs), [10, 10]);
    }

    #[test]
    fn no_level_is_left_without_a_seat() {
        let needs = [need((1, 1, 9), 9, 9.0), need((0, 1, 9), 0, 0.0), need((0, 0, 9), 0, 0.0)];
        let seats = allocate(2, &needs);
        assert!(seats[0] >= 1 && seats[1] == 1 && seats[2] == 0, "{seats:?}");
    }

    proptest! {
        #[test]
        fn all_seats_are_dealt_within_bounds(
            levels in prop::collection::vec((0_u32..200, 0_u32..=100, prop::option::of(0_u32..200), 0_u32..700, 0.0..700.0), 1..12),
            total in 1_u32..2000,
        ) {
            let sum = levels.iter().map(|level| u64::from(level.0)).sum();
            let needs: Vec<Need> = levels.iter().map(|&(shares, lendable, borrowing, peak, smoothed)| {
                Need { bounds: share(shares, lendable, borrowing).bounds(total, sum), peak, smoothed }
            }).collect();
            let nominal: u32 = needs.iter().map(|need| need.bounds.nominal).sum();
            let seats = allocate(nominal, &needs);
            for (need, seats) in needs.iter().zip(&seats) {
                prop_assert!(*seats >= need.bounds.least && *seats <= need.bounds.most.max(1));
                prop_assert!(*seats >= need.bounds.nominal.min(need.peak));
            }
            // Rounding, and the seat that none is left without.
            let slack = u32::try_from(needs.len()).unwrap() * 2;
            prop_assert!(seats.iter().sum::<u32>() <= nominal + slack);
        }
    }
}
