//! Amounts that are given as a number or as a share.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How a share that is no whole number is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Up,
    Down,
}

/// The amount of `total` that `value` names. What is neither a number nor a share is none.
pub(crate) fn of(value: &IntOrString, total: i32, round: Round) -> i32 {
    let share = match value {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => text.strip_suffix('%').and_then(|share| share.parse::<i64>().ok()),
    };
    let hundredfold = share.unwrap_or(0).saturating_mul(i64::from(total));
    let whole = match round {
        Round::Down => hundredfold.div_euclid(100),
        Round::Up => -(-hundredfold).div_euclid(100),
    };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_as_asked() {
        let check = |text: &str, total: i32, up: i32, down: i32| {
            let value = IntOrString::String(text.into());
            assert_eq!((of(&value, total, Round::Up), of(&value, total, Round::Down)), (up, down), "{text}");
        };
        check("25%", 10, 3, 2);
        check("25%", 4, 1, 1);
        check("0%", 10, 0, 0);
        check("100%", 7, 7, 7);
        check("1%", 1, 1, 0);
        check("many", 10, 0, 0);
        assert_eq!(of(&IntOrString::Int(3), 10, Round::Up), 3);
    }
}
