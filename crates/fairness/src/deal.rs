//! Shuffle sharding: each flow uses a few queues of many, so that two flows seldom use the same ones.

/// The largest hand that validation allows: more choices would use up more bits than a hash has.
const MOST: usize = 16;

/// A flow's queues: `hand` different numbers below `deck`, chosen by a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hand {
    cards: [u32; MOST],
    size: usize,
}

impl Hand {
    /// Reads the hash as a number whose digits have the bases `deck`, `deck - 1` and so on; each digit chooses among the queues
    /// that are left.
    pub(crate) fn deal(mut hash: u64, deck: u32, hand: u32) -> Self {
        let deck = deck.max(1);
        let size = MOST.min(hand.clamp(1, deck) as usize);
        let mut dealt = Self { cards: [0; MOST], size };
        // Those dealt, in ascending order.
        let mut sorted: Vec<u32> = Vec::new();
        for place in 0..size {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "the place is below 16, the digit below the deck"
            )]
            let mut card = {
                let left = u64::from(deck - place as u32);
                let digit = (hash % left) as u32;
                hash /= left;
                digit
            };
            let mut at = 0;
            while at < sorted.len() && sorted[at] <= card {
                card += 1;
                at += 1;
            }
            sorted.insert(at, card);
            dealt.cards[place] = card;
        }
        dealt
    }

    /// The queues, starting at one that changes with `turn`: flows with the same queues do not all begin at the same one.
    #[allow(clippy::cast_possible_truncation, reason = "a remainder below 16")]
    pub(crate) fn from(&self, turn: u64) -> impl Iterator<Item = u32> {
        let start = (turn % self.size as u64) as usize;
        (0..self.size).map(move |place| self.cards[(start + place) % self.size])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cards(hash: u64, deck: u32, hand: u32) -> Vec<u32> {
        Hand::deal(hash, deck, hand).from(0).collect()
    }

    #[test]
    fn digits_choose_among_what_is_left() {
        assert_eq!(cards(0, 4, 4), [0, 1, 2, 3]);
        assert_eq!(cards(3, 4, 2), [3, 0]);
        // 0 + 4·2 + 12·1: the first, the third and the second of what is left each time.
        assert_eq!(cards(20, 4, 3), [0, 3, 2]);
        assert_eq!(cards(u64::MAX, 1, 1), [0]);
        let turned: Vec<u32> = Hand::deal(0, 4, 3).from(5).collect();
        assert_eq!(turned, [2, 0, 1]);
    }

    #[test]
    fn every_queue_is_used_about_as_often() {
        let mut used = [0_u32; 64];
        let mut hash: u64 = 1;
        for _ in 0..10_000 {
            hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            cards(hash ^ (hash >> 29), 64, 6).into_iter().for_each(|card| used[card as usize] += 1);
        }
        let expected = 10_000 * 6 / 64;
        assert!(used.iter().all(|count| count.abs_diff(expected) < expected / 5), "{used:?}");
    }

    proptest! {
        #[test]
        fn a_hand_has_different_cards_of_the_deck(hash: u64, deck in 1_u32..10_000_000, hand in 1_u32..=15) {
            let mut cards = cards(hash, deck, hand);
            prop_assert_eq!(cards.len(), hand.min(deck) as usize);
            prop_assert!(cards.iter().all(|card| *card < deck));
            cards.sort_unstable();
            cards.dedup();
            prop_assert_eq!(cards.len(), hand.min(deck) as usize);
        }
    }
}
