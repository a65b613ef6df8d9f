//! How many seats a request takes.

/// What is known of a list before it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// How many objects there are.
    pub count: u64,
    /// How large one of them is, in bytes.
    pub size: u64,
    /// How many are asked for at most.
    pub limit: Option<u64>,
}

/// Bytes for each of which a list takes a seat.
const BYTES: u64 = 100_000;

/// A list takes no more memory at a time, however long it is: it is sent from what the store holds anyway.
const MOST_BYTES: u64 = 1_000_000;

/// The seats that a list takes, at least one and at most `widest`: one for each 100 kB that it holds (KEP-1040, "Width of
/// requests"; Kubernetes' estimate by size).
pub fn list_seats(listed: Listed, widest: u32) -> u32 {
    let count = listed.limit.filter(|limit| *limit > 0).map_or(listed.count, |limit| limit.min(listed.count));
    let bytes = count.saturating_mul(listed.size).min(MOST_BYTES);
    u32::try_from(bytes.div_ceil(BYTES)).unwrap_or(u32::MAX).clamp(1, widest.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_take_more_seats() {
        let check = |count, size, limit, widest, seats| {
            assert_eq!(list_seats(Listed { count, size, limit }, widest), seats);
        };
        check(0, 0, None, 10, 1);
        check(10, 1000, None, 10, 1);
        check(1000, 1000, None, 10, 10);
        check(1000, 1000, None, 3, 3);
        check(1000, 1000, Some(250), 10, 3);
        check(1000, 1000, Some(0), 10, 10);
        check(1_000_000, u64::MAX, None, 100, 10);
        check(1, 1, None, 0, 1);
    }
}
