//! What the containers of a pod need together.

use crate::Quantity;

/// When a container runs (KEP-753).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To its end, before those that come after it.
    Init,
    /// From its place among the init containers on, beside all others.
    Sidecar,
    /// Once the init containers are through.
    Main,
}

impl Role {
    /// That of an init container with this `restartPolicy`.
    pub fn of_init(restart_policy: Option<&str>) -> Self {
        if restart_policy == Some("Always") { Self::Sidecar } else { Self::Init }
    }
}

/// An amount, or amounts by name. The default is nothing.
pub trait Needed: Clone + Default {
    /// Adds another.
    fn add(&mut self, other: &Self);

    /// Takes the greater of the two, each amount by itself.
    fn raise_to(&mut self, other: &Self);
}

/// The most that is needed at one time: by all main containers and sidecars, or by an init container with the sidecars
/// that come before it.
pub fn at_one_time<N: Needed>(containers: impl IntoIterator<Item = (Role, N)>) -> N {
    let (mut running, mut sidecars, mut starting) = (N::default(), N::default(), N::default());
    for (role, mut own) in containers {
        match role {
            Role::Main => running.add(&own),
            Role::Sidecar => sidecars.add(&own),
            Role::Init => {
                own.add(&sidecars);
                starting.raise_to(&own);
            }
        }
    }
    running.add(&sidecars);
    running.raise_to(&starting);
    running
}

/// What is set aside for something whose resources are being changed: the most of what is asked for, what was granted and
/// what it still has (KEP-1287). What can never be granted does not count.
pub fn while_resized<N: Needed>(asked: N, infeasible: bool, granted_and_in_use: [&N; 2]) -> N {
    let mut most = if infeasible { N::default() } else { asked };
    granted_and_in_use.into_iter().for_each(|amount| most.raise_to(amount));
    most
}

impl Needed for i64 {
    fn add(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }

    fn raise_to(&mut self, other: &Self) {
        *self = (*self).max(*other);
    }
}

/// `None` is an amount that nobody asks for.
impl Needed for Option<Quantity> {
    fn add(&mut self, other: &Self) {
        *self = match (*self, *other) {
            (Some(one), Some(other)) => Some(one.plus(other)),
            (one, other) => one.or(other),
        };
    }

    fn raise_to(&mut self, other: &Self) {
        if other.map(Quantity::nanos) > self.map(Quantity::nanos) {
            *self = *other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Role::{Init, Main, Sidecar};
    use super::*;

    #[test]
    fn sidecars_count_from_their_place_on() {
        assert_eq!(at_one_time::<i64>([]), 0);
        assert_eq!(at_one_time([(Main, 100), (Main, 200)]), 300);
        assert_eq!(at_one_time([(Init, 1000), (Init, 900), (Main, 100)]), 1000);
        assert_eq!(at_one_time([(Sidecar, 50), (Init, 200), (Sidecar, 10), (Main, 100)]), 250);
        assert_eq!(at_one_time([(Sidecar, 50), (Init, 200), (Sidecar, 10), (Main, 200)]), 260);
        assert_eq!(at_one_time([(Init, i64::MAX), (Sidecar, 1), (Main, i64::MAX)]), i64::MAX);
    }

    #[test]
    fn the_most_counts_while_resized() {
        assert_eq!(while_resized(300, false, [&200, &100]), 300);
        assert_eq!(while_resized(100, false, [&200, &100]), 200);
        assert_eq!(while_resized(100, false, [&100, &300]), 300);
        assert_eq!(while_resized(900, true, [&200, &100]), 200);
    }

    #[test]
    fn the_sum_is_written_as_the_main_containers_write_it() {
        let amount = |text: &str| Some(text.parse::<Quantity>().unwrap());
        let check = |containers: &[(Role, Option<Quantity>)], sum: Option<&str>| {
            let written = at_one_time(containers.iter().copied()).map(|amount| amount.to_string());
            assert_eq!(written.as_deref(), sum);
        };
        check(&[(Sidecar, amount("1024")), (Main, amount("1Ki"))], Some("2Ki"));
        check(&[(Sidecar, amount("1024")), (Main, None)], Some("1024"));
        check(&[(Init, amount("2048")), (Main, amount("2Ki"))], Some("2Ki"));
        check(&[(Init, None), (Main, None)], None);
    }

    #[test]
    fn init_containers_that_always_restart_are_sidecars() {
        assert_eq!([Some("Always"), Some("Never"), None].map(Role::of_init), [Sidecar, Init, Init]);
    }
}
